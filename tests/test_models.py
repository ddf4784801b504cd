"""Sessions as objects: dataclasses, msgspec Structs and pydantic models."""

import enum
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import anyio
import msgspec
import pydantic
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from msgspec import UNSET, Meta, Struct, UnsetType

from asgi_sessions import (
    CookieStore,
    JSONSerializer,
    MemoryStore,
    MessagePackSerializer,
    ModelMismatch,
    SerializationError,
    SessionConfig,
    SessionMiddleware,
    SessionRegistry,
    get_sessions,
)
from asgi_sessions.fastapi import use_model

from .browser import KEY, Browser, application

WHEN = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


@dataclass
class Line:
    sku: str
    count: int = 1


class TaggedLine(Struct, tag="line", rename="camel"):
    sku_code: str
    count: int = 1


class ArrayLine(Struct, array_like=True, tag=True):
    sku: str
    count: int = 1


class ModelLine(pydantic.BaseModel):
    sku: str
    count: int = 1


@dataclass
class DataCart:
    items: list[Line] = field(default_factory=list)
    coupon: str | None = None
    size: Size = Size.SMALL
    tags: set[str] = field(default_factory=set)
    when: datetime | None = None
    total: Decimal = Decimal(0)
    counts: dict[int, int] = field(default_factory=dict)


class StructCart(Struct):
    items: list[Line] = []
    coupon: str | None = None
    size: Size = Size.SMALL
    tags: set[str] = set()
    when: datetime | None = None
    total: Decimal = Decimal(0)
    counts: dict[int, int] = {}


class ModelCart(pydantic.BaseModel):
    items: list[ModelLine] = []
    coupon: str | None = pydantic.Field(default=None, alias="couponCode")
    size: Size = Size.SMALL
    tags: set[str] = set()
    when: datetime | None = None
    total: Decimal = Decimal(0)
    counts: dict[int, int] = {}


CARTS: list[Any] = [DataCart, StructCart, ModelCart]
LINES = {DataCart: Line, StructCart: Line, ModelCart: ModelLine}


