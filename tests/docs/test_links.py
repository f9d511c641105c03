"""Every relative link of the pages leads to a file, and every anchor to a heading."""

import re
from pathlib import Path

import pytest
from pages import PAGES, ROOT

PAGES_AND_CHANGES = [*PAGES, ROOT / "CHANGELOG.md"]


def prose(path: Path) -> str:
    """The page without its code, in which brackets are no links."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.sub(r"``.*?``|(?<!\])`(?!\]\()[^`\n]*`(?!\])", "", text)


def links(path: Path) -> list[str]:
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(path))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(path: Path) -> set[str]:
    """What headings are called in an address, as GitHub does it."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ +(.+?) *$", text, re.M)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("path", PAGES_AND_CHANGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    for target in links(path):
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), f"{target}: no such file"
        assert found.is_relative_to(ROOT), f"{target} leaves the repository"
        if anchor:
            assert anchor in anchors(found), f"{target}: no such heading"


def test_links_are_found():
    assert "docs/accuracy.md" in links(ROOT / "README.md")
    assert "../README.md#results" in links(ROOT / "docs" / "accuracy.md")
    assert sum(len(links(path)) for path in PAGES) > 80


def test_every_page_is_reached_from_the_readme():
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        path = todo.pop()
        if path in reached or path.suffix != ".md":
            continue
        reached.add(path)
        files = [(path.parent / link.partition("#")[0]).resolve() for link in links(path)]
        todo += [file for file in files if file.is_file()]
        todo += [page for folder in files if folder.is_dir() for page in folder.glob("*.md")]
    assert set(PAGES) <= reached, set(PAGES) - reached
