"""The one stream of a page: refused, opened behind other tabs, and with more windows than a browser has connections."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route

from tests.browser.conftest import BOUND_MILLISECONDS, Place, Window, served
from tests.waiting import until

Opened = Callable[..., Window]
HIDDEN = 'Object.defineProperty(document, "hidden", { value: true, configurable: true });'
SHOWN = """() => {
  Object.defineProperty(document, "hidden", { value: false, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def status(page: Page, words: str) -> None:
    """Wait until the header says so."""
    page.locator("#live [role=status]", has_text=words).wait_for()


@pytest.mark.parametrize("refusal", ["busy", "no network"])
def test_a_first_stream_that_is_refused_is_asked_for_again(
    window: Opened, place: Place, refusal: str
) -> None:
    def refuse(route: Route) -> None:
        if refusal == "busy":
            route.fulfill(status=503, content_type="text/html", body="<h1>Too many streams</h1>")
        else:
            route.abort()

    seen = window()
    seen.page.route("**/stream", refuse)
    page = seen.open(f"/jobs/{place.world.submit()}")
    status(page, "Reconnecting")
    page.unroute("**/stream")
    status(page, "Live")
    assert page.locator("#state").count() == 1
    assert page.get_by_text("Too many streams").count() == 0
    told = ("503", "ERR_FAILED", "Failed to fetch")
    seen.faults = [fault for fault in seen.faults if not any(each in fault for each in told)]


def test_scripts_may_arrive_one_long_after_another(window: Opened, place: Place) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    seen = window()
    seen.page.route("**/hx-sse.min.js", hold)
    seen.page.goto(f"{seen.url}/jobs/{place.world.submit()}", wait_until="commit")
    seen.page.wait_for_function("() => window.htmx")
    seen.page.evaluate("() => new Promise((done) => setTimeout(done, 50))")
    held[0].continue_()
    status(seen.page, "Live")


def test_a_tab_behind_others_takes_no_connection_until_it_is_seen(window: Opened, place: Place) -> None:
    seen = window()
    asked: list[str] = []
    seen.page.on("request", lambda request: asked.append(request.url))
    seen.page.add_init_script(HIDDEN)
    page = seen.open(f"/jobs/{place.world.submit()}")
    page.wait_for_load_state("load")
    page.evaluate("() => new Promise((done) => setTimeout(done))")
    assert not [url for url in asked if url.endswith("/stream")]
    page.evaluate(SHOWN)
    status(page, "Live")


def test_a_page_outlives_the_service(window: Opened, place: Place) -> None:
    """It ends under an open page and is started again: what happened meanwhile is shown, and nothing is reloaded."""
    settings, job_id = place.app.state.services.settings, place.world.submit()
    seen, asked = window(), []
    seen.page.on("request", lambda request: asked.append(request.headers.get("last-event-id")))
    with served(settings) as (port, _):
        seen.url = f"http://127.0.0.1:{port}"
        page = seen.open(f"/jobs/{job_id}")
        status(page, "Live")
        place.world.jobs.change(job_id, priority=60)
        page.locator("#state", has_text="priority 60").wait_for()
        page.evaluate("window.stayed = true")
    status(page, "Reconnecting, as of")
    assert page.locator("#live.stale").count() == 1
    place.world.jobs.change(job_id, priority=61)
    asked.clear()
    with served(settings, port):
        page.locator("#state", has_text="priority 61").wait_for()
        status(page, "Live")
        assert asked[-1], "it says how far it was"
        place.world.jobs.change(job_id, priority=62)
        page.locator("#state", has_text="priority 62").wait_for()
        assert page.evaluate("window.stayed")
        page.goto("about:blank")
    seen.faults = [fault for fault in seen.faults if "ERR_" not in fault and "sse:error" not in fault]


def test_a_log_that_is_not_followed_stands_still(window: Opened, place: Place) -> None:
    lease = place.world.running(chunks=1)
    page = window().open(f"/jobs/{lease.id}")
    status(page, "Live")
    page.get_by_label("Follow").uncheck()
    place.world.coordination.add_log(lease.id, "a line that comes meanwhile\n")
    place.world.jobs.change(lease.id, priority=61)
    page.locator("#state", has_text="priority 61").wait_for()
    assert page.locator("#log-lines", has_text="meanwhile").count() == 0
    page.get_by_label("Follow").check()
    page.locator("#log-lines", has_text="meanwhile").wait_for()


def test_more_windows_than_a_browser_has_connections_take_turns(window: Opened, place: Place) -> None:
    job_id = place.world.submit()
    seen = window()
    pages = [seen.page, *(seen.page.context.new_page() for _ in range(7))]
    for page in pages:
        page.set_default_timeout(BOUND_MILLISECONDS)
        page.goto(f"{place.url}/jobs/{job_id}", wait_until="domcontentloaded")
    until(lambda: "Every 5 s, as of" in [_told(page) for page in pages], seconds=60)
    place.world.jobs.change(job_id, priority=61)
    for page in pages:
        page.locator("#state", has_text="priority 61").wait_for()
    for page in pages[:4]:
        page.goto(f"{place.url}/sign-in")
    for page in pages[4:]:
        status(page, "Live")


def _told(page: Page) -> str:
    return page.locator("#live [role=status]").inner_text()
