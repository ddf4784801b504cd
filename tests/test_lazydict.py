"""The dict that fills itself at its first access, seen from Python and from C code."""

import copy
import json
import operator
import pickle
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from asgi_sessions import SessionMiddleware, SessionNotLoaded, StoreUnavailable
from asgi_sessions._engine.state import Exchange, SessionState, Settings
from asgi_sessions.session import LazyDict

from .browser import KEY, respond

VALUES = {"user": 7, "cart": ["apple"]}
PROFILE = SessionMiddleware(respond, KEY).configuration.default.profile


class Ready:
    """A backend that has the values already."""

    def __init__(self, values: dict[Any, Any]) -> None:
        self.values = values
        self.loads = 0

    def load_now(self, state: SessionState) -> None:
        self.loads += 1
        state.pending = False
        dict.clear(state)
        dict.update(state, copy.deepcopy(self.values))

    async def load(self, state: SessionState) -> None:
        self.load_now(state)


class NotReady(Ready):
    """A backend that needs I/O first."""

    def load_now(self, state: SessionState) -> None:
        raise SessionNotLoaded("await it first")


class Lazy(LazyDict):
    """A lazy dict that its test knows the backend and the state of."""

    def __init__(self, values: dict[Any, Any] | None = None, backend: type[Ready] = Ready) -> None:
        settings = Settings(lambda: 0.0, 10.0, set())
        exchange = Exchange(settings, [], "http", settings.clock)
        super().__init__(backend(VALUES if values is None else values), PROFILE, exchange)


def unready() -> Lazy:
    return Lazy(backend=NotReady)


def updated(target: dict[Any, Any], other: Any) -> dict[Any, Any]:
    target.update(other)
    return target


READS: dict[str, Callable[[Any], Any]] = {
    "getitem": lambda s: s["user"],
    "get": lambda s: s.get("user"),
    "get a default": lambda s: s.get("nobody", "default"),
    "in": lambda s: "user" in s,
    "not in": lambda s: "nobody" in s,
    "iter": lambda s: list(iter(s)),
    "reversed": lambda s: list(reversed(s)),
    "len": len,
    "bool": bool,
    "keys": lambda s: list(s.keys()),
    "values": lambda s: list(s.values()),
    "items": lambda s: list(s.items()),
    "copy": lambda s: s.copy(),
    "equal": lambda s: s == VALUES,
    "equal from the left": lambda s: s == VALUES,
    "not equal": lambda s: s != VALUES,
    "or": lambda s: s | {"user": 8},
    "or from the left": lambda s: {"user": 8, "more": 9} | s,
    "dict": dict,
    "dict with keywords": lambda s: dict(s, more=1),
    "unpacking": lambda s: {**s},
    "keyword arguments": lambda s: (lambda **kw: kw)(**s),
    "update of another dict": lambda s: updated({"user": 0}, s),
    "in-place or of another dict": lambda s: {"user": 0}.__ior__(s),
    "sorted": sorted,
    "json.dumps": json.dumps,
    "json.dumps with indent": lambda s: json.dumps(s, indent=1),
    "json.dumps of a part": lambda s: json.dumps({"session": s}),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "pickle": lambda s: pickle.loads(pickle.dumps(s)),
    "pickle in Python": lambda s: pickle.loads(pickle._dumps(s)),  # type: ignore[attr-defined]
    "format_map": lambda s: "{user}".format_map(s),
    "percent": lambda s: operator.mod("%(user)s", s),
    "ChainMap": lambda s: dict(ChainMap({}, s)),
    "repr": repr,
    "str": str,
    "format": lambda s: f"{s}",
}


def match_case(mapping: Any) -> Any:
    match mapping:
        case {"user": user, **rest}:
            return user, rest
    return None


READS["match"] = match_case

WRITES: dict[str, Callable[[Any], Any]] = {
    "setitem": lambda s: s.__setitem__("a", 1),
    "setitem of the same": lambda s: s.__setitem__("user", 7),
    "delitem": lambda s: s.__delitem__("user"),
    "update": lambda s: s.update({"a": 1}, b=2),
    "update of pairs": lambda s: s.update([("a", 1)]),
    "in-place or": lambda s: s.__ior__({"a": 1}) is s,
    "in-place or of pairs": lambda s: s.__ior__([("a", 1)]) is s,
    "setdefault": lambda s: s.setdefault("a", 1),
    "setdefault of nothing": lambda s: s.setdefault("a"),
    "pop": lambda s: s.pop("user"),
    "pop with a default": lambda s: s.pop("user", 0),
    "popitem": lambda s: s.popitem(),
    "clear": lambda s: s.clear(),
}

