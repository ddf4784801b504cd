"""For the tests of applications that have sessions, and of stores.

In the tests of an application, ``TestSessions`` reads and changes what a test client has in its session. It finds the
application's own ``SessionMiddleware``, so keys, names and stores are said once, in the application:

>>> from starlette.applications import Starlette
>>> from starlette.responses import PlainTextResponse
>>> from starlette.routing import Route
>>> from starlette.testclient import TestClient
>>> from asgi_sessions import SessionMiddleware, generate_key
>>> from asgi_sessions.testing import TestSessions
>>>
>>> async def home(request):
...     request.session["visits"] = request.session.get("visits", 0) + 1
...     request.session.flash("Welcome back!")
...     return PlainTextResponse(f"user {request.session.owner}")
>>>
>>> app = Starlette(routes=[Route("/", home)])
>>> app.add_middleware(SessionMiddleware, secret_key=generate_key())
>>>
>>> sessions = TestSessions(app)
>>> client = TestClient(app)
>>> sessions.log_in(client, 7, {"visits": 41})
>>> client.get("/").text
'user 7'
>>> session = sessions.read(client)
>>> session["visits"], session.owner, session.flashes()
(42, 7, [FlashMessage(category='message', message='Welcome back!')])
>>> with sessions.open(client) as session:
...     session["visits"] = 99
>>> sessions.read(client)
{'visits': 99}

``AsyncTestSessions`` is the same for asynchronous tests: ``await sessions.log_in(client, 7)``.

In the tests of a store, ``StoreContract`` proves that it keeps its promises; it needs pytest::

    class TestMyStore(StoreContract):
        @pytest.fixture
        async def store(self):
            store = MyStore(...)
            yield store
            await store.close()
"""

import sys
from typing import TYPE_CHECKING, Any

from .sessions import AsyncTestSessions, TestSessions

if TYPE_CHECKING:
    from .contract import StoreContract

__all__ = ["AsyncTestSessions", "StoreContract", "TestSessions"]


def __getattr__(name: str) -> Any:
    """``StoreContract``, as late as this: the tests of an application need no pytest."""
    if name != "StoreContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if f"{__name__}.contract" not in sys.modules:
        import pytest

        pytest.register_assert_rewrite(f"{__name__}.contract")  # a failure shows what was compared
    from .contract import StoreContract

    return StoreContract
