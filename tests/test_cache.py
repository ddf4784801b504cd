"""The bounded cache: a dict that forgets everything at once instead of growing."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_sessions._engine.cache import Cache

LIMIT = 4
keys = st.integers(0, 9)
steps = st.lists(
    st.tuples(st.just("put"), keys, st.integers()) | st.tuples(st.sampled_from(["get", "pop"]), keys), max_size=60
)


@settings(max_examples=200, deadline=None)
@given(steps)
def test_a_cache_is_a_dict_that_is_emptied_when_it_is_full(steps: list[tuple[Any, ...]]) -> None:
    cache: Cache[int, int] = Cache(LIMIT)
    plain: dict[int, int] = {}
    for verb, key, *values in steps:
        if verb == "put":
            if key not in plain and len(plain) == LIMIT:
                plain = {}
            plain[key] = values[0]
            assert cache.put(key, values[0]) == values[0]
        elif verb == "get":
            assert cache.get(key) == plain.get(key)
        else:
            assert cache.pop(key, None) == plain.pop(key, None)
        assert cache == plain
        assert len(cache) <= LIMIT


def test_as_many_entries_as_the_limit_are_kept() -> None:
    cache: Cache[int, str] = Cache(3)
    for key in range(3):
        cache.put(key, "value")
    assert [*cache] == [0, 1, 2]


def test_one_entry_more_than_the_limit_leaves_that_one_only() -> None:
    cache: Cache[int, str] = Cache(3)
    for key in range(4):
        cache.put(key, "value")
    assert cache == {3: "value"}


def test_a_new_value_of_a_known_key_forgets_no_other_key() -> None:
    cache: Cache[int, str] = Cache(2)
    cache.put(1, "old")
    cache.put(2, "other")
    assert cache.put(1, "new") == "new"
    assert cache == {1: "new", 2: "other"}


@pytest.mark.parametrize("value", [None, 0, b""])
def test_a_value_that_is_nothing_is_kept_like_others(value: Any) -> None:
    cache: Cache[str, Any] = Cache(1)
    cache.put("key", value)
    assert "key" in cache
    assert cache.put("key", value) is value


def test_the_repr_of_a_cache_shows_no_entry() -> None:
    cache: Cache[bytes, bytes] = Cache(8)
    cache.put(b"a cookie", b"a secret")
    assert repr(cache) == "<Cache: 1 of 8 entries>"