@pytest.fixture(params=CARTS, ids=lambda cls: cls.__name__)
def cart_class(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=["cookie", "memory", "cookie+json", "memory+json"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    kind, _, serializer = request.param.partition("+")
    return {
        "store": CookieStore() if kind == "cookie" else MemoryStore(),
        "serializer": JSONSerializer() if serializer else MessagePackSerializer(),
    }


class Requests:
    """Each call is one request of the same browser, whose application is a function of the registry."""

    def __init__(self, **options: Any) -> None:
        async def app(scope: Any) -> None:
            self.result = await self.act(get_sessions(scope))

        self.browser = Browser(application(app, sessions=[SessionConfig("cart", **options)]))

    async def __call__(self, act: Any, cookie: str | None = None) -> Any:
        self.act = act
        self.response = await self.browser.get(cookie=cookie)
        assert self.response.status == 200
        return self.result

    async def store(self, values: dict[str, Any]) -> None:
        async def fill(sessions: SessionRegistry) -> None:
            (await sessions.get("cart")).update(values)

        await self(fill)

    async def stored(self) -> dict[str, Any]:
        async def values(sessions: SessionRegistry) -> dict[str, Any]:
            return (await sessions.get("cart")).copy()

        return dict(await self(values))

    async def model(self, cls: Any, **options: Any) -> Any:
        async def load(sessions: SessionRegistry) -> Any:
            return await sessions.model("cart", cls, **options)

        return await self(load)


@pytest.fixture
def requests() -> Requests:
    return Requests(store=MemoryStore())


# -- read and changed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_what_was_changed_in_any_way_is_there_at_the_next_request(
    options: dict[str, Any], cart_class: Any
) -> None:
    requests, line = Requests(**options), LINES[cart_class]

    async def fill(sessions: SessionRegistry) -> None:
        cart = await sessions.model("cart", cart_class)
        cart.items.append(line(sku="tea"))
        cart.coupon, cart.size, cart.when = "X", Size.LARGE, WHEN
        cart.tags.update({"a", "b"})
        cart.counts[7] = 8
        cart.total += Decimal("1.10")

    async def nested(sessions: SessionRegistry) -> None:
        (await sessions.model("cart", cart_class)).items[0].count += 1

    await requests(fill)
    await requests(nested)
    cart = await requests.model(cart_class)
    assert type(cart) is cart_class
    assert cart.items == [line(sku="tea", count=2)]
    assert (cart.coupon, cart.size, cart.when, cart.tags) == ("X", Size.LARGE, WHEN, {"a", "b"})
    assert (cart.counts, cart.total) == ({7: 8}, Decimal("1.10"))


async def test_the_fields_are_the_session_s_keys_and_others_stay(requests: Requests, cart_class: Any) -> None:
    await requests.store({"user": 1, "coupon": "A"})

    async def change(sessions: SessionRegistry) -> None:
        (await sessions.model("cart", cart_class)).tags.add("x")

    await requests(change)
    assert await requests.stored() == {"user": 1, "coupon": "A", "tags": {"x"}}


async def test_who_only_reads_writes_nothing(options: dict[str, Any], cart_class: Any) -> None:
    requests = Requests(**options)
    await requests.model(cart_class)
    assert not requests.response.set_cookies
    await requests.store({"coupon": "A", "counts": {"1": 2}, "items": [{"sku": "tea"}]})  # as others would spell it
    before = await requests.stored()
    assert (await requests.model(cart_class)).counts == {1: 2}
    assert not requests.response.set_cookies
    assert await requests.stored() == before


async def test_it_is_the_same_object_all_through_a_request(requests: Requests, cart_class: Any) -> None:
    async def twice(sessions: SessionRegistry) -> bool:
        first = await sessions.model("cart", cart_class)
        first.coupon = "X"
        await sessions.save()
        return first is await sessions.model("cart", cart_class)

    assert await requests(twice)
    assert (await requests.model(cart_class)).coupon == "X"


async def test_what_is_changed_back_after_a_save_is_stored_back(requests: Requests, cart_class: Any) -> None:
    async def there_and_back(sessions: SessionRegistry) -> None:
        cart = await sessions.model("cart", cart_class)
        for coupon in ("X", None, "Y", None):
            cart.coupon = coupon
            await sessions.save()

    await requests(there_and_back)
    assert await requests.stored() == {"coupon": None}


async def test_two_models_of_one_session_side_by_side(requests: Requests) -> None:
    @dataclass
    class Coupon:
        coupon: str | None = None

    async def both(sessions: SessionRegistry) -> None:
        (await sessions.model("cart", DataCart)).total = Decimal(5)
        (await sessions.model("cart", Coupon)).coupon = "X"

    await requests(both)
    assert await requests.stored() == {"total": Decimal(5), "coupon": "X"}


async def test_a_key_set_in_the_dict_is_kept_unless_the_object_changed_it_too(requests: Requests) -> None:
    async def mixed(sessions: SessionRegistry) -> None:
        cart, session = await sessions.model("cart", DataCart), await sessions.get("cart")
        session["coupon"], session["size"] = "dict", "l"
        cart.tags.add("x")
        cart.coupon = "model"

    await requests(mixed)
    assert await requests.stored() == {"coupon": "model", "size": "l", "tags": {"x"}}


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_parallel_changes_of_two_fields_both_survive(requests: Requests, cart_class: Any) -> None:
    await requests.store({"user": 1})
    cookie = "; ".join(f"{name}={value}" for name, value in requests.browser.jar.items())
    loaded, both_loaded = [], anyio.Event()

    async def change(name: str, value: Any) -> None:
        async def act(sessions: SessionRegistry) -> None:
            cart = await sessions.model("cart", cart_class)
            loaded.append(name)
            if len(loaded) == 2:
                both_loaded.set()
            await both_loaded.wait()
            setattr(cart, name, value)

        await Requests.__call__(requests, act, cookie)

    async with anyio.create_task_group() as group:
        group.start_soon(change, "coupon", "X")
        await anyio.wait_all_tasks_blocked()
        group.start_soon(change, "total", Decimal(3))
    cart = await requests.model(cart_class)
    assert (cart.coupon, cart.total) == ("X", Decimal(3))


async def test_late_changes_are_committed_when_the_application_returns() -> None:
    store = MemoryStore()
    requests = Requests(store=store)
    await requests.store({"user": 1})

    async def app(scope: Any, receive: Any, send: Any) -> None:
        cart = await get_sessions(scope).model("cart", DataCart)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        cart.tags.add("late")

    inner, requests.browser.app.app = requests.browser.app.app, app
    await requests.browser.get()
    requests.browser.app.app = inner
    assert (await requests.model(DataCart)).tags == {"late"}


# -- the end of an object ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["invalidate", "clear", "reload"])
async def test_an_object_from_before_the_end_is_detached(requests: Requests, cart_class: Any, end: str) -> None:
    await requests.store({"coupon": "A", "user": 1})

    async def act(sessions: SessionRegistry) -> Any:
        session = await sessions.get("cart")
        old = await sessions.model("cart", cart_class)
        old.coupon = "B"
        if (waiting := getattr(session, end)()) is not None:
            await waiting
        new = await sessions.model("cart", cart_class)
        old.total = Decimal(9)
        new.size = Size.LARGE
        return new.coupon

    kept = {"coupon": "A", "user": 1} if end == "reload" else {}
    assert await requests(act) == kept.get("coupon")
    assert await requests.stored() == kept | {"size": "l"}


async def test_after_a_logout_nothing_of_the_object_is_written(requests: Requests, cart_class: Any) -> None:
    await requests.store({"coupon": "A"})

    async def logout(sessions: SessionRegistry) -> None:
        cart = await sessions.model("cart", cart_class)
        (await sessions.get("cart")).invalidate()
        cart.coupon = "B"

    await requests(logout)
    assert "Max-Age=0" in requests.response.set_cookies[0]
    assert await requests.stored() == {}


async def test_in_an_exclusive_section_the_object_is_asked_for_anew(requests: Requests) -> None:
    await requests.store({"counts": {1: 1}})

    async def spend(sessions: SessionRegistry) -> None:
        before = await sessions.model("cart", DataCart)
        async with sessions.exclusive("cart"):
            inside = await sessions.model("cart", DataCart)
            assert inside is not before
            inside.counts[1] += 1

    await requests(spend)
    assert (await requests.stored())["counts"] == {1: 2}


# -- what does not fit -------------------------------------------------------------------------------------------------


@dataclass
class DataAccount:
    user: str
    age: Annotated[int, Meta(ge=0)] = 0


class StructAccount(Struct):
    user: str
    age: Annotated[int, Meta(ge=0)] = 0


class ModelAccount(pydantic.BaseModel):
    user: str
    age: int = pydantic.Field(default=0, ge=0)


ACCOUNTS = [DataAccount, StructAccount, ModelAccount]


@pytest.mark.parametrize("cls", ACCOUNTS)
@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"age": 3}, "user"),
        ({"user": "ann", "age": "secret"}, "age"),
        ({"user": "ann", "age": -1}, "age"),
        ({}, "user"),
    ],
    ids=["missing", "type", "constraint", "new"],
)
@pytest.mark.parametrize("serializer", [MessagePackSerializer(), JSONSerializer()], ids=["msgpack", "json"])
async def test_values_of_an_older_shape_are_an_error_that_names_session_and_field(
    serializer: Any, cls: Any, values: dict[str, Any], name: str
) -> None:
    requests = Requests(store=MemoryStore(), serializer=serializer)
    await requests.store(values | {"other": 1})
    with pytest.raises(ModelMismatch, match=rf"session 'cart' does not fit {cls.__name__}, field '{name}': .*default="):
        await requests.model(cls)
    with pytest.raises(ModelMismatch) as caught:
        await requests.model(cls)
    error = caught.value
    assert (error.session, error.model, error.field) == ("cart", cls.__name__, name)
    assert error.reason
    assert "secret" not in str(error)
    assert error.__suppress_context__ or "secret" not in str(error.__context__)


