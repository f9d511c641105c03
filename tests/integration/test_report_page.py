"""The report in a real browser: complete, quiet, from one file, and legible on a telephone."""

import os
import shutil

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra dev)")

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
SMALLEST_TEXT_PX = 8.0
FIGURE_TEXT_PT = 8  # the smallest that figures use for anything to be read

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Debian's chromium")


@pytest.fixture(scope="module", params=["compared", "evaluated"])
def report(request, program, phantoms, tmp_path_factory):
    """A report, moved away from everything it was written with.

    On the shipped bundles from their scores, and on one of them with films: altered, measured,
    from elsewhere, the worst of them shown.
    """
    folder = tmp_path_factory.mktemp("report")
    arguments = ["compare"]
    if request.param == "evaluated":
        arguments = ["evaluate", "cnn", "--data", phantoms / "test"]
    answer = program(*arguments, "--out", folder / "out")
    assert answer.returncode == 0, answer.stderr
    alone = folder / "alone"
    alone.mkdir()
    return shutil.move(folder / "out" / "report.html", alone / "report.html")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=BROWSER, args=options)
        yield browser
        browser.close()


@pytest.fixture(params=[1280, 390])
def page(request, browser, report):
    """The page at one width, with what the browser complained of and asked for."""
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    page.complaints, page.requested = [], []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.requested.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_load_state("networkidle")
    yield page
    page.close()


def test_the_browser_has_nothing_to_complain_of_and_asks_for_nothing(page, report):
    assert page.complaints == []
    loaded = [url for url in page.requested if not url.startswith("data:")]
    assert loaded == [report.as_uri()]


def test_every_figure_is_there_and_legible(page):
    figures = page.locator("figure img").evaluate_all(
        "all => all.map(i => [i.naturalWidth, i.getBoundingClientRect().width, i.alt])"
    )
    assert len(figures) >= 10
    for natural, shown, alt in figures:
        assert natural > 0, alt
        assert len(alt) > 20
        # The picture is so many CSS pixels wide by itself; at 96 a point is 4/3 of one.
        if alt.startswith("A "):  # a film in the gallery has no text
            continue
        text_px = FIGURE_TEXT_PT * 4 / 3 * shown / natural
        assert text_px >= SMALLEST_TEXT_PX, f"{alt}: text of {text_px:.1f} px"


def test_nothing_is_wider_than_the_screen(page):
    width, of_screen = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert width <= of_screen
    hidden = page.locator("main *").evaluate_all(
        """all => all.filter(e => !e.closest('.scroll') &&
               e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
             .map(e => e.outerHTML.slice(0, 80))"""
    )
    assert hidden == []


def test_every_entry_of_the_contents_leads_to_its_section(page):
    links = page.locator("nav a")
    targets = links.evaluate_all("all => all.map(a => a.getAttribute('href').slice(1))")
    assert {"summary", "results", "discrimination", "calibration", "paper-trail"} <= set(targets)
    for target in targets:
        assert page.locator(f"section[id='{target}'] h2").count() == 1
    references = page.locator("main a[href^='#']").evaluate_all(
        "all => all.map(a => a.getAttribute('href').slice(1))"
    )
    for target in set(references):
        assert page.locator(f"[id='{target}']").count() == 1, target
