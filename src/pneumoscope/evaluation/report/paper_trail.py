"""The report's last section: where every number comes from, and what only a person can say."""

import hashlib
from collections.abc import Collection, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pneumoscope.evaluation.predictions import Predictions
from pneumoscope.evaluation.report.document import Block, Section, Table, Text, verbatim
from pneumoscope.evaluation.report.guidelines import guideline_tables
from pneumoscope.evaluation.results import ModelResult

NOT_RECORDED = "not recorded"


def paper_trail_section(results: Sequence[ModelResult], answered: Collection[str]) -> Section:
    """Returns the origin of each result and the map to the reporting guidelines.

    Args:
        results: the models.
        answered: the other sections of this report that say something, to which the map refers,
            and what else it has: ``"manifest"``, ``"gallery"``, ``"external films"``.
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
        *guideline_tables({*answered, "paper-trail"}),
    ]
    return Section("paper-trail", "Where the numbers come from", tuple(blocks), traces)


def _trace(result: ModelResult) -> dict[str, Any]:
    """Returns what is known of the origin of a result; None where it was not recorded."""
    manifest = result.manifest or {}
    data, code = manifest.get("data", {}), manifest.get("code", {})
    files, versions = manifest.get("files", {}), manifest.get("versions", {})
    hardware = manifest.get("hardware", {})
    test = result.films("test")
    return {
        "Films tested here": f"{len(test):,}",
        "Films tested here, SHA-256": films_sha256(test),
        "Not the model's own test films": "yes" if result.external else "no",
        "Report made with version": _own_version(),
        "Model": result.model_id,
        "Recipe": result.recipe,
        "Seed": result.seed,
        "Made": manifest.get("created"),
        "Weights, SHA-256": files.get("model.safetensors"),
        "Scores, SHA-256": files.get("predictions.csv"),
        "Split": result.split_kind or None,
        "Split, SHA-256": data.get("split_sha256"),
        "Its films (train / validation / test)": _counts(data),
        "Left out as unreadable": _unreadable(data),
        "Recipe, SHA-256": manifest.get("recipe_sha256"),
        "Version": code.get("version"),
        "Commit": code.get("commit"),
        "Code, SHA-256": code.get("sha256"),
        "Versions": ", ".join(f"{k} {v}" for k, v in versions.items()) or None,
        "Machine": ", ".join(str(v) for v in hardware.values()) or None,
    }


def _own_version() -> str | None:
    try:
        return version("pneumoscope")
    except PackageNotFoundError:
        return None


def films_sha256(films: Predictions) -> str:
    """Returns a hash of films by path, label and score: names exactly what was evaluated."""
    lines = sorted(
        f"{path}\t{y}\t{p!r}"
        for path, y, p in zip(
            films.path.tolist(), films.y_true.tolist(), films.p_pneumonia.tolist(), strict=True
        )
    )
    return hashlib.sha256("\n".join(lines).encode(errors="backslashreplace")).hexdigest()


def _unreadable(data: dict[str, Any]) -> str | None:
    return f"{len(data['unreadable']):,}" if "unreadable" in data else None


def _counts(data: dict[str, Any]) -> str | None:
    counts = [data.get(f"num_{part}") for part in ("train", "val", "test")]
    return None if None in counts else " / ".join(f"{count:,}" for count in counts)


def _shown(value: Any) -> str:
    return NOT_RECORDED if value is None else verbatim(str(value))