@pytest.mark.parametrize("cls", ACCOUNTS)
@pytest.mark.parametrize("values", [{}, {"other": 1}, {"user": 5}, {"age": 3}], ids=repr)
async def test_a_default_stands_in_for_nothing_and_for_an_older_shape(cls: Any, values: dict[str, Any]) -> None:
    requests = Requests(store=MemoryStore())
    await requests.store(values)

    def default() -> Any:
        return cls(user="anonymous", age=7)

    assert (await requests.model(cls, default=default)).user == "anonymous"
    assert await requests.stored() == values

    async def birthday(sessions: SessionRegistry) -> None:
        (await sessions.model("cart", cls, default=default)).age += 1

    await requests(birthday)
    account = await requests.model(cls)  # all of it was stored: no later default can give another one
    assert (account.user, account.age) == ("anonymous", 8)
    assert await requests.stored() == values | {"user": "anonymous", "age": 8}


async def test_a_default_that_another_call_would_not_repeat_is_stored_with_the_first_change(requests: Requests) -> None:
    @dataclass
    class Visitor:
        id: UUID = field(default_factory=uuid4)
        visits: int = 0
        plan: str = "free"

    async def visit(sessions: SessionRegistry) -> Visitor:
        visitor = await sessions.model("cart", Visitor)
        visitor.visits += 1
        return visitor

    first, second = await requests(visit), await requests(visit)
    assert (second.id, second.visits) == (first.id, 2)
    assert (await requests.stored()).keys() == {"id", "visits"}


