"""One service and one browser for all tests here; each test has a window of its own, which is watched."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, Request, sync_playwright

from app.db.session import make_sessions
from app.main import create_app
from app.settings import Settings
from tests.api.fakes import FakeSubmissions, FakeTasks
from tests.servers import Postgres
from tests.waiting import until
from tests.world import World, make_world

CHROMIUM = shutil.which("chromium")
AXE = (Path(__file__).parent / "axe-core-4.14.1/axe.min.js").read_text()
BOUND_MILLISECONDS = 90_000
"""Of every wait: a machine that does much else beside is slow."""
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
VIOLATIONS = (
    "async () => (await axe.run()).violations.map((each) => [each.id, each.nodes.map((node) => node.html)])"
)


@dataclass
class Place:
    """A service with a browser's way to it."""

    url: str
    app: FastAPI
    world: World


@dataclass
class Window:
    """A page of a browser, and all that went wrong in it."""

    page: Page
    url: str
    faults: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """Look at a page of the service."""
        self.page.goto(f"{self.url}{path}", wait_until="domcontentloaded")
        return self.page

    def violations(self) -> Any:
        """What axe finds."""
        self.page.evaluate(AXE)
        return self.page.evaluate(VIOLATIONS)

    def watch(self) -> None:
        """Note errors of scripts and of the policy, and requests that leave the service."""
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", self._asked)

    def _said(self, message: Any) -> None:
        if message.type == "error":
            self.faults.append(message.text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(f"{self.url}/"):
            self.faults.append(f"a request left: {request.url}")


@contextmanager
def served(settings: Settings, port: int = 0) -> Iterator[tuple[int, FastAPI]]:
    """A process of the API, as far as a browser can tell, and where it listens."""
    app = create_app(settings)
    app.state.services = replace(app.state.services, submissions=FakeSubmissions(), tasks=FakeTasks())
    server = uvicorn.Server(uvicorn.Config(app, port=port, ws="none", log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1], app
    finally:
        app.state.services.wakeups.close()
        server.should_exit = True
        thread.join(timeout=20)


@pytest.fixture(scope="module")
def place(postgres: Postgres, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with postgres.database() as database_url:
        data = tmp_path_factory.mktemp("browser")
        settings = Settings(database_url=database_url, redis_url=redis_url, data_dir=data)
        sessions = make_sessions(settings)
        with served(settings) as (port, app):
            yield Place(f"http://127.0.0.1:{port}", app, make_world(sessions, settings))
        sessions.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Of one module: while Playwright runs, asyncio takes this thread for one whose loop is running."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium: pages are not looked at in a browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def window(chromium: Browser, place: Place) -> Iterator[Callable[..., Window]]:
    """Windows of people who know nothing of each other; nothing may go wrong in any."""
    contexts, windows = [], []

    def opened(**options: Any) -> Window:
        contexts.append(chromium.new_context(**{"viewport": WIDE, **options}))
        window = Window(contexts[-1].new_page(), place.url)
        window.page.set_default_timeout(BOUND_MILLISECONDS)
        window.watch()
        windows.append(window)
        return window

    yield opened
    for context in contexts:
        context.close()
    assert [fault for each in windows for fault in each.faults] == []
