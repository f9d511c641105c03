"""The section on leaks: patients and films on both sides, and what that is worth."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pneumoscope.evaluation.duplicates import DuplicateReport, measure_duplicates
from pneumoscope.evaluation.report.document import Block, Section, Table, Text, plain, verbatim
from pneumoscope.evaluation.report.numbers import MISSING, fraction, signed
from pneumoscope.evaluation.results import ModelResult

_LEVELS = {"problem": "**problem**", "note": "note", "ok": "ok"}


def leakage_section(results: Sequence[ModelResult]) -> Section:
    """Returns what is known of leaks: the audit, both splits, films under several names.

    Args:
        results: models under distinct names, tested on one set.
    """
    audit = next((result.audit for result in results if result.audit), None)
    duplicates = {
        result.name: measure_duplicates(result.films("test"), result.film_table, result.threshold)
        for result in results
        if result.film_table is not None
    }
    blocks: list[Block] = [
        Text(
            "A model looks better than it is where it is judged on children it was trained on. "
            "Where this package trained it, test films are kept apart by folder, and validation, "
            "on which epoch and threshold are chosen, is cut from the training folder: the split "
            "of kind `patient` keeps every child on one side, the split of kind `stratified`, the "
            "reference study's, does not."
        ),
        *(Text(_seen(result)) for result in results if result.num_seen is not None),
        *_split_blocks(results, audit),
        *_audit_blocks(audit, has_films=bool(duplicates)),
        *_duplicate_blocks(results, duplicates),
    ]
    data = {
        "splits": {result.name: _optimism(result) for result in results},
        "audit": audit,
        "duplicates": {name: asdict(found) for name, found in duplicates.items()},
    }
    return Section("leakage", "Is anything leaking?", tuple(blocks), data)


def _seen(result: ModelResult) -> str:
    return (
        f"{verbatim(result.name)}: {result.num_seen:,} of {len(result.films('test')):,} test films "
        "are among its training or validation films, by name or by content."
    )


def _optimism(result: ModelResult) -> dict[str, Any]:
    """Returns figures on validation and test, and how much better validation looks."""
    found: dict[str, Any] = {"split": result.split_kind or None}
    val = result.summaries("val")[1] if len(result.films("val")) else None
    test = result.summaries("test")[1]
    for figure in ("auroc", "recall", "specificity"):
        before = val[figure] if val else None
        after = test[figure]
        gap = None if before is None or after is None else before - after
        found[figure] = {"val": before, "test": after, "optimism": gap}
    return found


def _split_blocks(results: Sequence[ModelResult], audit: dict[str, Any] | None) -> list[Block]:
    blocks: list[Block] = []
    if audit and audit.get("splits"):
        rows = tuple(
            (
                verbatim(str(leak["kind"])),
                f"{leak['num_train']:,}",
                f"{leak['num_val']:,}",
                *(
                    f"{leak[key]:,} ({leak[key] / leak['num_val']:.1%})"
                    for key in ("num_val_same_patient", "num_val_same_number")
                ),
                f"{leak['num_val_copies']:,}",
            )
            for leak in audit["splits"]
        )
        blocks.append(
            Table(
                "Both ways to divide the training folder (a fifth for validation, seed 0): "
                "validation films of a patient who is in training too, by kind and number or by "
                "number alone, and validation films whose very bytes are.",
                ("Split", "Training", "Validation", "Same patient", "Same number", "Copies"),
                rows,
            )
        )
    figures = []
    for result in results:
        found = _optimism(result)
        cells = [
            fraction(found[figure][split])
            if split != "optimism"
            else signed(found[figure][split], None)
            for figure in ("auroc", "specificity")
            for split in ("val", "test", "optimism")
        ]
        figures.append((verbatim(result.name), found["split"] or MISSING, *cells))
    blocks.append(
        Table(
            "How much better validation looks than test, by kind of split; specificity at the "
            "frozen threshold.",
            (
                "Model",
                "Split",
                "AUROC, validation",
                "AUROC, test",
                "Difference",
                "Specificity, validation",
                "Specificity, test",
                "Difference ",
            ),
            tuple(figures),
        )
    )
    blocks.append(_worth(results))
    return blocks


def _worth(results: Sequence[ModelResult]) -> Text:
    """Returns what the leak is worth, where one network was run on both kinds of split."""
    told = []
    patient = [r for r in results if r.split_kind == "patient"]
    for leaky in (r for r in results if r.split_kind == "stratified"):
        for clean in (r for r in patient if r.model == leaky.model and r.seed == leaky.seed):
            gaps = []
            for figure, name in (("auroc", "AUROC"), ("specificity", "specificity")):
                of_leaky, of_clean = _optimism(leaky)[figure], _optimism(clean)[figure]
                if of_leaky["val"] is not None and of_clean["val"] is not None:
                    gaps.append(
                        f"validation {name} {signed(of_leaky['val'] - of_clean['val'], None)}, "
                        f"test {name} {signed(of_leaky['test'] - of_clean['test'], None)}"
                    )
            told.append(
                f"{verbatim(leaky.name)} against {verbatim(clean.name)}, the same network on the "
                f"other split: {'; '.join(gaps)}."
            )
    if told:
        return Text(
            "What the leak is worth: "
            + " ".join(told)
            + " A gain on validation that test does not show is the leak's; with one run of each, "
            "differences of a few thousandths are also what another seed does."
        )
    return Text(
        "What the leak is worth shows where one network stands here on both kinds of split: "
        "`pneumoscope train cnn --set data.split=stratified --set name=cnn_stratified`, then "
        "`pneumoscope compare cnn runs/cnn_stratified`.",
        level="note",
    )


def _audit_blocks(audit: dict[str, Any] | None, *, has_films: bool) -> list[Block]:
    if not audit:
        why = "There is no training folder with the films" if has_films else "No films were at hand"
        return [
            Text(
                f"{why}, so the data set was not audited: `pneumoscope data audit DIR` does so, "
                "and so does `pneumoscope evaluate BUNDLE --data DIR` on a whole data set.",
                level="note",
            )
        ]
    rows = tuple(
        (_LEVELS.get(finding["level"], plain(finding["level"])), plain(finding["text"]))
        for finding in audit["verdict"]
    )
    return [
        Table(
            f"Audit of {audit['num_films']:,} films: unreadable files, duplicates, patients on "
            "both sides.",
            ("Level", "Finding"),
            rows,
            prose=True,
        )
    ]


def _duplicate_blocks(
    results: Sequence[ModelResult], duplicates: dict[str, DuplicateReport]
) -> list[Block]:
    if not duplicates:
        return []
    first = next(iter(duplicates.values()))
    num_films = len(results[0].films("test"))
    if not first.groups:
        return [Text(f"No two of the {num_films:,} test films are the same picture.")]
    listed = tuple(
        (", ".join(verbatim(path) for path in group.paths), ", ".join(group.labels))
        for group in first.groups
    )
    rows = tuple(
        (
            verbatim(name),
            fraction(found.all_films["auroc"]),
            fraction(found.unique_films["auroc"]),
            fraction(found.all_films["recall"]),
            fraction(found.unique_films["recall"]),
            fraction(found.all_films["specificity"]),
            fraction(found.unique_films["specificity"]),
        )
        for name, found in duplicates.items()
    )
    return [
        Table(
            f"Test films that are one picture under several names: {first.num_unique:,} of "
            f"{num_films:,} films are unique.",
            ("Files", "Labels"),
            listed,
            prose=True,
        ),
        Table(
            "What they do to the figures at the frozen threshold: all films, each picture once.",
            (
                "Model",
                "AUROC, all",
                "AUROC, once",
                "Recall, all",
                "Recall, once",
                "Specificity, all",
                "Specificity, once",
            ),
            rows,
        ),
    ]