@pytest.mark.parametrize("cls", ACCOUNTS)
async def test_what_the_next_request_could_not_read_is_not_stored(requests: Requests, cls: Any) -> None:
    await requests.store({"user": "ann", "age": 1})

    async def break_it(sessions: SessionRegistry) -> None:
        account = await sessions.model("cart", cls)
        account.user, account.age = "bob", -5
        await sessions.save()

    with pytest.raises(ExceptionGroup) as caught:
        await requests(break_it)
    error = caught.value.exceptions[0]
    assert isinstance(error, ModelMismatch)
    assert error.field == "age"
    assert "nothing of it was stored" in str(error)
    assert await requests.stored() == {"user": "ann", "age": 1}


class Choices(Struct):
    size: Size | None = None
    letter: Literal["a", "b"] = "a"
    sizes: list[Size] = []


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"size": "se\ncret"}, "Invalid enum value"),
        ({"letter": "secret"}, "Invalid enum value"),
        ({"sizes": ["s", "secret"]}, r"Invalid enum value - at `\$\[1\]`"),
    ],
)
async def test_an_error_does_not_quote_what_is_stored(requests: Requests, values: Any, reason: str) -> None:
    await requests.store(values)
    with pytest.raises(ModelMismatch, match=rf"field '{next(iter(values))}': {reason}; if it was stored") as caught:
        await requests.model(Choices)
    assert caught.value.__suppress_context__


async def test_a_check_of_the_class_s_own_is_a_mismatch_too(requests: Requests) -> None:
    @dataclass
    class Span:
        start: int = 0
        end: int = 0

        def __post_init__(self) -> None:
            if self.end < self.start:
                raise ValueError("ends before it starts")

    await requests.store({"start": 5})
    with pytest.raises(ModelMismatch, match="does not fit Span: ValueError: ends before it starts") as caught:
        await requests.model(Span)
    assert caught.value.field is None


@pytest.mark.parametrize("cls", [DataCart, StructCart, ModelCart])
async def test_what_can_not_be_stored_names_session_and_path(requests: Requests, cls: Any) -> None:
    async def break_it(sessions: SessionRegistry) -> None:
        (await sessions.model("cart", cls)).coupon = object()

    with pytest.raises(SerializationError, match=r"session 'cart'\['coupon'\]: object objects cannot be stored"):
        await requests(break_it)


async def test_a_default_that_can_not_be_stored_is_named_at_once(requests: Requests) -> None:
    @dataclass
    class Page:
        template: Any = field(default_factory=object)

    with pytest.raises(SerializationError, match=r"session 'cart'\['template'\]: object objects cannot be stored"):
        await requests.model(Page)


async def test_a_pydantic_model_that_can_not_be_dumped_is_an_error(requests: Requests) -> None:
    class Page(pydantic.BaseModel):
        number: int = 1

        @pydantic.field_serializer("number")
        def refuse(self, number: int) -> int:
            raise ValueError("not today")

    with pytest.raises(SerializationError, match=r"session 'cart': Page.model_dump\(\) failed"):
        await requests.model(Page)


async def test_a_pydantic_model_that_validates_in_a_way_of_its_own(requests: Requests) -> None:
    class Page(pydantic.BaseModel):
        @classmethod
        def model_validate(cls, *args: Any, **options: Any) -> Any:
            raise UnicodeError("the secret value")

    with pytest.raises(ModelMismatch, match=r"does not fit Page: UnicodeError; "):
        await requests.model(Page)


async def test_an_object_that_contains_itself_is_an_error(requests: Requests) -> None:
    @dataclass
    class Tree:
        leaves: list[Any] = field(default_factory=list)

    async def loop(sessions: SessionRegistry) -> None:
        tree = await sessions.model("cart", Tree)
        tree.leaves.append(tree.leaves)

    with pytest.raises(SerializationError, match="session 'cart': the Tree is nested too deeply, or contains itself"):
        await requests(loop)


