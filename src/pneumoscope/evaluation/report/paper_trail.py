"""The report's last section: where every number comes from, and what only a person can say."""

from collections.abc import Collection, Sequence
from typing import Any

from pneumoscope.evaluation.report.document import Block, Section, Table, Text, verbatim
from pneumoscope.evaluation.report.guidelines import guideline_tables
from pneumoscope.evaluation.results import ModelResult

NOT_RECORDED = "not recorded"


def paper_trail_section(results: Sequence[ModelResult], section_ids: Collection[str]) -> Section:
    """Returns the origin of each result and the map to the reporting guidelines.

    Args:
        results: the models.
        section_ids: the other sections of this report, to which the map refers.
    """
    traces = {result.name: _trace(result) for result in results}
    rows = tuple(
        (entry, *(_shown(trace[entry]) for trace in traces.values()))
        for entry in next(iter(traces.values()))
    )
    blocks: list[Block] = [
        Text(
            "Each number above can be computed again from the scores, film by film, in "
            "`predictions.csv`; the manifest of a bundle vouches with hashes for its weights, its "
            "scores, the films, their split and the code."
        ),
        Table("Origin of the results", ("Entry", *map(verbatim, traces)), rows, prose=True),
        Text(
            "Where this report answers to an item of the reporting guidelines, the tables below "
            "say where; everything else is for a person to fill in before anything is published."
        ),
        *guideline_tables({*section_ids, "paper-trail"}),
    ]
    return Section("paper-trail", "Where the numbers come from", tuple(blocks), traces)


def _trace(result: ModelResult) -> dict[str, Any]:
    """Returns what is known of the origin of a result; None where it was not recorded."""
    manifest = result.manifest or {}
    data, code = manifest.get("data", {}), manifest.get("code", {})
    files, versions = manifest.get("files", {}), manifest.get("versions", {})
    hardware = manifest.get("hardware", {})
    return {
        "Model": result.model_id,
        "Recipe": result.recipe,
        "Seed": result.seed,
        "Made": manifest.get("created"),
        "Weights, SHA-256": files.get("model.safetensors"),
        "Scores, SHA-256": files.get("predictions.csv"),
        "Split": result.split_kind or None,
        "Split, SHA-256": data.get("split_sha256"),
        "Films (train / validation / test)": _counts(data),
        "Test films from elsewhere": "yes" if result.external else "no",
        "Version": code.get("version"),
        "Commit": code.get("commit"),
        "Code, SHA-256": code.get("sha256"),
        "Versions": ", ".join(f"{k} {v}" for k, v in versions.items()) or None,
        "Machine": ", ".join(str(v) for v in hardware.values()) or None,
    }


def _counts(data: dict[str, Any]) -> str | None:
    counts = [data.get(f"num_{part}") for part in ("train", "val", "test")]
    return None if None in counts else " / ".join(f"{count:,}" for count in counts)


def _shown(value: Any) -> str:
    return NOT_RECORDED if value is None else verbatim(str(value))
