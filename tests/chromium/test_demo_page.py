"""The demo, as somebody clicks through it."""

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from .conftest import Visitor

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1200, "height": 900}
INK = {"light": "rgb(27, 33, 48)", "dark": "rgb(233, 236, 243)"}


def log_in(page: "Page", name: str = "Ada") -> None:
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Log in").click()
    page.get_by_text(f"Logged in as {name}").wait_for()


def flashes(page: "Page") -> list[str]:
    return [text.split("\n")[0] for text in page.locator(".flash").all_inner_texts()]


def run(page: "Page", race: str) -> "Locator":
    """Press the button of one of the races, and wait for its end; the section."""
    page.locator(f"[data-race={race}]").click()
    page.locator(f"#{race} .result", has_text=re.compile("asgi_sessions")).wait_for()
    return page.locator(f"#{race}")


def verdicts(section: "Locator") -> list[str]:
    return section.locator(".verdict").all_inner_texts()


def sealed_under(page: "Page", session: str) -> str:
    return page.locator(f"#about-{session} tr", has_text="Sealed under").locator("td").inner_text()


@pytest.mark.parametrize("scripting", [True, False], ids=["with-scripts", "without-scripts"])
def test_login_flash_cart_and_logout_by_clicking(visitor: "Visitor", demo: str, scripting: bool) -> None:
    page = visitor(demo, java_script_enabled=scripting)
    log_in(page)
    assert flashes(page) == ["Welcome, Ada!"]
    page.reload()
    assert flashes(page) == []
    page.get_by_role("button", name="One Bread more").click()
    page.get_by_text("Bread: 1 in your cart.").wait_for()
    page.get_by_role("link", name="Weather").click()
    page.get_by_text("You looked at Weather.").wait_for()
    assert page.locator(".recent li").all_inner_texts() == ["Weather"]
    page.get_by_role("button", name="Dark").click()
    page.locator("[data-theme=dark]").wait_for()
    page.get_by_role("button", name="Log out", exact=True).click()
    page.get_by_text("all three sessions are gone").wait_for()
    assert page.get_by_label("Bread in the cart").inner_text() == "0"
    assert [cookie["name"] for cookie in page.context.cookies()] == ["settings"]


def test_the_back_button_does_not_show_what_was_there_before_the_logout(visitor: "Visitor", demo: str) -> None:
    page = visitor(demo)
    log_in(page, "Secret Ada")
    page.goto(f"{demo}/?another-page")
    page.get_by_role("button", name="Log out", exact=True).click()
    page.get_by_text("You are logged out").wait_for()
    for _ in range(2):
        page.go_back()
        page.get_by_role("button", name="Log in").wait_for()
        assert "Secret Ada" not in page.inner_text("body")


def test_a_flash_can_be_closed(visitor: "Visitor", demo: str) -> None:
    page = visitor(demo)
    log_in(page)
    page.get_by_role("button", name="Close this message").click()
    assert flashes(page) == []


def test_a_flash_changes_the_page_once_more_so_that_screen_readers_tell_it(visitor: "Visitor", demo: str) -> None:
    page = visitor(demo)
    page.add_init_script(TOLD)
    log_in(page)
    page.wait_for_load_state("load")
    assert page.evaluate("window.told") == ["Welcome, Ada!"]


def test_all_twenty_parallel_requests_arrive_and_where_the_last_writer_wins_they_do_not(
    visitor: "Visitor", demo: str
) -> None:
    section = run(visitor(demo), "parallel")
    ours, theirs = (section.locator(f"[data-side={side}]") for side in ("asgi-sessions", "last-writer-wins"))
    assert ours.locator(".kept").count() == 20
    lost = theirs.locator(".lost").count()
    assert 0 < lost < 20
    assert theirs.locator(".kept").count() == 20 - lost
    assert verdicts(section) == ["All 20 arrived.", f"{20 - lost} of 20 arrived."]
    assert f"{lost} are gone" in section.get_by_role("status").inner_text()


def test_a_logout_is_final_and_where_the_last_writer_wins_the_slow_request_undoes_it(
    visitor: "Visitor", demo: str
) -> None:
    page = visitor(demo)
    section = run(page, "logout")
    assert verdicts(section) == ["Nobody is logged in.", "Ada is logged in again."]
    names = {cookie["name"] for cookie in page.context.cookies()}
    assert names == {"last-writer-wins"}


