"""The section on which model is better, and how far seeds alone move a figure."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations

import numpy as np

from pneumoscope.evaluation.bootstrap import resampled_means
from pneumoscope.evaluation.delong import equality, estimate_aurocs, standard_error
from pneumoscope.evaluation.pairwise import (
    DecisionComparison,
    Pair,
    SeedSpread,
    compare_pairs,
    seed_spread,
)
from pneumoscope.evaluation.report.document import Block, Section, Table, Text, verbatim
from pneumoscope.evaluation.report.numbers import MISSING, fraction, p_phrase, p_value, signed, span
from pneumoscope.evaluation.results import ModelResult, seed_groups

MAX_MODELS = 8
"""Of more models than this, each is compared with the first only: 28 pairs are enough to read."""


def pairs_section(results: Sequence[ModelResult]) -> Section | None:
    """Returns paired comparisons of the models on the test films; ``None`` for one model.

    Args:
        results: models under distinct names, tested on one set.
    """
    if len(results) < 2:
        return None
    films = results[0].films("test")
    indices = range(len(results))
    chosen = (
        list(combinations(indices, 2))
        if len(results) <= MAX_MODELS
        else [(0, other) for other in indices[1:]]
    )
    scores = [result.films("test").p_pneumonia for result in results]
    pairs = compare_pairs(
        films.y_true, films.patient_id, scores, [r.threshold for r in results], chosen
    )
    spreads = {name: _spreads(group) for name, group in seed_groups(results).items()}
    blocks: list[Block] = [
        Text(
            "All models saw the same test films, so they are compared film by film: what is hard "
            "for both does not count against either. Differences are first less second."
        ),
        *_overall(results),
        _auroc_table(results, pairs),
        _decision_table(results, pairs),
        Text(
            "Holm's correction is over the pairs of each figure. A small p value says that a "
            "difference is there on these films, not that it matters; a large one does not say "
            "that the models are alike: read the intervals.",
            level="note",
        ),
        *_seed_blocks(spreads),
    ]
    data = {
        "pairs": [
            {**asdict(pair), "first": results[pair.first].name, "second": results[pair.second].name}
            for pair in pairs
        ],
        "seeds": {
            name: {figure: asdict(spread) for figure, spread in of_group.items()}
            for name, of_group in spreads.items()
        },
    }
    return Section("pairs", "Which model is better?", tuple(blocks), data)


def _overall(results: Sequence[ModelResult]) -> list[Block]:
    """Returns the test that all AUROCs are equal, where it says more than a single pair."""
    films = results[0].films("test")
    scores = [result.films("test").p_pneumonia for result in results]
    aurocs = estimate_aurocs(films.y_true, scores, films.patient_id)
    test = equality(aurocs) if aurocs and len(results) > 2 else None
    if test is None:
        return []
    return [
        Text(
            f"That all {len(results)} AUROCs are equal: chi-square {test.statistic:.1f} on "
            f"{test.num_degrees} degrees of freedom, {p_phrase(test.p_value)} (DeLong, films "
            "of one patient as alike)."
        )
    ]


def _name(results: Sequence[ModelResult], pair: Pair) -> str:
    return f"{verbatim(results[pair.first].name)} - {verbatim(results[pair.second].name)}"


def _auroc_table(results: Sequence[ModelResult], pairs: Sequence[Pair]) -> Table:
    rows = []
    for pair in pairs:
        by_film, by_patient = pair.auroc.by_film, pair.auroc.by_patient
        rows.append(
            (
                _name(results, pair),
                signed(by_patient.value, by_patient.interval) if by_patient else MISSING,
                p_value(by_patient.p_value) if by_patient else MISSING,
                p_value(pair.auroc.p_holm),
                span(pair.auroc.bootstrap),
                p_value(by_film.p_value) if by_film else MISSING,
            )
        )
    return Table(
        "Difference of AUROC on the test set: DeLong's test with films of one patient as alike, a "
        "bootstrap over patients beside it, and DeLong's own with films as independent.",
        (
            "Models",
            "Difference (95 %)",
            "p",
            "p, Holm",
            "Bootstrap (95 %)",
            "p, films independent",
        ),
        tuple(rows),
    )


def _decision_table(results: Sequence[ModelResult], pairs: Sequence[Pair]) -> Table:
    rows = []
    for pair in pairs:
        for figure in ("recall", "specificity", "accuracy"):
            found: DecisionComparison = getattr(pair, figure)
            rows.append(
                (
                    f"{_name(results, pair)}, {figure}",
                    signed(found.value, found.interval),
                    str(found.only_first),
                    str(found.only_second),
                    p_value(found.p_value),
                    p_value(found.p_holm),
                )
            )
    return Table(
        "Decisions at each model's own frozen threshold, test set: bootstrap intervals over "
        "patients, films that only one model decides rightly, and McNemar's exact test, which "
        "takes films as independent.",
        (
            "Models, figure",
            "Difference (95 %)",
            "Only the first right",
            "Only the second right",
            "p",
            "p, Holm",
        ),
        tuple(rows),
    )


def _spreads(group: Sequence[ModelResult]) -> dict[str, SeedSpread]:
    """Returns how AUROC, recall and specificity spread over seeds, beside their sampling error."""
    films = group[0].films("test")
    aurocs = estimate_aurocs(
        films.y_true, [r.films("test").p_pneumonia for r in group], films.patient_id
    )
    found = {}
    if aurocs:
        errors = [standard_error(aurocs, index) for index in range(len(group))]
        found["AUROC"] = seed_spread(aurocs.values.tolist(), errors)
    for name, label in (("recall", 1), ("specificity", 0)):
        rows = films.y_true == label
        if not rows.any():
            continue
        right = np.stack(
            [(r.films("test").p_pneumonia >= r.threshold)[rows] == label for r in group], axis=1
        )
        spread = None
        if len(np.unique(films.patient_id[rows])) > 1:
            spread = resampled_means(right, films.patient_id[rows]).std(axis=0, ddof=1).tolist()
        found[name] = seed_spread(right.mean(axis=0).tolist(), spread)
    return found


def _seed_blocks(spreads: dict[str, dict[str, SeedSpread]]) -> list[Block]:
    if not spreads:
        return [
            Text(
                "One seed a recipe stands here, so how far another seed would have moved these "
                "figures is not known; give several seeds of a recipe to see it.",
                level="note",
            )
        ]
    rows = tuple(
        (
            f"{verbatim(name)}, {figure}",
            fraction(spread.mean),
            f"{spread.sd:.4f}",
            span(spread.sd_interval),
            MISSING if spread.sampling_error is None else f"{spread.sampling_error:.4f}",
        )
        for name, of_group in spreads.items()
        for figure, spread in of_group.items()
    )
    return [
        Table(
            "Seeds and sampling are two things: the standard deviation from seed to seed on the "
            "same test films, and the standard error of one seed's figure over the choice of "
            "patients.",
            ("Recipe, figure", "Mean", "SD of seeds", "95 % of the SD", "Sampling error"),
            rows,
        )
    ]
