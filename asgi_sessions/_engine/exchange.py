"""The commits of one connection: their lock, time limit and cancellation, and what each outcome means.

==========================  ==================================  ===========================  ======================
outcome of a commit         before the response starts          ``save()``, ``exclusive()``  after it has started
==========================  ==================================  ===========================  ======================
``SessionSuperseded``       a warning; the response is sent     raised                       logged as an error
``ResponseStarted``         a warning; the response is sent     raised                       logged as an error
``StoreError``              raised: 503, with ``Retry-After``   raised                       logged, with its cause
any other ``SessionError``  raised: the application's 500       raised                       logged as an error
any other exception         ``StoreUnavailable``, for its       the same                     the same
of a store                  cause: as a ``StoreError``
==========================  ==================================  ===========================  ======================

HTTP and websocket do the same; ``sessions.save()`` raises an ``ExceptionGroup`` of what ``save()`` raises. A renewal
alone that finds its session superseded is no outcome at all: nothing of the application's is lost.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager

import anyio

from ..exceptions import (
    NotSupported,
    ResponseStarted,
    SerializationError,
    SessionError,
    SessionSuperseded,
    StoreError,
    StoreTimeout,
)
from .backends import RecordBackend, fetch_epoch, fill_anew, take
from .owners import concerns_owner
from .plan import Commit, Create, Failure, Plan, decide, drop, settle, too_late
from .repository import Conflict, unavailable
from .state import Exchange, SessionState

logger = logging.getLogger("asgi_sessions")

#: The only outcomes beside which a response may be a success: somebody else was faster, or it is too late for a cookie.
TOLERATED = (SessionSuperseded, ResponseStarted)


def outcome(failures: Iterable[Failure]) -> SessionError | None:
    """The error beside which the response must not be a success, a StoreError before others; the rest is logged."""
    raised = sorted((f.error for f in failures if not isinstance(f.error, TOLERATED)), key=_is_no_store_error)
    for failure in failures:
        if failure.loses and failure.error not in raised[:1]:
            logger.warning("%s", failure.error)
    return raised[0] if raised else None


def _is_no_store_error(error: SessionError) -> bool:
    return not isinstance(error, StoreError)


async def commit_all(plans: Iterable[Plan]) -> list[Failure]:
    """Carry out plans, all at once; what went wrong, the rest is committed."""
    failures: list[Failure] = []

    async def run(plan: Plan) -> None:
        failures.extend(await commit(plan))

    async with anyio.create_task_group() as group:
        for plan in plans:
            group.start_soon(run, plan)
    return failures


async def commit(plan: Plan) -> list[Failure]:
    """Carry out a plan; a cancellation lets it complete."""
    backend = plan.state.backend
    if plan.done:
        return []
    if isinstance(backend, RecordBackend) and (plan.step is not None or plan.doomed is not None):
        step, seconds, done = plan.step, plan.state.exchange.settings.commit_timeout, None
        owners = backend.owners if backend.owners is not None and concerns_owner(plan) else None
        # Most commits are one store call. If the store bounds it to half the timeout, skip our own timer.
        prompt = owners is None and plan.doomed is None and 2 * backend.write_timeout <= seconds
        try:
            if prompt and isinstance(step, Commit):
                kept = await backend.repository.try_update(step)
                if not isinstance(kept, Conflict):
                    done = take(plan, kept)
                else:
                    with anyio.move_on_after(seconds - backend.write_timeout):
                        done = take(plan, await backend.repository.resolve(step, kept))
            elif prompt and isinstance(step, Create):
                done = take(plan, await backend.repository.create(step))
            else:
                with anyio.move_on_after(seconds):
                    done = await (backend.carry_out(plan) if owners is None else owners.write(plan, backend.carry_out))
            if done is None:
                raise StoreTimeout(f"no commit within {seconds:g} s")
        except Exception as exc:
            return [Failure(backend.profile.name, _error_of(exc, backend))]
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                # Every write of a store is safe to repeat, so this costs nothing as long as nobody cancels.
                await _undisturbed(commit(plan))
            raise
        if not done:
            return [Failure(backend.profile.name, _superseded(plan), plan.writes)]
    failures = [Failure(plan.state.profile.name, too_late(plan))] if plan.lost else []
    settle(plan)
    return failures


def _error_of(exc: Exception, backend: RecordBackend) -> SessionError:
    """The error that says why a commit failed."""
    if isinstance(exc, StoreError | NotSupported):
        return exc
    name = backend.profile.name
    if isinstance(exc, SerializationError):  # of the merged record
        error: SessionError = SerializationError(f"session {name!r}{exc.path}", exc.reason)
    else:
        error = unavailable(exc, backend.store, name)
    error.__cause__ = exc
    return error


def _superseded(plan: Plan) -> SessionSuperseded:
    drop(plan)
    known = plan.before or plan.doomed
    handle = known.handle.hex() if known else None
    name = plan.state.profile.name
    lost = "the changes of this request are dropped" if plan.writes else "it is not renewed"
    return SessionSuperseded(f"session {name!r} ({handle}) ended or was regenerated meanwhile; {lost}")


async def _undisturbed(work: Awaitable[object]) -> None:
    """Wait for the work to its end; inside a shield, as ``task.cancel()`` knows none."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # trio
        await work
        return
    task = asyncio.ensure_future(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    task.result()


# -- at the application's word ----------------------------------------------------------------------------------------


async def save(state: SessionState) -> None:
    """Commit one session now."""
    exchange = state.exchange
    async with saving(exchange):
        await fetch_epoch(state)
        plan = decide(state)
        failures = [] if plan is None else await commit(plan)
    for failure in failures:
        raise failure.error


async def save_all(exchange: Exchange, opened: Iterable[SessionState]) -> list[Failure]:
    """Commit all sessions now, or none if one cannot be stored."""
    async with saving(exchange):
        opened = list(opened)  # another task may open a further one meanwhile
        for state in opened:
            await fetch_epoch(state)
        plans, failures = _decide_each(opened)
        return failures or await commit_all(plans)


async def save_late(exchange: Exchange, opened: Iterable[SessionState]) -> None:
    """Commit what was changed after the response started; log what cannot be."""
    async with saving(exchange):
        plans, failures = _decide_each(opened)
        failures += await commit_all(plans)
    for name, error, _ in failures:
        cause = error if isinstance(error, StoreError) else None  # the application's errors say it all
        logger.error("session %r: late changes are lost: %s", name, error, exc_info=cause)


def _decide_each(opened: Iterable[SessionState]) -> tuple[list[Plan], list[Failure]]:
    plans: list[Plan] = []
    failures: list[Failure] = []
    for state in opened:
        if state.pending or not state.accessed:
            continue
        try:
            plan = decide(state)
        except SessionError as exc:
            failures.append(Failure(state.profile.name, exc))
        else:
            plans += [plan] if plan is not None else []
    return plans, failures


@asynccontextmanager
async def saving(exchange: Exchange) -> AsyncIterator[None]:
    """From decision to commit, one task at a time, and none while the commit before the response is under way.

    Two that save a new session at once must not create it twice, and what was decided first must not land last.
    """
    exchange.touched = True  # a cookie that is saved now waits to be sent: see ``renewal``
    if exchange.lock is None:
        exchange.lock = anyio.Lock(fast_acquire=True)
    async with exchange.lock:
        if exchange.committing:
            exchange.committed = anyio.Event()
            await exchange.committed.wait()
        yield


async def reload(state: SessionState) -> None:
    """Read a session on the server anew."""
    backend = state.backend
    if state.loaded is not None and isinstance(backend, RecordBackend):
        await backend.reload(state, state.loaded)
    elif state.adopted and not state.edits.ended:
        await backend.load(state)
    else:
        fill_anew(state)
