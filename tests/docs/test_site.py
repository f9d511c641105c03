"""The site builds without a warning, has every page, and loads nothing from elsewhere."""

import re
import subprocess
import sys

import pytest
from pages import PAGES, ROOT
from site_hooks import on_page_markdown


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    answer = subprocess.run(
        [sys.executable, "-m", "properdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return folder


def test_every_page_is_there_and_in_the_menu(site):
    # A page is not linked from itself, so the menus of two are read.
    menu = "".join(
        (site / name).read_text(encoding="utf-8") for name in ("index.html", "data.html")
    )
    for page in PAGES:
        if page.is_relative_to(ROOT / "docs"):
            html = page.relative_to(ROOT / "docs").with_suffix(".html")
            assert (site / html).is_file()
            assert f'href="{html.as_posix()}"' in menu, html


def test_readme_quickstart_and_menu_have_one_order():
    menu = re.findall(r": (\S+\.md)$", (ROOT / "properdocs.yml").read_text("utf-8"), re.M)
    readme = (ROOT / "README.md").read_text("utf-8").split("## Read on")[1].split("\n## ")[0]
    assert re.findall(r"\(docs/(\S+?\.md)\)", readme) == menu
    quickstart = (ROOT / "docs" / "index.md").read_text("utf-8").split("## Where to read on")[1]
    assert ["index.md", *re.findall(r"\((\S+?\.md)\)", quickstart)] == menu


def test_it_loads_nothing_from_elsewhere(site):
    for path in site.rglob("*.html"):
        tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", path.read_text(encoding="utf-8"))
        for tag in tags:
            assert not re.search(r"(src|href)=\"(https?:)?//", tag) or 'rel="canonical"' in tag, tag


def test_no_script_of_ours_is_in_it(site):
    assert list(site.rglob("*.py")) == []


class File:
    def __init__(self, src_uri: str) -> None:
        self.src_uri = src_uri


class Page:
    def __init__(self, src_uri: str) -> None:
        self.file = File(src_uri)


@pytest.mark.parametrize(
    ("page", "text", "shown"),
    [
        ("data.md", "[a](../README.md#b)", "a"),
        ("data.md", "[a](models.md)", "[a](models.md)"),
        ("decisions/1.md", "[a](../data.md)", "[a](../data.md)"),
        ("decisions/1.md", "[`a`](../../src/a.py)", "`a`"),
    ],
)
def test_links_out_of_the_folder_become_text(page, text, shown):
    assert on_page_markdown(text, page=Page(page), config={"repo_url": None}) == shown


@pytest.mark.parametrize(
    ("page", "text", "shown"),
    [
        ("data.md", "[a](../README.md#b)", "[a](https://git.example/p/blob/main/README.md#b)"),
        ("data.md", "[a](models.md)", "[a](models.md)"),
        (
            "decisions/1.md",
            "[`a`](../../src/a.py)",
            "[`a`](https://git.example/p/blob/main/src/a.py)",
        ),
    ],
)
def test_where_the_repository_has_an_address_they_lead_there(page, text, shown):
    config = {"repo_url": "https://git.example/p/"}
    assert on_page_markdown(text, page=Page(page), config=config) == shown