# -- kinds of models ---------------------------------------------------------------------------------------------------


class Odd(Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """What a struct may say of its own encoding counts where it is nested; its fields are the keys all the same."""

    long_name: int = 1
    lines: list[TaggedLine] = []
    arrays: list[ArrayLine] = []
    either: TaggedLine | int = 0
    maybe: int | UnsetType = UNSET
    pairs: list[tuple[int, str]] = []
    frozen: frozenset[int] = frozenset()


async def test_structs_that_are_renamed_tagged_or_arrays(options: dict[str, Any]) -> None:
    requests = Requests(**options)

    async def fill(sessions: SessionRegistry) -> None:
        odd = await sessions.model("cart", Odd)
        odd.long_name, odd.maybe, odd.either = 5, 6, TaggedLine("x")
        odd.lines.append(TaggedLine("tea", 2))
        odd.arrays.append(ArrayLine("tea", 3))
        odd.pairs.append((1, "a"))
        odd.frozen |= {3, 4}

    async def unset(sessions: SessionRegistry) -> None:
        (await sessions.model("cart", Odd)).maybe = UNSET

    await requests(fill)
    assert (await requests.stored()).keys() >= {"long_name", "maybe"}
    odd = await requests.model(Odd)
    assert odd == Odd(
        5, [TaggedLine("tea", 2)], [ArrayLine("tea", 3)], TaggedLine("x"), 6, [(1, "a")], frozenset({3, 4})
    )
    await requests(unset)
    assert "maybe" not in await requests.stored()


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, extra="forbid")
    when: datetime = WHEN
    tags: set[str] = set()
    pair: tuple[int, int] = (0, 0)
    kind: Literal["a", "b"] = "a"


async def test_a_strict_pydantic_model(options: dict[str, Any]) -> None:
    requests = Requests(**options)
    later = WHEN.replace(year=2031)

    async def fill(sessions: SessionRegistry) -> None:
        strict = await sessions.model("cart", Strict)
        strict.when, strict.pair, strict.kind = later, (1, 2), "b"
        strict.tags.add("x")

    await requests(fill)
    assert await requests.model(Strict) == Strict(when=later, tags={"x"}, pair=(1, 2), kind="b")


async def test_fields_that_no_argument_sets_and_types_that_the_serializer_knows() -> None:
    class Money:
        def __init__(self, cents: int) -> None:
            self.cents = cents

    @dataclass
    class Purse:
        content: Money | None = None
        color: Size = Size.SMALL
        seen: int = field(default=0, init=False)

    serializer = MessagePackSerializer()
    serializer.register(Money, "money", lambda money: money.cents, Money)
    requests = Requests(store=MemoryStore(), serializer=serializer)

    async def fill(sessions: SessionRegistry) -> None:
        purse = await sessions.model("cart", Purse)
        purse.content, purse.seen = Money(7), 3

    await requests(fill)
    purse = await requests.model(Purse)
    assert (purse.content.cents, purse.seen) == (7, 3)
    await requests.store({"content": 5})
    with pytest.raises(ModelMismatch, match="field 'content'"):
        await requests.model(Purse)


async def test_objects_that_were_stored_as_such_before_there_was_a_model() -> None:
    serializer = MessagePackSerializer([Line, TaggedLine])
    requests = Requests(store=MemoryStore(), serializer=serializer)

    class Basket(Struct):
        first: Line
        second: TaggedLine

    await requests.store({"first": Line("tea"), "second": TaggedLine("milk")})
    assert await requests.model(Basket) == Basket(Line("tea"), TaggedLine("milk"))


async def test_sets_of_models_are_stored_the_same_in_every_process(options: dict[str, Any]) -> None:
    class Point(Struct, frozen=True):
        x: int

    class Points(Struct):
        points: set[Point] = set()

    requests = Requests(**options)

    async def fill(sessions: SessionRegistry) -> None:
        (await sessions.model("cart", Points)).points.update(Point(x) for x in range(5))

    await requests(fill)
    assert await requests.stored() == {"points": [{"x": x} for x in range(5)]}
    assert (await requests.model(Points)).points == {Point(x) for x in range(5)}