NO_WRITES: dict[str, Callable[[Any], Any]] = {
    "setdefault of a key that is there": lambda s: s.setdefault("user", 8),
    "pop of a key that is not there": lambda s: s.pop("nobody", "default"),
}

FAILURES: dict[str, Callable[[Any], Any]] = {
    "getitem": lambda s: s["nobody"],
    "delitem": lambda s: s.__delitem__("nobody"),
    "pop": lambda s: s.pop("nobody"),
    "unhashable key": lambda s: s[[]],
    "or with a list": lambda s: s | [],
    "or with a list from the left": lambda s: [] | s,
    "update with a number": lambda s: s.update(1),
    "in-place or with a number": lambda s: s.__ior__(1),
    "order": lambda s: s < {},
    "hash": hash,
}


def by_name(cases: dict[str, Callable[[Any], Any]]) -> Any:
    return pytest.mark.parametrize("use", cases.values(), ids=cases.keys())


@by_name(READS | WRITES | NO_WRITES)
def test_the_first_access_fills_it_and_gives_what_a_dict_gives(use: Any) -> None:
    lazy, plain = Lazy(), copy.deepcopy(VALUES)
    assert use(lazy) == use(plain)
    assert lazy == plain
    assert lazy.backend.loads == 1


@by_name(READS | WRITES | NO_WRITES)
def test_a_later_access_does_not_fill_it_again(use: Any) -> None:
    lazy = Lazy({"user": 7, "cart": ["apple"], "b": 1})
    lazy["b"] = 2
    plain = {"user": 7, "cart": ["apple"], "b": 2}
    assert use(lazy) == use(plain)
    assert lazy == plain
    assert lazy.backend.loads == 1


@by_name(FAILURES)
def test_what_fails_with_a_dict_fails_the_same_way(use: Any) -> None:
    lazy, plain = Lazy(), copy.deepcopy(VALUES)
    errors = []
    for one in (lazy, plain):
        with pytest.raises((KeyError, TypeError)) as caught:
            use(one)
        errors.append(caught.value)
    assert type(errors[0]) is type(errors[1])
    assert dict(lazy) == plain


def test_popitem_of_an_empty_one_is_a_key_error() -> None:
    lazy = Lazy({})
    with pytest.raises(KeyError, match="empty"):
        lazy.popitem()
    assert not lazy.modified


@by_name(READS | NO_WRITES)
def test_reading_is_an_access_and_no_modification(use: Any) -> None:
    lazy = Lazy()
    assert (lazy.accessed, lazy.modified) == (False, False)
    use(lazy)
    assert (lazy.accessed, lazy.modified) == (True, False)


@by_name(WRITES)
def test_writing_is_an_access_and_a_modification(use: Any) -> None:
    lazy = Lazy()
    use(lazy)
    assert (lazy.accessed, lazy.modified) == (True, True)


def test_what_is_set_after_the_mark_was_taken_back_is_a_modification() -> None:
    lazy = Lazy()
    lazy["a"] = 1
    lazy.modified = False
    lazy["b"] = 2
    assert lazy.modified


@pytest.mark.parametrize("written", [False, b"what is being committed"])
def test_what_is_set_after_a_commit_waits_for_the_next_one(written: bool | bytes) -> None:
    lazy = Lazy()
    lazy["a"] = 1
    lazy.written = written
    lazy["b"] = 2
    assert lazy.written is True


def test_marking_it_modified_is_an_access_too() -> None:
    lazy = Lazy()
    lazy.mark_modified()
    assert (lazy.accessed, lazy.modified) == (True, True)


@by_name({name: use for name, use in (READS | WRITES | NO_WRITES).items() if name not in ("repr", "str", "format")})
def test_one_that_cannot_be_filled_fails_loudly_and_stays_as_it_is(use: Any) -> None:
    lazy = unready()
    with pytest.raises(SessionNotLoaded, match="await it first"):
        use(lazy)
    assert (lazy.accessed, lazy.modified) == (False, False)
    assert dict.__len__(lazy) == 1


def test_its_repr_says_why_it_cannot_be_filled() -> None:
    assert repr(unready()) == "<Lazy: await it first>"


def test_one_whose_store_failed_before_raises_that_at_its_first_use() -> None:
    lazy = Lazy()
    lazy.failure = StoreUnavailable("down")
    with pytest.raises(StoreUnavailable, match="down"):
        lazy.get("user")
    assert (lazy.accessed, lazy.backend.loads) == (False, 0)


@by_name(READS | WRITES | NO_WRITES)
def test_any_access_is_noted_for_the_response(use: Any) -> None:
    """``Vary: Cookie`` depends on it."""
    lazy = Lazy()
    assert not lazy.exchange.accessed
    use(lazy)
    assert lazy.exchange.accessed