def test_a_race_that_can_not_be_run_says_so(visitor: "Visitor", demo: str) -> None:
    page = visitor(demo)
    page.route("**/lab/**", lambda route: route.fulfill(status=200, body="nonsense"))
    page.locator("[data-race=parallel]").click()
    page.get_by_text("That did not work").wait_for()
    page.unroute("**/lab/**")
    run(page, "parallel")


def test_sessions_go_on_under_a_new_key_and_without_the_former_one(visitor: "Visitor", demo: str) -> None:
    page = visitor(demo)
    log_in(page)
    (first,) = page.locator("#keys code").all_inner_texts()
    page.get_by_role("button", name="Make a new key").click()
    page.get_by_text("A new key seals from now on").wait_for()
    second, former = page.locator("#keys code").all_inner_texts()
    assert former == first
    assert sealed_under(page, "session").startswith(f"key {first}, a former one")
    page.reload()
    assert sealed_under(page, "session") == f"key {second}"
    page.get_by_role("button", name="Retire the former keys").click()
    page.get_by_text("The former keys are retired, and").wait_for()
    page.get_by_text("Logged in as Ada").wait_for()
    assert page.locator("#keys code").all_inner_texts() == [second]


def test_without_scripts_the_page_says_what_needs_them(visitor: "Visitor", demo: str) -> None:
    page = visitor(demo, java_script_enabled=False)
    assert [notice.is_visible() for notice in page.get_by_text("This takes JavaScript").all()] == [True, True]
    assert not page.locator("[data-race=parallel]").is_visible()
    page = visitor(demo)
    page.locator("[data-race=parallel]").wait_for()
    assert [notice.is_visible() for notice in page.get_by_text("This takes JavaScript").all()] == [False, False]


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_everything_can_be_read_and_reached(visitor: "Visitor", demo: str, viewport: dict[str, int]) -> None:
    page = visitor(demo, viewport=viewport, reduced_motion="reduce")
    log_in(page, "Ada-with-a-very-long-name-that-has-no-place-to-break-a-line")
    run(page, "parallel")
    for details in page.locator("summary").all():
        details.click()
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    assert page.evaluate(SMALL) == []
    assert page.evaluate(NAMELESS) == []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("getComputedStyle(document.body).color") == INK[scheme]
        assert page.evaluate(FAINT) == []


def test_the_keyboard_reaches_the_content_first_and_shows_where_it_is(visitor: "Visitor", demo: str) -> None:
    page = visitor(demo)
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    assert skip.evaluate("link => link.matches(':focus-visible') && getComputedStyle(link).outlineStyle") == "solid"
    assert skip.bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.get_by_label("Your name").evaluate("field => field === document.activeElement")


# What is added to the flashes after the page is there, and therefore told by screen readers.
TOLD = """addEventListener("DOMContentLoaded", () => {
  const tell = changes => window.told = changes.flatMap(
    change => [...change.addedNodes].map(flash => flash.firstChild.textContent));
  new MutationObserver(tell).observe(document.querySelector(".flashes[role=status]"), { childList: true });
})"""

# Text with a contrast to its background below 4.5:1 (WCAG 2.2, 1.4.3); what is disabled shall be read, too.
FAINT = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgb = color => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = color => {
    const [r, g, b] = rgb(color).map(value => value / 255).map(
      value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    while (element && rgb(getComputedStyle(element).backgroundColor)[3] < 255) element = element.parentElement;
    return element ? getComputedStyle(element).backgroundColor : "white";
  };
  const faint = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    const pair = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => b - a);
    const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (contrast < 4.5) faint.push(`${contrast.toFixed(1)} ${element.className}: ${element.textContent}`);
  }
  return faint;
}"""

# Buttons and fields that are smaller than 24 pixels (WCAG 2.2, 2.5.8), text boxes with their labels.
SMALL = """() => [...document.querySelectorAll("button, input:not([type=checkbox]), label.check, summary")]
  .filter(element => element.checkVisibility())
  .map(element => [element.getBoundingClientRect(), element.textContent])
  .filter(([box]) => box.width < 24 || box.height < 24)
  .map(([box, text]) => `${box.width}x${box.height}: ${text}`)"""

# Fields without a label, and landmarks that are missing.
NAMELESS = """() => [
  ...[...document.querySelectorAll("input")].filter(field => !field.labels.length).map(field => field.outerHTML),
  ...["header", "nav[aria-label]", "main", "footer", "h1"].filter(one => document.querySelectorAll(one).length !== 1),
]"""
