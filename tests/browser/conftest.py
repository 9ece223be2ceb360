"""A real browser, and pages in it that notice what a person would: failed scripts, blocked content, foreign requests.

It needs Debian's Chromium: `make test` installs it where it may, and says what to do where it may not.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.hub import DemoHub, demo_hub

#: Where screenshots are kept (see docs/testing.md); not in git.
SHOTS = Path(__file__).parent / "screenshots"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoHub]:
    with demo_hub(tmp_path_factory.mktemp("demo")) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Ended with the file: as long as it is there, asyncio takes the loop of playwright for one that runs in this
    thread, and lets nobody else run another one, such as the proxy of tests/faults."""
    path = os.environ.get("TAXII_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.fail(
            "no chromium: 'apt-get install chromium', or set TAXII_TEST_CHROMIUM to the path of a Chromium; "
            "to leave these tests out: make test PYTEST_ARGS='--ignore tests/browser'",
            pytrace=False,
        )
    with sync_playwright() as playwright:
        # As root, Chromium cannot build its sandbox.
        arguments = ["--no-sandbox"] if os.getuid() == 0 else []
        made = playwright.chromium.launch(executable_path=path, args=arguments)
        yield made
        made.close()


class Person:
    """Somebody with one browser window at the hub."""

    def __init__(self, demo: DemoHub, context: BrowserContext) -> None:
        self.demo, self.context = demo, context
        self.page: Page = context.new_page()
        #: what the browser complained about, and whom it asked besides the hub
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append("a dialog"), dialog.dismiss()))
        self.page.on("request", self._note)

    def _note(self, request: Any) -> None:
        if not request.url.startswith(self.demo.url):
            self.complaints.append(request.url)

    def go(self, path: str) -> Page:
        self.page.goto(self.demo.url + path)
        return self.page

    def log_in(self, partner: str, secret: str | None = None) -> Page:
        page = self.go("/console/login")
        page.get_by_label("Partner, or user name").fill(partner)
        page.get_by_label("Token, or password").fill(secret or self.demo.tokens[partner])
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("heading", name="My collections").wait_for()
        return page

    def shoot(self, name: str, *, whole: bool = True) -> None:
        SHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=whole)


@pytest.fixture
def open_window(demo: DemoHub, browser: Browser) -> Iterator[Any]:
    """Opens windows, each with cookies of its own, for this test alone."""
    contexts: list[BrowserContext] = []

    def make(width: int = 1280, scheme: Any = "light", **more: Any) -> Person:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, **more)
        contexts.append(context)
        context.set_default_timeout(30_000)
        return Person(demo, context)

    yield make
    for context in contexts:
        context.close()
