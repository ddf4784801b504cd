"""Nobody reads a secret in a log, a repr, an exception or a traceback."""

import asyncio
import base64
import contextlib
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from asgi_sessions import Session
from asgi_sessions._engine.plan import decide
from asgi_sessions.crypto.keys import Keyring

from ..browser import KEY, Browser, application
from .broken import Broken, end, regenerate
from .case import live_cookie, opened
from .target import Target, cookies


class Leaks(logging.Handler):
    """Everything that was logged: messages, arguments, tracebacks."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.getMessage()} {record.args!r} {record.__dict__!r}")
        if record.exc_info and record.exc_info[1]:
            self.lines += traceback.format_exception(record.exc_info[1])


def spellings(secret: bytes) -> list[str]:
    raw = repr(secret)[2:-1]
    return [raw, secret.hex(), base64.urlsafe_b64encode(secret).decode().rstrip("="), base64.b64encode(secret).decode()]


async def scenario(target: Target, fail: Callable[[], Awaitable[None]]) -> list[str]:
    """A life in the browser, with everything in it that can be logged; returns the cookies that were seen."""
    seen: list[str] = []

    async def keep(session: Session) -> None:
        session["card"] = "4111"
        repr(session)
        logging.getLogger("application").debug("%r %r", session.handle, session.error)

    async def crash(session: Session) -> None:
        session["n"] = 1
        await session.save()
        session["n"] = object()
        await session.save()

    async def late(session: Session) -> None:
        session["n"] = "x" * 5000
        session.regenerate()

    store: Any = target.counting or target.store
    routes = {"/": keep, "/login": login_as_ann, "/regenerate": regenerate, "/end": end, "/crash": crash, "/late": late}
    app = application(routes, store=store, encrypt=target.kind == "encrypted", clock=target.clock)
    for paths in (["/", "/login", "/crash", "/late", "/regenerate"], ["/", "/login", "/"]):
        browser = Browser(app)
        for path in paths:
            with contextlib.suppress(Exception):
                await browser.get(path)
            seen.append(browser.jar["session"])
    await Browser(app).get("/", headers=cookies(*seen[-1:], *seen[:1]))  # DuplicateCookie
    for cookie in seen:  # RegeneratedSession, UnknownSession, and whatever else it is by now
        await Browser(app).get("/", headers=cookies(cookie))
        await Browser(app).get("/", headers=cookies(cookie, "garbage"))
        await Browser(app).get("/", headers=cookies(cookie[:-4] + "AAAA"))
    await fail()
    for path in ("/", "/login", "/end", "/regenerate"):
        with contextlib.suppress(Exception):
            await Browser(app, jar={"session": seen[-1]}).get(path)
    return seen


async def login_as_ann(session: Session) -> None:
    session.owner = "ann"


async def test_no_secret_is_in_a_log_a_repr_or_a_traceback(
    target: Target, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)  # asyncio then logs slow callbacks with their arguments
    leaks = Leaks()
    root = logging.getLogger()
    root.addHandler(leaks)

    async def fail() -> None:
        if target.counting is not None:
            target.counting.inner = Failing()

    try:
        seen = await scenario(target, fail)
    finally:
        root.removeHandler(leaks)
        asyncio.get_running_loop().set_debug(False)
    assert leaks.lines
    text = "\n".join([*leaks.lines, caplog.text])
    if target.server_side:
        assert "on fire" in text, "the failing store was blamed"
    for cookie in seen:
        token = opened(target, cookie.encode())
        secrets = [*spellings(token[16:]), *spellings(token)] if target.server_side else spellings(token)
        for spelling in (cookie, *secrets, KEY):
            assert spelling not in text


class Failing(Broken):
    async def read(self, handle: bytes) -> Any:
        raise OSError("on fire")


async def test_nothing_of_ours_shows_a_secret_in_its_repr(target: Target) -> None:
    """What a debugger, a crash reporter or a careless ``logger.debug`` would print."""
    cookie = await live_cookie(target)
    kept: list[Any] = []

    async def keep(scope: Any) -> None:
        session = scope["session"]
        session["n"] = 1
        plan = decide(session)
        kept.extend([session, session.exchange, session.exchange.settings, scope["sessions"]])
        kept.extend([plan, plan.step, plan.after, session.backend, session.profile, plan.state.loaded])

    store: Any = target.counting or target.store
    app = application(keep, store=store, encrypt=target.kind == "encrypted", clock=target.clock)
    await Browser(app).get(headers=cookies(cookie))
    make = target.keyring.encrypter if target.kind == "encrypted" else target.keyring.signer
    kept += [app, app.configuration, make("session"), make("session").unseal(cookie, target.clock.now), target.store]
    text = "\n".join(map(repr, kept))
    assert "Loaded" in text
    token = opened(target, cookie)
    secrets = [*spellings(token[16:]), *spellings(token)] if target.server_side else spellings(token)
    for spelling in (cookie.decode(), *secrets, KEY):
        assert spelling not in text


@pytest.mark.parametrize(
    ("key", "fallback"), [("short", ()), (KEY, [KEY]), (KEY, ["short"]), (b"\xff" * 40, ()), ("changeme" * 5, ())]
)
def test_a_refused_key_is_not_quoted(key: Any, fallback: Any) -> None:
    with pytest.raises(ValueError, match="key") as caught:
        Keyring(key, fallback)
    text = str(caught.value) + repr(caught.value)
    assert str(key) not in text
    assert all(str(one) not in text for one in fallback)
