"""Other packages that use ``request.session`` go on working, each tried for real."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from authlib.integrations.starlette_client import OAuth, OAuthError
from sqladmin import Admin, ModelView
from sqladmin.authentication import AuthenticationBackend
from sqlalchemy import Column, Engine, Integer, create_engine
from sqlalchemy.orm import declarative_base
from sqlalchemy.pool import StaticPool
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware as StarlettesOwn
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette_flash import FlashCategory, flash, get_messages_for_template

from asgi_sessions import CookieStore, MemoryStore, Session, SessionMiddleware, Store
from tests.browser import KEY, OTHER_KEY

STORES = pytest.mark.parametrize("store", [CookieStore, MemoryStore])


def sessions(store: Store) -> Middleware:
    return Middleware(SessionMiddleware, secret_key=KEY, store=store)


# -- starlette-flash ---------------------------------------------------------------------------------------------------


@STORES
def test_starlette_flash_shows_each_message_once(store: type[Store]) -> None:
    async def add(request: Request) -> Response:
        assert type(request.session) is Session
        flash(request).add("Saved.", FlashCategory.SUCCESS)
        flash(request).error("Really?")
        return RedirectResponse("/", status_code=303)

    async def peek(request: Request) -> Response:
        return JSONResponse([len(flash(request)), flash(request).all(), flash(request).get_by_category("error")])

    async def show(request: Request) -> Response:
        return JSONResponse(get_messages_for_template(request))

    routes = [Route("/add", add, methods=["POST"]), Route("/peek", peek), Route("/", show)]
    browser = TestClient(Starlette(routes=routes, middleware=[sessions(store())]))
    browser.post("/add", follow_redirects=False)
    saved, really = {"category": "success", "message": "Saved."}, {"category": "error", "message": "Really?"}
    assert browser.get("/peek").json() == [2, [saved, really], [really]]
    assert browser.get("/").json() == [saved]
    assert browser.get("/").json() == []


# -- authlib -----------------------------------------------------------------------------------------------------------


def provider() -> Starlette:
    """An OAuth 2 provider that knows one code, and asks for the verifier (PKCE) that belongs to it."""

    async def token(request: Request) -> Response:
        form = await request.form()
        if form["code"] != "the-code" or not form.get("code_verifier"):
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        return JSONResponse({"access_token": "token-of-alice", "token_type": "Bearer"})

    async def userinfo(request: Request) -> Response:
        known = request.headers["authorization"] == "Bearer token-of-alice"
        return JSONResponse({"sub": "alice"} if known else {}, status_code=200 if known else 401)

    return Starlette(routes=[Route("/token", token, methods=["POST"]), Route("/userinfo", userinfo)])


def oauth_app(store: Store) -> Starlette:
    oauth = OAuth()
    oauth.register(
        "provider",
        client_id="client",
        client_secret="secret",
        authorize_url="https://provider.example/authorize",
        access_token_url="https://provider.example/token",
        api_base_url="https://provider.example/",
        client_kwargs={"transport": httpx2.ASGITransport(app=provider()), "code_challenge_method": "S256"},
    )

    async def login(request: Request) -> Response:
        response: Response = await oauth.provider.authorize_redirect(request, request.url_for("callback"))
        return response

    async def callback(request: Request) -> Response:
        try:
            token = await oauth.provider.authorize_access_token(request)
        except OAuthError as exc:
            return JSONResponse({"error": exc.error}, status_code=400)
        user = (await oauth.provider.get("userinfo", token=token)).json()
        request.session["user"] = user["sub"]
        return RedirectResponse("/")

    async def home(request: Request) -> Response:
        assert type(request.session) is Session
        return JSONResponse(request.session)

    routes = [Route("/login", login), Route("/callback", callback, name="callback"), Route("/", home)]
    return Starlette(routes=routes, middleware=[sessions(store)])


def state_of(response: Any) -> str:
    assert response.headers["location"].startswith("https://provider.example/authorize?")
    found = re.search(r"[?&]state=([^&]+)", response.headers["location"])
    assert found is not None
    return found[1]


@STORES
def test_authlib_logs_in_with_the_state_that_it_left_in_the_session(store: type[Store]) -> None:
    browser = TestClient(oauth_app(store()))
    state = state_of(browser.get("/login", follow_redirects=False))
    assert browser.get(f"/callback?code=the-code&state={state}").json() == {"user": "alice"}


@STORES
def test_authlib_refuses_the_state_of_another_browser(store: type[Store]) -> None:
    """Login CSRF: the state is bound to the session that asked for it."""
    app = oauth_app(store())
    state = state_of(TestClient(app).get("/login", follow_redirects=False))
    other = TestClient(app)
    other.get("/login", follow_redirects=False)
    response = other.get(f"/callback?code=the-code&state={state}")
    assert (response.status_code, response.json()) == (400, {"error": "mismatching_state"})


@STORES
def test_authlib_accepts_a_state_once(store: type[Store]) -> None:
    browser = TestClient(oauth_app(store()))
    state = state_of(browser.get("/login", follow_redirects=False))
    browser.get(f"/callback?code=the-code&state={state}")
    assert browser.get(f"/callback?code=the-code&state={state}").status_code == 400


# -- sqladmin ----------------------------------------------------------------------------------------------------------

Base: Any = declarative_base()


class Item(Base):
    __tablename__ = "item"
    id = Column(Integer, primary_key=True)


class ItemAdmin(ModelView, model=Item):
    pass


class Login(AuthenticationBackend):
    """Notes which class of session it is given."""

    def __init__(self, secret_key: str, **options: Any) -> None:
        super().__init__(secret_key, **options)
        self.given: set[type] = set()

    async def login(self, request: Request) -> bool:
        self.given.add(type(request.session))
        form = await request.form()
        if form["password"] == "right":
            request.session["admin"] = form["username"]
        return form["password"] == "right"

    async def logout(self, request: Request) -> bool:
        request.session.clear()
        return True

    async def authenticate(self, request: Request) -> bool:
        self.given.add(type(request.session))
        return "admin" in request.session


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://", connect_args={"check_same_thread": False}, poolclass=StaticPool)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def admin_app(engine: Engine, backend: Login, store: Store) -> TestClient:
    async def home(request: Request) -> Response:
        return JSONResponse(request.session)

    async def visit(request: Request) -> Response:
        request.session["visited"] = True
        return Response()

    app = Starlette(routes=[Route("/", home), Route("/visit", visit)], middleware=[sessions(store)])
    Admin(app, engine, authentication_backend=backend).add_view(ItemAdmin)
    return TestClient(app)


def without_middleware(backend: Login) -> Login:
    """How an application has sqladmin use the session that is there: the backend brings no middleware of its own."""
    backend.middlewares = []
    return backend


def with_our_middleware(backend: Login) -> Login:
    """How sqladmin gets a session of its own, apart from the application's."""
    backend.middlewares = [Middleware(SessionMiddleware, secret_key=OTHER_KEY, session_cookie="admin", path="/admin")]
    return backend