@by_name(WRITES)
def test_any_write_is_noted_for_the_commit(use: Any) -> None:
    lazy = Lazy()
    use(lazy)
    assert lazy.written
    assert lazy.exchange.touched


SCALARS: dict[str, Callable[[Any], Any]] = {
    "getitem": lambda s: s["user"],
    "get": lambda s: s.get("user"),
    "get a default": lambda s: s.get("nobody"),
    "in": lambda s: "user" in s,
    "len": len,
    "iter": lambda s: list(iter(s)),
    "keys": lambda s: list(s.keys()),
}
HANDED_OUT: dict[str, Callable[[Any], Any]] = {
    "getitem": lambda s: s["cart"],
    "get": lambda s: s.get("cart"),
    "get a default": lambda s: s.get("nobody", []),
    "values": lambda s: s.values(),
    "items": lambda s: s.items(),
    "copy": lambda s: s.copy(),
    "setdefault": lambda s: s.setdefault("cart", []),
    "setitem of a list": lambda s: s.__setitem__("a", []),
    "setitem of a key that is no str": lambda s: s.__setitem__(1, 1),
    "update": lambda s: s.update(a=[]),
    "in-place or": lambda s: s.__ior__({"a": []}),
}


@by_name(SCALARS)
def test_who_read_scalars_only_can_have_changed_nothing_unseen(use: Any) -> None:
    lazy = Lazy()
    use(lazy)
    assert (lazy.shared, lazy.exchange.touched) == (False, False)


@by_name(HANDED_OUT)
def test_who_holds_a_value_that_can_change_may_change_it_unseen(use: Any) -> None:
    lazy = Lazy()
    use(lazy)
    assert (lazy.shared, lazy.exchange.touched) == (True, True)


def test_it_is_a_dict() -> None:
    assert isinstance(Lazy(), dict)


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "pickle": lambda s: pickle.loads(pickle.dumps(s)),
    "dict": dict,
    "method": LazyDict.copy,
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES.keys())
def test_a_copy_is_a_plain_dict_of_its_own(copied: Any) -> None:
    lazy = Lazy()
    result = copied(lazy)
    assert type(result) is dict
    result["more"] = 1
    assert "more" not in lazy


def test_a_deep_copy_shares_no_value() -> None:
    lazy = Lazy()
    copy.deepcopy(lazy)["cart"].append("pear")
    assert lazy == VALUES


@pytest.mark.parametrize("encode", [msgspec.json.encode, msgspec.msgpack.encode])
def test_an_encoder_that_looks_past_the_methods_fails_loudly_or_sees_the_values(encode: Callable[[Any], bytes]) -> None:
    """C code may walk the entries of a dict without asking it."""
    lazy = Lazy()
    with pytest.raises(TypeError):
        encode(lazy)
    assert lazy.accessed is False
    lazy.mark_accessed()
    assert encode(lazy) == encode(VALUES)


@pytest.mark.parametrize("annotation", [dict[str, Any], dict[Any, Any], Mapping[str, Any]])
def test_a_pydantic_model_sees_the_values(annotation: Any) -> None:
    assert TypeAdapter(annotation).validate_python(Lazy()) == VALUES


KEYS = st.sampled_from(["a", "b", "c", 1, None])
STEPS = st.one_of(
    st.tuples(st.just("__setitem__"), KEYS, st.integers()),
    st.tuples(st.sampled_from(["pop", "get", "setdefault"]), KEYS, st.integers()),
    st.tuples(
        st.sampled_from(["update", "__ior__", "__or__", "__eq__", "__ne__"]), st.dictionaries(KEYS, st.integers())
    ),
    st.tuples(st.sampled_from(["__contains__", "__getitem__", "__delitem__", "pop"]), KEYS),
    st.tuples(st.sampled_from(["popitem", "clear", "copy", "keys", "values", "items", "__len__"])),
)


def outcome(target: dict[Any, Any], step: tuple[Any, ...]) -> Any:
    try:
        result = getattr(target, step[0])(*step[1:])
    except KeyError as exc:
        return type(exc), exc.args
    return list(result) if step[0] in ("keys", "values", "items") else dict(result) if result is target else result


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(KEYS, st.integers()), st.lists(STEPS, max_size=12))
def test_any_sequence_of_operations_does_what_it_does_to_a_dict(start: dict[Any, Any], steps: list[Any]) -> None:
    lazy, plain = Lazy(start), dict(start)
    for step in steps:
        assert outcome(lazy, step) == outcome(plain, step)
    assert list(lazy.items()) == list(plain.items())
    assert lazy.modified or plain == start
