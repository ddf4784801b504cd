"""Steps of a program: what up to three requests of one browser do, to the package and to the model at once.

Each step is a rule of hypothesis' state machine and a plain method, for programs that are made otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from asgi_sessions import SessionError
from tests.browser import Browser, Response, application

from .model import LEASE, MAX_AGE, Known, Model
from .world import Faulty, VirtualLoop, World

LENGTH = 30  # steps
AT_ONCE = 3
RUNNING = ("outside", "inside")
FOREVER = 60.0  # seconds, for what should not have to wait
AT_ONCE_OR_NEVER = 0.02  # seconds, for what should wait in vain

CHOICES: dict[str, Any] = {
    "who": range(AT_ONCE),
    "key": "abc",
    "value": range(3),
    "patient": (False, True),
    "seconds": (LEASE - 1, LEASE, 70, MAX_AGE * 2 // 3, MAX_AGE + 1),
    "fault": ("lost", "lost and overtaken", "overtaken"),
}
STEPS: list[tuple[str, tuple[str, ...]]] = []  # names and arguments, those that are more likely several times


@dataclass(eq=False)
class Visit:
    """A request, halted in its handler until it is told to end."""

    known: Known
    arrived: asyncio.Future[None]
    ending: asyncio.Future[None]
    response: asyncio.Task[Response] | None = None
    session: Any = None
    sessions: Any = None
    section: Any = None  # exclusive, of this request
    entering: asyncio.Task[Any] | None = None  # as long as it waits for that

    async def handle(self, scope: Any) -> None:
        self.session, self.sessions = scope["session"], scope["sessions"]
        self.arrived.set_result(None)
        await self.ending

    @property
    def state(self) -> str:
        return "waiting" if self.entering else "inside" if self.section else "outside"

    def is_as_expected(self) -> bool:
        flashes = [message for _, message in self.session.peek_flashes()]
        return {**self.session} == self.known.values and flashes == self.known.flashes


def step(*names: str, of: tuple[str, ...] = (), weight: int = 1) -> Callable[[Any], Any]:
    """A rule, for one of the visits in these states if there are any; afterwards all must be as the model says."""
    names = ("who", *names) if of else names

    def decorate(function: Callable[..., None]) -> Any:
        def checked(self: Program, **arguments: Any) -> None:
            if of:
                visits = self.those(*of)
                who = arguments.pop("who")
                if not visits:
                    return
                arguments["visit"] = visits[who % len(visits)]
            self.sound = False
            function(self, **arguments)
            self.go_on()
            self.check()
            self.sound = True

        checked.__name__ = function.__name__
        STEPS.extend([(function.__name__, names)] * weight)
        chosen = rule(**{name: st.sampled_from(CHOICES[name]) for name in names})(checked)
        return precondition(lambda self: not of or self.those(*of))(chosen)

    return decorate


class Program(RuleBasedStateMachine):
    def __init__(self, world: World) -> None:
        super().__init__()
        self.world, self.loop, self.clock = world, world.loop, world.clock
        self.visits: list[Visit] = []
        self.dead: list[Visit] = []
        self.sound = True
        self.flashed = 0
        self.store = Faulty(world.store)

    @initialize(rolling=st.booleans())
    def start(self, rolling: bool) -> None:
        """The browser has a session already; a new one begins whenever that is ended."""

        async def handle(scope: Any) -> None:
            await self.visits[-1].handle(scope)

        # A rolling session is renewed by each request here: the deadline moves by touch, or together with a change.
        lifetime: Any = {"max_age": MAX_AGE, "rolling": rolling, "refresh_interval": 0 if rolling else None}
        self.browser = Browser(application(handle, store=self.store, clock=self.clock, **lifetime))
        self.model = Model(self.clock.now, rolling=rolling)
        self.begin()
        self.put(who=0, key="a", value=0)
        self.end(who=0)

    # -- requests ---------------------------------------------------------------------------------------------------

    @step(weight=5)
    def begin(self) -> None:
        if len(self.visits) == AT_ONCE:
            return
        visit = Visit(self.model.begin(), self.loop.create_future(), self.loop.create_future())
        self.visits.append(visit)
        visit.response = self.loop.create_task(self.browser.get())
        self.loop.run_until_complete(visit.arrived)

    @step(of=("outside",), weight=4)
    def end(self, visit: Visit) -> None:
        self.visits.remove(visit)
        visit.ending.set_result(None)
        assert self.loop.run_until_complete(visit.response).status == 200
        self.model.end(visit.known)

    @step("seconds")
    def wait(self, seconds: int) -> None:
        if self.world.expires or seconds < MAX_AGE / (2 * LENGTH):
            self.clock.now += seconds
            self.model.now = self.clock.now

    @step("fault", weight=2)
    def disturb(self, fault: str) -> None:
        self.store.fault = fault

    # -- what they do -----------------------------------------------------------------------------------------------

    @step("key", "value", of=RUNNING, weight=6)
    def put(self, visit: Visit, key: str, value: int) -> None:
        visit.known.values[key] = visit.session[key] = value

    @step("key", of=RUNNING)
    def remove(self, visit: Visit, key: str) -> None:
        visit.known.values.pop(key, None)
        visit.session.pop(key, None)

    @step(of=RUNNING, weight=2)
    def flash(self, visit: Visit) -> None:
        self.flashed += 1
        visit.known.added.append(str(self.flashed))
        visit.session.flash(str(self.flashed))

    @step(of=RUNNING)
    def take_flashes(self, visit: Visit) -> None:
        assert [message for _, message in visit.session.flashes()] == visit.known.take_flashes()

    @step(of=RUNNING)
    def clear(self, visit: Visit) -> None:
        visit.known.clear()
        visit.session.clear()

    @step(of=RUNNING)
    def regenerate(self, visit: Visit) -> None:
        visit.known.regenerated = True
        visit.session.regenerate()

    @step(of=RUNNING)
    def invalidate(self, visit: Visit) -> None:
        visit.known.invalidate()
        visit.session.invalidate()

    @step(of=RUNNING, weight=2)
    def save(self, visit: Visit) -> None:
        expected = outcome(self.model.save, visit.known)
        assert self.outcome(visit.session.save()) == expected

    @step(of=RUNNING)
    def reload(self, visit: Visit) -> None:
        self.model.reload(visit.known)
        self.loop.run_until_complete(visit.session.reload())

    # -- exclusive sections -----------------------------------------------------------------------------------------

    @step("patient", of=("outside",), weight=4)
    def enter(self, visit: Visit, patient: bool) -> None:
        if visit.known.cleared or visit.known.regenerated:  # who waits already learns of it before this one queues up
            expected = outcome(self.model.save, visit.known)
            assert self.outcome(visit.session.save()) == expected
            self.go_on()
        expected = outcome(self.model.enter, visit.known, patient=patient)
        vain = expected == "LeaseTimeout"
        if expected == "waiting":  # for its turn and nothing else: what it changed has been committed
            self.outcome(visit.session.save())
        visit.section = visit.sessions.exclusive(lease=LEASE, timeout=AT_ONCE_OR_NEVER if vain else FOREVER)
        visit.entering = self.loop.create_task(visit.section.__aenter__())
        if expected != "waiting":
            self.entered(visit, expected)
        if vain:
            self.loaded_or_not(visit)

    @step(of=("inside",), weight=2)
    def leave(self, visit: Visit) -> None:
        self.exit(visit, None)

    @step(of=("inside",))
    def fail(self, visit: Visit) -> None:
        self.exit(visit, ZeroDivisionError("inside"))

    @step(of=("inside",))
    def die(self, visit: Visit) -> None:
        """Its process hangs; its last gasp comes when everything else is over."""
        self.visits.remove(visit)
        self.dead.append(visit)

    @step(of=("waiting",))
    def give_up(self, visit: Visit) -> None:
        self.model.give_up(visit.known)
        visit.entering.cancel()
        self.entered(visit, "CancelledError")
        self.loaded_or_not(visit)

    def exit(self, visit: Visit, error: Exception | None) -> None:
        section, visit.section = visit.section, None
        expected = outcome(self.model.leave, visit.known, failed=error is not None)
        assert self.outcome(section.__aexit__(type(error) if error else None, error, None)) == expected

    def entered(self, visit: Visit, expected: str | None) -> None:
        entering, visit.entering = visit.entering, None
        got = self.outcome(entering)
        if expected != "inside":
            visit.section = None
        assert got == (None if expected == "inside" else expected)

    def loaded_or_not(self, visit: Visit) -> None:
        """How far one got who waited in vain, time tells: load again."""
        self.model.reload(visit.known)
        self.loop.run_until_complete(visit.session.reload())

    # -- after each step --------------------------------------------------------------------------------------------

    def go_on(self) -> None:
        for _, known in list(self.model.queue):
            expected = outcome(self.model.look_again, known)
            if expected != "waiting":
                self.entered(next(visit for visit in self.visits if visit.known is known), expected)
        if self.model.queue:
            virtual = isinstance(self.loop, VirtualLoop)
            self.loop.run_until_complete(asyncio.sleep(2 * AT_ONCE_OR_NEVER) if virtual else self.store.settled())

    def check(self) -> None:
        for visit in self.visits:
            if visit.state == "waiting":
                assert not visit.entering.done()
            else:
                assert visit.is_as_expected(), (visit.session, visit.known)
        assert (self.model.jar is None) == (not self.browser.jar)

    def teardown(self) -> None:
        try:
            if self.sound:
                self.finish()
        finally:
            self.loop.run_until_complete(self.close())

    def finish(self) -> None:
        """The dead have no say any more; the others leave and end; then all is as the model says."""
        while self.visits:
            while self.those("inside"):
                self.leave(who=0)
            while self.those("outside"):
                self.end(who=0)
            self.wait(seconds=LEASE)
        self.visits, self.dead = self.dead, []
        while self.visits:
            self.fail(who=0)
            self.end(who=0)
        self.begin()
        self.end(who=0)

    async def close(self) -> None:
        """What a failed program left behind."""
        for visit in self.visits + self.dead:
            for task in (visit.entering, visit.response):
                task and task.cancel()
                await asyncio.wait([task] if task else [visit.arrived])
            if visit.section and not visit.entering:
                await result(visit.section.__aexit__(ZeroDivisionError, ZeroDivisionError(), None))

    # -- what this file needs ---------------------------------------------------------------------------------------

    def those(self, *states: str) -> list[Visit]:
        return [visit for visit in self.visits if visit.state in states]

    def outcome(self, work: Awaitable[Any]) -> str | None:
        return self.loop.run_until_complete(result(work))


def outcome(work: Callable[..., str | None], *args: Any, **options: Any) -> str | None:
    """What the model says, or the name of the error that it raises."""
    try:
        return work(*args, **options)
    except SessionError as exc:
        return type(exc).__name__


async def result(work: Awaitable[Any]) -> str | None:
    """The same of the package."""
    try:
        await work
    except (SessionError, asyncio.CancelledError) as exc:
        return type(exc).__name__
    return None