@dataclass
class WithParameter:
    a: int = 0

    def __init__(self, b: int = 0) -> None:
        self.a = b


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (int, "int is no model: write the class of"),
        (DataCart(), "an instance of DataCart is no model: write the class of"),
        (WithParameter, r"\['b'\] are no fields"),
        (Open, "must be known beforehand"),
        (pydantic.RootModel[int], "must be known beforehand"),
    ],
    ids=["int", "an instance", "parameters", "extra fields", "root model"],
)
async def test_classes_that_can_be_no_model(requests: Requests, cls: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        await requests.model(cls)


async def test_a_default_of_another_class_is_refused(requests: Requests) -> None:
    with pytest.raises(TypeError, match="session 'cart': default makes a StructCart, not a DataCart"):
        await requests.model(DataCart, default=StructCart)


def test_pydantic_is_not_needed() -> None:
    script = (
        "import sys; sys.modules['pydantic'] = None; import dataclasses, asgi_sessions\n"
        "from asgi_sessions.models import Views\n"
        "from asgi_sessions import MessagePackSerializer\n"
        "cls = dataclasses.make_dataclass('A', [('a', int, 1)])\n"
        "assert Views('x', MessagePackSerializer()).get(cls, {'a': 2}, None).a == 2\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=20)


# -- FastAPI and static types ------------------------------------------------------------------------------------------

Cart = Annotated[DataCart, use_model("cart", DataCart)]


def new_app() -> FastAPI:
    app = FastAPI()

    @app.post("/add")
    async def add(cart: Cart, sku: str) -> int:
        cart.items.append(Line(sku))
        return len(cart.items)

    @app.get("/account")
    async def account(
        account: Annotated[
            ModelAccount, use_model("account", ModelAccount, default=lambda: ModelAccount(user="anonymous"))
        ],
    ) -> ModelAccount:
        return account

    store = MemoryStore()
    sessions = [SessionConfig("cart", store=store), SessionConfig("account", store=store)]
    app.add_middleware(SessionMiddleware, secret_key=KEY, sessions=sessions)
    return app


def test_a_model_is_a_dependency() -> None:
    browser = TestClient(new_app())
    assert [browser.post("/add?sku=tea").json() for _ in range(3)] == [1, 2, 3]
    assert browser.get("/account").json() == {"user": "anonymous", "age": 0}


def test_the_cookie_of_a_model_is_in_the_openapi_document() -> None:
    document = TestClient(new_app()).get("/openapi.json").json()
    assert document["paths"]["/add"]["post"]["security"] == [{"cart-session": []}]
    assert document["components"]["securitySchemes"]["cart-session"]["name"] == "cart"
    assert "requestBody" not in document["paths"]["/add"]["post"]


SNIPPET = """
from dataclasses import dataclass
from typing import Annotated, assert_type

from asgi_sessions import SessionRegistry
from asgi_sessions.fastapi import use_model


@dataclass
class CartModel:
    count: int = 0


Cart = Annotated[CartModel, use_model("cart", CartModel)]


def named(cart: Cart, other: CartModel = use_model("cart", CartModel)) -> int:
    assert_type(cart, CartModel)
    cart.nothing
    return cart.count + other.count


async def asked(sessions: SessionRegistry) -> None:
    assert_type(await sessions.model("cart", CartModel, default=CartModel), CartModel)
    await sessions.model("cart", CartModel, default=dict)


wrong: int = use_model("cart", CartModel)
"""


def test_the_static_types_are_right(tmp_path: Path) -> None:
    """Takes some seconds: mypy reads FastAPI."""
    file = tmp_path / "snippet.py"
    file.write_text(SNIPPET)
    root = Path(__file__).parent.parent
    options = ["--strict", "--follow-imports=silent", "--no-error-summary", "--cache-dir", str(root / ".mypy_cache")]
    run = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(file)], cwd=root, capture_output=True, text=True, timeout=120
    )
    found = sorted(line.split("error: ")[1].split("[")[-1] for line in run.stdout.splitlines() if "error: " in line)
    assert found == ["arg-type]", "assignment]", "attr-defined]"], run.stdout + run.stderr


def test_msgspec_has_what_is_built_upon() -> None:
    """The struct's own description is how nested ones are written as msgspec would read them."""
    assert msgspec.to_builtins(TaggedLine("a")) == {"type": "line", "skuCode": "a", "count": 1}
    assert msgspec.to_builtins(ArrayLine("a")) == ["ArrayLine", "a", 1]
