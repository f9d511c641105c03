"""A report as one HTML file: no script, no network, legible from a telephone to a print-out.

Its content security policy forbids to load anything, so what is not in the file is not shown.
"""

import base64
import re
from collections.abc import Sequence
from functools import cache
from itertools import groupby

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from pneumoscope.evaluation.figure_style import to_svg
from pneumoscope.evaluation.report.document import Block, Report
from pneumoscope.labels import DISCLAIMER


def to_html(report: Report, svgs: dict[str, bytes]) -> str:
    """Returns the report as HTML with every figure and picture in it.

    Args:
        report: what to show.
        svgs: the figures as SVG, by name.
    """
    template = _environment().get_template("report.html.j2")
    return template.render(report=report, svgs=svgs, disclaimer=DISCLAIMER)


def to_svgs(report: Report) -> dict[str, bytes]:
    """Returns the figures of a report as SVG, by name."""
    figures = report.figures()
    assert len({figure.name for figure in figures}) == len(figures), "two figures with one name"
    return {figure.name: _tight(to_svg(figure.drawing)) for figure in figures}


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pneumoscope.evaluation.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = _inline
    environment.filters["data_uri"] = _data_uri
    environment.filters["runs"] = _runs
    return environment


def _runs(blocks: Sequence[Block]) -> list[tuple[str, list[Block]]]:
    """Returns neighbours of one kind together: figures in a row stand side by side."""
    return [(kind, list(run)) for kind, run in groupby(blocks, lambda b: type(b).__name__)]


def _inline(markdown: str) -> Markup:
    """Returns one line of Markdown as HTML; HTML in it is shown and not obeyed."""
    # markdown-it escapes what is no Markdown, so this is safe as long as html stays off.
    return Markup(_markdown().renderInline(markdown))


@cache
def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False})


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _tight(svg: bytes) -> bytes:
    """Returns a drawing of matplotlib with coordinates to a hundredth of a point: half the size.

    Scales stay as they are: letters are drawn at 1/64 of their outline's size.
    """
    return re.sub(rb"scale\([^)]*\)|(\d\.\d\d)\d+", lambda found: found[1] or found[0], svg)
