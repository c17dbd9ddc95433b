"""A real browser for tests of pages: headless Chromium, its console collected.

Where Chromium or chromedriver is missing, tests that ask for ``browser`` are skipped, with that
reason. One Chromium serves all tests of a session; each begins on an empty page of the usual size.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webdriver import WebDriver

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
WIDE, NARROW = (1400, 900), (420, 900)  # a desk, a telephone
PATIENCE = 60.0  # seconds: machines that run tests are busy
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
    *("--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--force-color-profile=srgb"),
)
# Text as people see it, that of shadow roots (in which Bokeh draws) included.
TEXT = """
const parts = [];
const walk = node => {
  if (node.nodeType === Node.TEXT_NODE) parts.push(node.textContent);
  if (["STYLE", "SCRIPT", "TEMPLATE"].includes(node.nodeName)) return;
  if (node.shadowRoot) node.shadowRoot.childNodes.forEach(walk);
  node.childNodes.forEach(walk);
};
walk(document.body);
return parts.join(" ").replace(/\\s+/g, " ").trim();
"""
# Elements that a selector finds, in shadow roots too.
FOUND = """
const found = [];
const walk = root => {
  found.push(...root.querySelectorAll(arguments[0]));
  root.querySelectorAll("*").forEach(one => { if (one.shadowRoot) walk(one.shadowRoot); });
};
walk(document);
return found;
"""


class Browser:
    """What tests do with a browser.

    Parameters
    ----------
    driver : WebDriver
    folder : Path
        Where screenshots go.
    """

    def __init__(self, driver: WebDriver, folder: Path) -> None:
        self.driver, self.folder = driver, folder
        self.logged: list[dict[str, Any]] = []

    def open(self, address: str | Path) -> None:
        """Go to an address, or to a file."""
        url = address.resolve().as_uri() if isinstance(address, Path) else address
        self.driver.get(url)

    def resize(self, size: tuple[int, int]) -> None:
        """Make the page so many pixels wide and high."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, scheme: str = "", media: str = "") -> None:
        """Ask for ``dark`` or ``light`` colors, or for the page as in ``print``."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._devtools("Emulation.setEmulatedMedia", {"media": media, "features": features})

    def ask(self, script: str, *args: Any) -> Any:
        """Run JavaScript in the page and return what it returns."""
        return self.driver.execute_script(script, *args)

    def wait(self, script: str, *args: Any, patience: float = PATIENCE) -> Any:
        """Ask until the answer is true-ish, and return it."""
        deadline = time.monotonic() + patience
        while not (answer := self.ask(script, *args)):
            if time.monotonic() > deadline:
                seen = {"console": self.console(), "text": self.text()[:2000]}
                raise AssertionError(f"never true: {script}\n{json.dumps(seen, indent=1)}")
            time.sleep(0.1)
        return answer

    def text(self) -> str:
        """Return the text of the page, with single blanks."""
        return str(self.ask(TEXT))

    def wait_for(self, words: str, patience: float = PATIENCE) -> None:
        """Wait until the page says something."""
        script = f"return (() => {{{TEXT}}})().includes(arguments[0])"
        self.wait(script, words, patience=patience)

    def found(self, selector: str) -> list[Any]:
        """Return the elements that a CSS selector finds anywhere in the page."""
        return list(self.ask(FOUND, selector))

    def console(self) -> list[dict[str, Any]]:
        """Return all that was logged in the console since the test began."""
        self.logged += self.driver.get_log("browser")  # the driver tells each line once
        return self.logged

    def errors(self) -> list[str]:
        """Return what was logged as an error in the console, uncaught exceptions included."""
        told = [one["message"] for one in self.console() if one["level"] == "SEVERE"]
        return [re.sub(r"\?v=[0-9a-f]+", "", message) for message in told]

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        script = "const e = document.documentElement; return e.scrollWidth - e.clientWidth;"
        return int(self.ask(script))

    def screenshot(self, name: str, *, whole: bool = False) -> Path:
        """Write a picture of what is seen, or of the whole page, into the test's folder."""
        path = self.folder / f"{name}.png"
        before = None
        if whole:
            before = self.ask("return [innerWidth, innerHeight]")
            height = self.ask("return document.documentElement.scrollHeight")
            self.resize((before[0], max(height, before[1])))
            time.sleep(0.3)  # figures that follow the window are drawn again
        path.write_bytes(self.driver.get_screenshot_as_png())
        if before is not None:
            self.resize(tuple(before))
        return path

    def _devtools(self, command: str, arguments: dict[str, Any]) -> None:
        self.driver.execute_cdp_cmd(command, arguments)  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    """A headless Chromium, or the reason why there is none."""
    binary = next(filter(None, map(shutil.which, CHROMIUM)), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no Chromium, or no chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    started = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield started
    finally:
        started.quit()


@pytest.fixture
def browser(chromium: WebDriver, tmp_path: Path) -> Iterator[Browser]:
    """The browser on an empty page, with an empty console."""
    chromium.get("about:blank")
    chromium.get_log("browser")
    one = Browser(chromium, tmp_path)
    one.resize(WIDE)
    one.prefer("light")
    yield one
    chromium.get("about:blank")  # pages that go on asking stop
