"""Where somebody is logged in: two profiles of one user, who look at each other and end each other."""

import itertools
from typing import TYPE_CHECKING

from .test_demo_page import DESK, FAINT, NAMELESS, PHONE, SMALL, log_in

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from .conftest import Visitor

FIREFOX = "Mozilla/5.0 (Android 14; Mobile; rv:131.0) Gecko/131.0 Firefox/131.0"


def profile(visitor: "Visitor", demo: str, user: str, **options: object) -> "Page":
    """A browser profile that is logged in, and looks at its devices."""
    page = visitor(demo, **options)
    log_in(page, user)
    page.get_by_role("link", name="Where you are logged in").click()
    page.get_by_role("heading", name="Where you are logged in").wait_for()
    return page


def devices(page: "Page") -> list[str]:
    return page.locator(".devices h3").all_inner_texts()


def test_without_scripts_two_profiles_see_each_other_and_one_ends_the_other(visitor: "Visitor", demo: str) -> None:
    phone = profile(visitor, demo, "Margaret", user_agent=FIREFOX, java_script_enabled=False)
    assert devices(phone) == ["Firefox on Android this browser"]
    desk = profile(visitor, demo, "Margaret", java_script_enabled=False)
    assert devices(desk) == ["Chrome on Linux this browser", "Firefox on Android"]
    phone.reload()
    assert devices(phone) == ["Firefox on Android this browser", "Chrome on Linux"]

    desk.get_by_role("button", name="Log out Firefox on Android").click()
    desk.get_by_text("Logged out: Firefox on Android.").wait_for()
    assert devices(desk) == ["Chrome on Linux this browser"]

    phone.get_by_role("link", name="Try it").click()
    phone.get_by_text("You are logged out: your login was ended").wait_for()
    assert not phone.get_by_text("Logged in as").is_visible()
    log_in(phone, "Margaret")
    assert not phone.get_by_text("your login was ended").is_visible()
    desk.reload()
    assert devices(desk) == ["Chrome on Linux this browser", "Firefox on Android"]


def test_logging_out_everywhere_else_keeps_this_profile(visitor: "Visitor", demo: str) -> None:
    phone = profile(visitor, demo, "Grace", user_agent=FIREFOX)
    desk = profile(visitor, demo, "Grace")
    others = phone.get_by_role("button", name="Log out everywhere else")
    assert others.is_disabled()  # as it was when nobody else was there
    phone.reload()
    others.click()
    phone.get_by_text("Logged out everywhere else: 1 session ended.").wait_for()
    assert devices(phone) == ["Firefox on Android this browser"]
    desk.get_by_role("button", name="Log out Firefox on Android").click()  # its page is older than its end
    desk.get_by_text("Log in first.").wait_for()
    phone.reload()
    assert devices(phone) == ["Firefox on Android this browser"]


def test_a_forged_form_with_the_handle_of_somebody_else_is_refused_calmly(visitor: "Visitor", demo: str) -> None:
    victim = profile(visitor, demo, "Donald")
    action = victim.locator(".devices form").get_attribute("action")
    mallory = profile(visitor, demo, "Mallory")
    mallory.locator(".devices form").evaluate("(form, action) => form.setAttribute('action', action)", action)
    mallory.get_by_role("button", name="Log out this browser").click()
    mallory.get_by_text("You have no such session; it may have ended meanwhile.").wait_for()
    for page in (mallory, victim):
        page.reload()
        assert devices(page) == ["Chrome on Linux this browser"]


def test_a_form_of_a_sibling_site_ends_no_session(visitor: "Visitor", demo: str) -> None:
    victim = profile(visitor, demo, "Edsger")
    other = profile(visitor, demo, "Edsger", user_agent=FIREFOX)
    trap = victim.context.new_page()
    trap.goto(f"{demo.replace('demo.test', 'evil.demo.test')}/openapi.json")
    trap.set_content(f"<form method=post action='{demo}/devices/end-others'><button>Win a prize</button></form>")
    with trap.expect_response("**/end-others") as answer:
        trap.click("button")
    assert "session=" in answer.value.request.all_headers()["cookie"]  # SameSite=Lax does not help against it
    assert answer.value.status == 403
    other.reload()
    assert len(devices(other)) == 2


def test_the_list_can_be_read_and_reached(visitor: "Visitor", demo: str) -> None:
    user = "Eve-with-a-very-long-name-that-has-no-place-to-break-a-line"
    ended = profile(visitor, demo, user, user_agent=FIREFOX)
    page = profile(visitor, demo, user)
    page.get_by_role("button", name="Log out everywhere else").click()
    page.get_by_role("status").get_by_text("everywhere else: 1 session").wait_for()
    ended.reload()
    assert page.locator("nav [aria-current=page]").all_inner_texts() == ["Devices"]
    for one, viewport in itertools.product((page, ended), (PHONE, DESK)):
        one.set_viewport_size(viewport)
        assert one.evaluate("document.documentElement.scrollWidth") == viewport["width"]
        assert one.evaluate(SMALL) == []
        assert one.evaluate(NAMELESS) == []
        for scheme in ("light", "dark"):
            one.emulate_media(color_scheme=scheme)
            assert one.evaluate(FAINT) == []
