"""Report building blocks: text that cannot break out, in HTML and in Markdown."""

import json
import re

import numpy as np
import pytest
from matplotlib.figure import Figure as Drawing

from pneumoscope.evaluation.report.build import report_files
from pneumoscope.evaluation.report.document import (
    Figure,
    Gallery,
    Picture,
    Report,
    Section,
    Table,
    Text,
    verbatim,
)
from pneumoscope.evaluation.report.html import to_html, to_svgs
from pneumoscope.evaluation.report.markdown import to_markdown
from pneumoscope.labels import DISCLAIMER

NASTY = "<img src=x onerror=alert(1)>&\"'`*_|\n\u202e.jpeg"


def draw():
    drawing = Drawing(figsize=(3, 2))
    drawing.subplots().plot([0, 1 / 3], [0, 2 / 3])
    return drawing


@pytest.fixture(scope="module")
def report():
    blocks = (
        Text("Plain **text**."),
        Text(f"Named {verbatim(NASTY)}.", level="warning"),
        Table("A table.", ("File", "Number"), ((verbatim(NASTY), "1"), ("b", "2 | 3"))),
        Figure("first", "Caption.", f"Alt text {NASTY}", draw()),
        Figure("second", "Caption.", "Alt text.", draw()),
        Gallery("Films.", (Picture(verbatim(NASTY), "A film", b"\xff\xd8 one"),)),
        Gallery("More films.", (Picture("b", "A film", b"\xff\xd8 two"),)),
    )
    section = Section("part", "A part", blocks, {"value": 0.5, "none": None})
    return Report("A report", False, (section,))


@pytest.fixture(scope="module")
def html(report):
    return to_html(report, to_svgs(report))


def test_html_shows_names_and_never_obeys_them(html):
    assert "<img src=x" not in html
    assert html.count("&lt;img src=x onerror=alert(1)&gt;") == 4
    assert "\u202e" not in html.replace("Alt text", "").split("<figure")[0]
    assert "<script" not in html


def test_html_loads_nothing(html):
    assert "default-src 'none'" in html
    for reference in re.findall(r"""(?:src|href)=["']([^"']*)""", html):
        assert reference.startswith(("data:", "#")), reference
    assert html.count("data:image/svg+xml;base64,") == 2
    assert html.count("data:image/jpeg;base64,") == 2


def test_html_has_the_disclaimer_and_the_contents(html):
    assert html.count(DISCLAIMER) == 2
    assert '<a href="#part">A part</a>' in html
    assert "PHANTOM" not in html


def test_figures_in_a_row_stand_side_by_side(html):
    assert html.count('<div class="figures">') == 1


def test_a_phantom_report_says_so(report):
    phantom = Report("PHANTOM: a report", True, report.sections)
    assert "films drawn by a program were used" in to_html(phantom, to_svgs(phantom))


def test_markdown_keeps_tables_whole(report):
    markdown = to_markdown(report)
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) == 3
    assert DISCLAIMER in markdown
    assert "> **Warning.** Named" in markdown
    assert "![Alt text.](figures/second.svg)" in markdown
    assert "(gallery/1.jpg)" in markdown
    assert "(gallery/2.jpg)" in markdown


def test_files_are_what_the_documents_refer_to(report):
    files = report_files(report)
    assert set(files) == {
        "report.html", "report.md", "report.json", "figures/first.svg", "figures/second.svg",
        "gallery/1.jpg", "gallery/2.jpg",
    }  # fmt: skip
    assert files["gallery/1.jpg"] == b"\xff\xd8 one"
    found = json.loads(files["report.json"])
    assert found["sections"]["part"] == {"title": "A part", "data": {"value": 0.5, "none": None}}
    assert found["disclaimer"] == DISCLAIMER


def test_drawings_are_shortened_but_letters_keep_their_size(report):
    svg = to_svgs(report)["first"].decode()
    scales = re.findall(r"scale\(([^)]*)\)", svg)
    assert scales
    assert all(scale == "0.015625 -0.015625" or float(scale.split()[0]) > 0.01 for scale in scales)
    assert "0.015625" in svg
    coordinates = re.sub(r"scale\([^)]*\)", "", svg)
    paths = re.findall(r' d="([^"]*)"', coordinates)
    assert paths
    assert not re.search(r"\d\.\d{3}", " ".join(paths))


def test_the_same_drawing_gives_the_same_bytes(report):
    one, other = (to_svgs(Report("r", False, (Section("s", "S", (f,)),))) for f in (
        Figure("f", "c", "a", draw()), Figure("f", "c", "a", draw())))  # fmt: skip
    assert one == other


def test_json_holds_no_nan(report):
    broken = Report("r", False, (Section("s", "S", (), {"value": float(np.nan)}),))
    with pytest.raises(ValueError, match="not JSON compliant"):
        report_files(broken)


def test_a_table_whose_rows_do_not_fit_is_a_bug():
    with pytest.raises(AssertionError):
        Table("T", ("a", "b"), (("1",),))
