"""The report as a whole: which sections there are, in which order, and how it is written."""

import json
from collections.abc import Sequence

from pneumoscope.evaluation.metrics import SetMetrics
from pneumoscope.evaluation.report.calibration import calibration_section
from pneumoscope.evaluation.report.decision_curve import decision_curve_section
from pneumoscope.evaluation.report.discrimination import discrimination_section
from pneumoscope.evaluation.report.document import Block, Gallery, Report, Section
from pneumoscope.evaluation.report.external import external_section
from pneumoscope.evaluation.report.headline import headline_section, summary_section
from pneumoscope.evaluation.report.html import to_html, to_svgs
from pneumoscope.evaluation.report.intended_use import intended_use_section
from pneumoscope.evaluation.report.leakage import leakage_section
from pneumoscope.evaluation.report.markdown import to_markdown
from pneumoscope.evaluation.report.operating_point import operating_point_section
from pneumoscope.evaluation.report.pairs import pairs_section
from pneumoscope.evaluation.report.paper_trail import paper_trail_section
from pneumoscope.evaluation.report.robustness import robustness_section
from pneumoscope.evaluation.report.subgroups import subgroups_section
from pneumoscope.evaluation.results import ModelResult
from pneumoscope.labels import DISCLAIMER

_SECTIONS = (
    discrimination_section,
    operating_point_section,
    calibration_section,
    decision_curve_section,
    subgroups_section,
    pairs_section,
    robustness_section,
    external_section,
    leakage_section,
    intended_use_section,
)


def build_report(
    results: Sequence[ModelResult],
    metrics: Sequence[dict[str, SetMetrics]],
    gallery: Sequence[Block] = (),
) -> Report:
    """Returns the report on models that were tested on one set.

    Args:
        results: models under distinct names (``prepare_results``).
        metrics: what ``bundle_metrics`` says of each.
        gallery: films to look at, added to the section on whom the models fail.
    """
    phantom = any(result.phantom for result in results)
    what = results[0].name if len(results) == 1 else f"{len(results)} models"
    sections = [summary_section(results), headline_section(results, metrics)]
    for build in _SECTIONS:
        section = build(results)
        if section and section.id == "subgroups":
            blocks = (*section.blocks, *gallery)
            section = Section(section.id, section.title, blocks, section.data)
        if section:
            sections.append(section)
    sections.append(paper_trail_section(results, _answered(results, sections, gallery)))
    title = f"{'PHANTOM: ' if phantom else ''}Evaluation of {what}"
    return Report(title, phantom, tuple(sections))


def _answered(
    results: Sequence[ModelResult], sections: Sequence[Section], gallery: Sequence[Block]
) -> set[str]:
    """Returns the sections that say something, and what else an item of a guideline may need."""
    answered = {section.id for section in sections}
    if all(result.shift_table is None for result in results):
        answered.discard("robustness")
    has = {
        "manifest": all(result.manifest for result in results),
        "gallery": bool(gallery),
        "external films": all(result.external for result in results),
    }
    return answered | {name for name, there in has.items() if there}


def report_files(report: Report) -> dict[str, bytes]:
    """Returns the files of a report by their path inside its folder."""
    svgs = to_svgs(report)
    pictures = [
        picture
        for section in report.sections
        for block in section.blocks
        if isinstance(block, Gallery)
        for picture in block.pictures
    ]
    return {
        "report.html": to_html(report, svgs).encode(),
        "report.md": to_markdown(report).encode(),
        "report.json": _to_json(report).encode(),
        **{f"figures/{name}.svg": svg for name, svg in svgs.items()},
        **{f"gallery/{n}.jpg": picture.jpeg for n, picture in enumerate(pictures, start=1)},
    }


def _to_json(report: Report) -> str:
    value = {
        "title": report.title,
        "phantom": report.phantom,
        "disclaimer": DISCLAIMER,
        "sections": {s.id: {"title": s.title, "data": s.data} for s in report.sections},
    }
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
