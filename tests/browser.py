"""Pages in Debian's headless Chromium, as a desktop and as a phone see them.

A test takes the fixture `open_page` (tests/conftest.py); one browser serves the whole run:

    def test_the_page(open_page, tmp_path):
        page = open_page(tmp_path / "report.html", PHONE)
        assert page.errors == [] and page.too_wide() == []
        page.click("#more")
        assert page.text("h1") == "Blessed"

Playwright drives it, in a thread of its own: its event loop would stand in the way of other tests'
loops. Nothing but this machine is reached from a page; each try to is an error of the page.
"""

import base64
import mimetypes
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from playwright.sync_api import Browser as PlaywrightBrowser
from playwright.sync_api import Page as PlaywrightPage
from playwright.sync_api import Playwright, Route, sync_playwright

Result = TypeVar("Result")

FLAGS = (
    "--no-sandbox",  # CI and containers run as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TIMEOUT_MS = 30_000
_LOCAL_HOSTS = {"127.0.0.1", "localhost", "[::1]"}

# The elements that reach out of the page's width, without those in a box that scrolls or cuts.
_TOO_WIDE = """(width) => {
  const cut = (e) => { for (let p = e.parentElement; p && p !== document.body; p = p.parentElement)
    if (getComputedStyle(p).overflowX !== "visible") return true; return false; };
  const found = [...document.body.querySelectorAll("*")].filter((e) => {
    const box = e.getBoundingClientRect();
    return box.width > 0 && (box.right > width + 0.5 || box.left < -0.5) && !cut(e); });
  if (document.documentElement.scrollWidth > width && !found.length)
    found.push(document.documentElement);
  return found.map((e) => e.outerHTML.slice(0, 120)); }"""

_OUT_OF_VIEW = """(elements) => elements.filter((e) => {
  const box = e.getBoundingClientRect();
  if (box.width === 0) return false;  // Hidden.
  if (box.left < -0.5 || box.right > document.documentElement.clientWidth + 0.5) return true;
  for (let p = e.parentElement; p; p = p.parentElement) {
    const outer = p.getBoundingClientRect();
    if (getComputedStyle(p).overflowX !== "visible" &&
        (box.right > outer.right + 0.5 || box.left < outer.left - 0.5)) return true; }
  return false; }).map((e) => e.innerText)"""

# A drop as a hand does it: the events that a browser sends, with the files in their transfer.
_DROP = """([selector, files]) => {
  const transfer = new DataTransfer();
  for (const [name, type, base64] of files) {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type })); }
  const target = document.querySelector(selector);
  for (const kind of ["dragenter", "dragover", "drop"])
    target.dispatchEvent(new DragEvent(kind,
      { dataTransfer: transfer, bubbles: true, cancelable: true })); }"""


@dataclass(frozen=True)
class Screen:
    """What a page is seen on.

    Attributes:
        width: of the viewport, CSS pixels.
        height: of it.
        is_phone: touch, two device pixels to a CSS pixel, and the page's viewport line counts.
    """

    width: int
    height: int
    is_phone: bool = False


DESKTOP = Screen(1280, 800)
PHONE = Screen(390, 844, is_phone=True)


def find_chromium() -> str | None:
    """Returns the path of the system's Chromium or Chrome, or None."""
    given = os.environ.get("TFX_RCNN_CHROMIUM")
    if given:
        return given
    names = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


class Page:
    """An open page; all methods wait for what they ask for, 30 s at most.

    Attributes:
        errors: so far: console errors, uncaught exceptions, requests that failed or left this
            machine.
    """

    def __init__(self, browser: "Browser", page: PlaywrightPage, screen: Screen) -> None:
        self._browser = browser
        self._page = page
        self._screen = screen
        self.errors: list[str] = []
        page.set_default_timeout(TIMEOUT_MS)
        page.on(
            "console", lambda said: self.errors.append(said.text) if said.type == "error" else None
        )
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on(
            "requestfailed",
            lambda request: self.errors.append(f"failed: {request.url[:120]}: {request.failure}"),
        )
        page.route("**/*", self._keep_local)

    def _keep_local(self, route: Route) -> None:
        address = urlsplit(route.request.url)
        if address.scheme in {"file", "data", "blob"} or address.hostname in _LOCAL_HOSTS:
            route.continue_()
        else:
            self.errors.append(f"left this machine: {route.request.url[:120]}")
            route.abort()

    def do(self, act: Callable[[PlaywrightPage], Result]) -> Result:
        """Returns what a function of Playwright's page returns: for all that is not below."""
        return self._browser.call(lambda: act(self._page))

    def run(self, script: str, argument: Any = None) -> Any:
        """Returns what a JavaScript expression or function gives."""
        return self.do(lambda page: page.evaluate(script, argument))

    def text(self, selector: str) -> str:
        """Returns the text that is seen of the one element that a CSS selector finds."""
        return self.do(lambda page: page.locator(selector).inner_text())

    def texts(self, selector: str) -> list[str]:
        """Returns the text of each element that a selector finds now."""
        return self.do(lambda page: page.locator(selector).all_inner_texts())

    def attribute(self, selector: str, name: str) -> str | None:
        """Returns an attribute of the one element, or None where it has none of that name."""
        return self.do(lambda page: page.locator(selector).get_attribute(name))

    def count(self, selector: str) -> int:
        """Returns how many elements a selector finds now."""
        return self.do(lambda page: page.locator(selector).count())

    def is_seen(self, selector: str) -> bool:
        """Returns whether the first such element is there and not hidden."""
        return self.do(lambda page: page.locator(selector).first.is_visible())

    def out_of_view(self, selector: str) -> list[str]:
        """Returns the text of those shown elements that one has to scroll aside for."""
        found: list[str] = self.do(lambda page: page.locator(selector).evaluate_all(_OUT_OF_VIEW))
        return found

    def too_wide(self) -> list[str]:
        """Returns the start of each element that makes the page scroll sideways."""
        found: list[str] = self.run(_TOO_WIDE, self._screen.width)
        return found

    def wait_for(self, selector: str) -> None:
        """Waits until an element is seen."""
        self.do(lambda page: page.locator(selector).first.wait_for())

    def click(self, selector: str) -> None:
        """Clicks, or taps, the one element."""
        self.do(lambda page: page.locator(selector).click())

    def fill(self, selector: str, text: str) -> None:
        """Puts a text into a field, or a value into a slider."""
        self.do(lambda page: page.locator(selector).fill(text))

    def press(self, keys: str) -> None:
        """Presses keys where the focus is: "Tab", "Enter", "Control+A"."""
        self.do(lambda page: page.keyboard.press(keys))

    def drop(self, selector: str, *files: Path) -> None:
        """Drops files onto an element."""
        dropped = [
            [
                file.name,
                mimetypes.guess_type(file.name)[0] or "",
                base64.b64encode(file.read_bytes()).decode(),
            ]
            for file in files
        ]
        self.wait_for(selector)
        self.run(_DROP, [selector, dropped])

    def choose(self, selector: str, *files: Path) -> None:
        """Chooses files in a file field."""
        self.do(lambda page: page.locator(selector).set_input_files(list(files)))

    def screenshot(self, path: Path) -> None:
        """Writes the whole page, as long as it is, as a PNG."""
        self.do(lambda page: page.screenshot(path=path, full_page=True))

    def close(self) -> None:
        """Closes it, and its cookies and storage with it."""
        self._browser.call(self._page.context.close)


class Browser:
    """One headless browser and the thread that talks to it.

    Args:
        executable: the path of Chromium.
    """

    def __init__(self, executable: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="browser")
        self._playwright: Playwright
        self._browser: PlaywrightBrowser
        self.call(lambda: self._start(executable))

    def _start(self, executable: str) -> None:
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(
            executable_path=executable, headless=True, args=list(FLAGS), timeout=4 * TIMEOUT_MS
        )

    def call(self, act: Callable[[], Result]) -> Result:
        """Returns what a function returns that may talk to the browser."""
        return self._thread.submit(act).result()

    def open(self, address: str | Path, screen: Screen = DESKTOP, *, is_dark: bool = False) -> Page:
        """Opens a page and waits until it and its pictures are loaded.

        Args:
            address: a file's path, or http://127.0.0.1:...
            screen: DESKTOP or PHONE.
            is_dark: whether the user prefers dark pages.
        """
        url = address.resolve().as_uri() if isinstance(address, Path) else address

        def new_page() -> Page:
            context = self._browser.new_context(
                viewport={"width": screen.width, "height": screen.height},
                device_scale_factor=2 if screen.is_phone else 1,
                is_mobile=screen.is_phone,
                has_touch=screen.is_phone,
                color_scheme="dark" if is_dark else "light",
            )
            page = Page(self, context.new_page(), screen)
            page._page.goto(url, wait_until="load")
            return page

        return self.call(new_page)

    def close(self) -> None:
        """Ends the browser."""
        self.call(self._browser.close)
        self.call(self._playwright.stop)
        self._thread.shutdown()