@STORES
@pytest.mark.parametrize("prepare", [without_middleware, with_our_middleware])
def test_sqladmin_logs_in_and_out_on_our_session(
    engine: Engine, store: type[Store], prepare: Callable[[Login], Login]
) -> None:
    backend = prepare(Login(OTHER_KEY))
    browser = admin_app(engine, backend, store())
    assert browser.get("/admin/item/list").url.path == "/admin/login"
    assert browser.post("/admin/login", data={"username": "a", "password": "wrong"}).status_code == 400
    assert browser.post("/admin/login", data={"username": "a", "password": "right"}).url.path == "/admin/"
    assert browser.get("/admin/item/list").url.path == "/admin/item/list"
    assert browser.get("/admin/logout").url.path == "/admin/login"
    assert browser.get("/admin/item/list").url.path == "/admin/login"
    assert backend.given == {Session}


def test_sqladmin_shares_the_applications_session_when_it_brings_no_middleware(engine: Engine) -> None:
    browser = admin_app(engine, without_middleware(Login(OTHER_KEY)), MemoryStore())
    browser.get("/visit")
    browser.post("/admin/login", data={"username": "a", "password": "right"})
    assert browser.get("/").json() == {"visited": True, "admin": "a"}


def test_sqladmin_with_a_middleware_of_its_own_keeps_its_session_apart(engine: Engine) -> None:
    browser = admin_app(engine, with_our_middleware(Login(OTHER_KEY)), MemoryStore())
    browser.get("/visit")
    browser.post("/admin/login", data={"username": "a", "password": "right"})
    assert browser.get("/").json() == {"visited": True}
    assert browser.get("/admin/").status_code == 200


def test_sqladmin_as_it_comes_installs_starlettes_middleware_beside_ours(engine: Engine) -> None:
    """Its session is not ours, so the two need different cookie names."""
    backend = Login(OTHER_KEY, session_cookie="admin")
    assert [middleware.cls for middleware in backend.middlewares] == [StarlettesOwn]
    browser = admin_app(engine, backend, MemoryStore())
    browser.get("/visit")
    browser.post("/admin/login", data={"username": "a", "password": "right"})
    assert browser.get("/admin/item/list").url.path == "/admin/item/list"
    assert browser.get("/").json() == {"visited": True}
    assert Session not in backend.given
