"""The page in a real browser, at desktop and phone width: it asks for nothing, says no error, and fits."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from made_profiles import made, save
from reports import page, profile_page
from synthetic_run import make_run

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}

pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None, reason="needs chromium and chromedriver (Debian: chromium, chromium-driver)"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file address of a complete run's page."""
    folder = make_run(tmp_path_factory.mktemp("browser") / "run")
    return page.write(folder, figures=False).resolve().as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Headless Chromium that writes down every request and every console line."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    os.environ["SE_OFFLINE"] = "true"  # Selenium looks for no newer driver.
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    yield driver
    driver.quit()


def opened(browser: webdriver.Chrome, address: str, width: str) -> None:
    """Show the page as a screen of that width does."""
    pixels, height = WIDTHS[width]
    screen = {"width": pixels, "height": height, "deviceScaleFactor": 1, "mobile": width == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get(address)


def logged(browser: webdriver.Chrome, kind: str) -> list[dict[str, Any]]:
    """The browser's log of that kind since the last call."""
    lines: list[dict[str, Any]] = browser.get_log(kind)  # type: ignore[no-untyped-call]
    return lines


def requested(browser: webdriver.Chrome, address: str, width: str) -> list[str]:
    """What opening a page asks for, data in the page itself left out."""
    logged(browser, "performance")
    opened(browser, address, width)
    events = [json.loads(entry["message"])["message"] for entry in logged(browser, "performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return [url for url in asked if not url.startswith("data:")]


def measured(browser: webdriver.Chrome, script: str) -> Any:
    """The value of a JavaScript expression in the page."""
    return browser.execute_script(f"return {script}")


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_asks_for_nothing_and_says_no_error(browser: webdriver.Chrome, address: str, width: str) -> None:
    assert requested(browser, address, width) == [address]
    assert logged(browser, "browser") == []


@pytest.mark.parametrize("width", WIDTHS)
def test_only_tables_scroll_sideways(browser: webdriver.Chrome, address: str, width: str) -> None:
    opened(browser, address, width)
    assert measured(browser, "document.documentElement.scrollWidth") <= WIDTHS[width][0]
    outside = measured(
        browser,
        "[...document.querySelectorAll('h1, h2, h3, p, li, figure, svg[role=img], nav a')]"
        ".filter(e => e.getClientRects().length && !e.closest('.scroll'))"
        ".filter(e => e.getBoundingClientRect().right > window.innerWidth + 1).map(e => e.outerHTML.slice(0, 90))",
    )
    assert outside == []


def test_the_verdict_is_seen_without_scrolling(browser: webdriver.Chrome, address: str) -> None:
    opened(browser, address, "desktop")
    assert browser.find_element(By.CSS_SELECTOR, "table").rect["y"] < WIDTHS["desktop"][1]


def test_the_whole_verdict_table_fits_a_desktop(browser: webdriver.Chrome, address: str) -> None:
    opened(browser, address, "desktop")
    region = "document.querySelector('.scroll')"
    assert measured(browser, f"{region}.scrollWidth <= {region}.clientWidth")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_sweep_fits_too(browser: webdriver.Chrome, tmp_path: Path, width: str) -> None:
    folder = make_run(tmp_path / "run", train_sizes=(100, 300, 1000, None))
    opened(browser, page.write(folder, figures=False).resolve().as_uri(), width)
    assert measured(browser, "document.documentElement.scrollWidth") <= WIDTHS[width][0]
    if width == "desktop":
        for region in ("document.querySelector('.scroll')", "document.querySelector('#sweep-1 .scroll')"):
            assert measured(browser, f"{region}.scrollWidth <= {region}.clientWidth")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_profile_page_fits_and_asks_for_nothing(browser: webdriver.Chrome, tmp_path: Path, width: str) -> None:
    folder = save(tmp_path, *(made(name) for name in ("full", "bitfit", "lora:8")))
    address = profile_page.write(folder).resolve().as_uri()
    assert requested(browser, address, width) == [address]
    assert logged(browser, "browser") == []
    assert measured(browser, "document.documentElement.scrollWidth") <= WIDTHS[width][0]
    if width == "desktop":
        fits = "[...document.querySelectorAll('.scroll')].every(e => e.scrollWidth <= e.clientWidth)"
        assert measured(browser, fits)


@pytest.mark.parametrize("width", WIDTHS)
def test_text_is_large_enough_to_read(browser: webdriver.Chrome, address: str, width: str) -> None:
    opened(browser, address, width)
    small = measured(
        browser,
        "[...document.querySelectorAll('td, th, p, li')]"
        ".map(e => parseFloat(getComputedStyle(e).fontSize)).filter(size => size < 12).length",
    )
    assert small == 0


@pytest.mark.parametrize("width", WIDTHS)
def test_every_link_leads_to_its_section(browser: webdriver.Chrome, address: str, width: str) -> None:
    opened(browser, address, width)
    names = [link.get_dom_attribute("href") for link in browser.find_elements(By.CSS_SELECTOR, "nav a")]
    assert len(names) >= 8
    for name in names:
        opened(browser, address, width)
        browser.find_element(By.CSS_SELECTOR, f'nav a[href="{name}"]').click()
        assert measured(browser, f"document.querySelector('{name}').getBoundingClientRect().top < window.innerHeight")


def test_dark_mode_changes_the_page(browser: webdriver.Chrome, address: str) -> None:
    colours = set()
    for scheme in ("light", "dark"):
        features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
        opened(browser, address, "desktop")
        colours.add(measured(browser, "getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2
