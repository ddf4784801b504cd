"""When a session ends and when it is renewed: properties over all configurations, and the boundaries by hand."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_sessions._engine.plan import renewed
from asgi_sessions.lifetime import DAY, Lifetime

NOW = 1_800_000_000.0

seconds = st.integers(1, 10 * 365 * DAY)
instants = st.integers(0, 10 * 365 * DAY).map(lambda offset: NOW + offset)
lifetimes = st.builds(
    Lifetime,
    max_age=st.none() | seconds,
    browser_session_ttl=seconds,
    rolling=st.booleans(),
    absolute_timeout=st.none() | seconds,
)
quickly = settings(max_examples=60, deadline=None)


def test_by_default_a_session_lives_two_weeks_and_is_renewed_once_in_a_tenth_of_that() -> None:
    lifetime = Lifetime()
    assert lifetime.duration == 14 * DAY
    assert lifetime.interval == pytest.approx(1.4 * DAY)
    assert lifetime.expires_at(renewed_at=NOW, started_at=NOW - 365 * DAY) == NOW + 14 * DAY


@quickly
@given(lifetimes, instants, instants, instants)
def test_activity_never_shortens_a_session(lifetime: Lifetime, started_at: float, one: float, other: float) -> None:
    earlier, later = sorted((one, other))
    before = lifetime.expires_at(renewed_at=earlier, started_at=started_at)
    assert lifetime.expires_at(renewed_at=later, started_at=started_at) >= before


@quickly
@given(lifetimes, instants, st.lists(st.integers(0, DAY), max_size=20))
def test_nothing_extends_a_session_beyond_its_absolute_timeout(
    lifetime: Lifetime, started_at: float, pauses: list[int]
) -> None:
    now = renewed_at = started_at
    for pause in pauses:
        now += pause
        if now >= lifetime.due_at(renewed_at):
            renewed_at = now
        ends_at = lifetime.expires_at(renewed_at=renewed_at, started_at=started_at)
        assert lifetime.absolute_timeout is None or ends_at <= started_at + lifetime.absolute_timeout
        assert lifetime.rolling or ends_at <= started_at + lifetime.duration


@quickly
@given(lifetimes, instants)
def test_who_comes_back_within_an_interval_is_always_renewed_in_time(lifetime: Lifetime, renewed_at: float) -> None:
    """Two visits less than half a lifetime apart: the second one finds the session alive, and renews it if due."""
    if not lifetime.rolling:
        assert renewed_at + 100 * lifetime.duration < lifetime.due_at(renewed_at)
        return
    assert 0 < lifetime.interval <= lifetime.duration / 2
    assert renewed_at < lifetime.due_at(renewed_at)
    assert renewed_at + lifetime.interval + 0.001 >= lifetime.due_at(renewed_at)


@quickly
@given(lifetimes, instants, instants)
def test_the_cookie_never_outlives_the_session(lifetime: Lifetime, started_at: float, now: float) -> None:
    ends_at, due_at, max_age = renewed(lifetime, now, started_at)
    assert ends_at == lifetime.expires_at(now, started_at)
    assert due_at == lifetime.due_at(now)
    assert (max_age is None) == (lifetime.max_age is None)
    if max_age is not None:
        assert max_age >= 0
        assert max_age == 0 or now + max_age <= ends_at


@quickly
@given(lifetimes, seconds)
def test_a_choice_at_run_time_keeps_the_absolute_timeout(lifetime: Lifetime, remember: int) -> None:
    chosen = lifetime.chosen(remember)
    assert chosen.max_age == chosen.duration == remember
    assert chosen.absolute_timeout == lifetime.absolute_timeout
    assert chosen.rolling == lifetime.rolling
    assert lifetime.chosen(None) is lifetime


@quickly
@given(lifetimes)
def test_forgetting_makes_it_a_browser_session(lifetime: Lifetime) -> None:
    forgotten = lifetime.chosen(0)
    assert forgotten.max_age is None
    assert forgotten.duration == lifetime.browser_session_ttl
    assert renewed(forgotten, NOW, NOW)[2] is None


def test_a_remembered_lifetime_shorter_than_the_refresh_interval_is_still_renewed() -> None:
    chosen = Lifetime(max_age=DAY, refresh_interval=3600).chosen(600)
    assert chosen.interval < 600


@pytest.mark.parametrize(
    ("options", "interval"),
    [
        ({"max_age": 3600}, 360),
        ({"max_age": 300}, 60),  # at least a minute
        ({"max_age": 60}, 30),  # at most half of the lifetime
        ({"max_age": None, "browser_session_ttl": 3600}, 360),
        ({"max_age": 3600, "refresh_interval": 0}, 0),  # at every access
        ({"max_age": 3600, "refresh_interval": 10}, 10),
        ({"max_age": 3600, "refresh_interval": 3000}, 1800),
    ],
)
def test_the_renewal_interval(options: dict[str, Any], interval: float) -> None:
    lifetime = Lifetime(**options)
    assert NOW + interval >= lifetime.due_at(NOW)
    assert interval == 0 or NOW + interval - 0.5 < lifetime.due_at(NOW)


@pytest.mark.parametrize("max_age", [0, -1, -3600.5])
def test_no_lifetime_is_over_at_once(max_age: float) -> None:
    lifetime = Lifetime(max_age=max_age)
    assert lifetime.expires_at(renewed_at=NOW, started_at=NOW) <= NOW
    assert renewed(lifetime, NOW, NOW)[2] == 0


@pytest.mark.parametrize("option", ["max_age", "browser_session_ttl", "refresh_interval", "absolute_timeout"])
@pytest.mark.parametrize("value", ["60", True, float("nan"), float("inf"), 1e12, [60]])
def test_what_is_no_number_of_seconds_is_refused(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{option}=.*must be a number of seconds"):
        Lifetime(**{option: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"browser_session_ttl": 0}, "browser_session_ttl=0: must be more than 0 seconds"),
        ({"browser_session_ttl": None}, "browser_session_ttl=None: must be more than 0 seconds"),
        ({"absolute_timeout": 0}, "absolute_timeout=0: must be more than 0 seconds, or None"),
        ({"refresh_interval": -1}, "refresh_interval=-1: must not be negative"),
        ({"max_age": 60, "refresh_interval": 60}, "would never be renewed; make it shorter, or set rolling=False"),
        ({"max_age": None, "browser_session_ttl": 60, "refresh_interval": 61}, "not shorter than the lifetime of 60"),
    ],
)
def test_what_contradicts_itself_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Lifetime(**options)


def test_without_renewal_any_refresh_interval_will_do() -> None:
    assert Lifetime(max_age=60, refresh_interval=60, rolling=False).due_at(NOW) == math.inf


def test_a_configured_interval_holds_for_a_chosen_lifetime_that_it_fits() -> None:
    configured = Lifetime(max_age=1000, refresh_interval=10)
    assert configured.chosen(5000).interval == 10
    assert configured.chosen(5000).max_age == 5000
    assert configured.chosen(0).max_age is None
    assert Lifetime(max_age=1000, refresh_interval=500).chosen(300).interval == 60
    assert configured.chosen(None) is configured
