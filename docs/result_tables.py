"""The tables of results in the pages, from shipped scores and records; for ``generate.py``.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end of table -->``.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from lever_table import lever_rows

from pneumoscope.bundle import shipped_bundles
from pneumoscope.data.corruption import CLEAN
from pneumoscope.evaluation.evidence import open_results
from pneumoscope.evaluation.results import ModelResult, mean_and_sd
from pneumoscope.evaluation.robustness import evaluate_shifts
from pneumoscope.evaluation.tables import headline_table, to_markdown

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/accuracy.md", "docs/report.md")
RECORDS = ROOT / "benchmarks" / "results"
OTHER_SEEDS = {
    "cnn": "cnn-trials/epochs-80-seed-{}.json",
    "scratch": "scratch-trials/epochs-48-seed-{}.json",
    "pretrained_ti16": "ti16-trials/six-epochs-seed-{}.json",
}
"""Records of the seeds 1 and 2 of every shipped bundle, which is seed 0."""
ELSEWHERE = {
    "ViT-Ti/16, pretrained, three runs on a GPU": "ti16-trials/gpu-seed-{}.json",
}
"""Records of the seeds 0 to 2 of a shipped recipe, trained elsewhere."""
SIX_NETWORKS = "CNN and ViT-Ti/16, three seeds each, stored scores averaged"
SINGLE_RUNS = {
    "ViT-Ti/16, its linear probe alone, one run": "ti16-trials/linear-probe.json",
    "CNN and ViT-Ti/16 averaged, one run": "ensemble-cnn-ti16.json",
    SIX_NETWORKS: "ensemble-three-seeds.json",
}
METRICS = ("auroc", "recall", "specificity")
AIMS = (
    ("CNN, three seeds", "auroc", 0.985),
    ("CNN, three seeds", "specificity", 0.85),
    ("ViT from scratch, three seeds", "auroc", 0.96),
    ("ViT from scratch, three seeds", "auroc", 0.975),
    ("ViT from scratch, three seeds", "specificity", 0.75),
    ("ViT-Ti/16, pretrained, three seeds", "auroc", 0.987),
    ("ViT-Ti/16, pretrained, three seeds", "specificity", 0.88),
    (SIX_NETWORKS, "auroc", 0.991),
    (SIX_NETWORKS, "specificity", 0.9),
)
"""What was aimed at, by a row of the table of seeds."""
CHANGES = (
    CLEAN,
    "noise: 10 levels",
    "noise: 20 levels",
    "noise: 30 levels",
    "less contrast: 0.2",
    "more contrast: 2.0",
    "cropped: 80 %",
    "framed: 95 %",
    "framed: 80 %",
)
"""Of the changes that the report applies, those that tell the models apart."""


def filled(text: str) -> str:
    """Returns a page's text with all its tables of results made anew.

    Raises:
        KeyError: it names a table that there is not.
        ValueError: a table has no end of its own, or its comment is not as above.
    """
    marks = re.findall(r"<!--\s*(table|end of table)\b", text)
    content, num_tables = re.subn(
        r"(<!-- table: (\w+) -->)\n.*?(<!-- end of table -->)",
        lambda found: f"{found[1]}\n\n{tables()[found[2]]}\n\n{found[3]}",
        text,
        flags=re.DOTALL,
    )
    if marks != ["table", "end of table"] * num_tables:
        raise ValueError("a table of results has no beginning or no end; correct its comments")
    return content


@cache
def tables() -> dict[str, str]:
    """Returns every table by its name."""
    models = [open_results(path)[0] for path in shipped_bundles().values()]
    _, results, _ = to_markdown(headline_table(models, "test")).split("\n\n")
    return {
        "results": results,
        "seeds": seeds_table(models),
        "aims": aims_table(models),
        "changes": changes_table(),
        "levers": levers_table(),
    }


def seeds_table(models: Sequence[ModelResult]) -> str:
    """Returns test figures at the recall-first threshold over three seeds, and single runs."""
    found = three_seeds(models)
    for name, path in ELSEWHERE.items():
        found[name] = [at_threshold(record(path.format(seed))) for seed in range(3)]
    rows = []
    for name, runs in found.items():
        spreads = [mean_and_sd([run[metric] for run in runs]) for metric in METRICS]
        cells = [f"{decimals(s[0])} ± {decimals(s[1])}" if s else "-" for s in spreads]
        rows.append((name, *cells))
    for name, path in SINGLE_RUNS.items():
        run = at_threshold(record(path))
        rows.append((name, *(decimals(run[metric]) for metric in METRICS)))
    return markdown(("at the recall-first threshold", "AUROC", "Recall", "Spec"), rows)


def aims_table(models: Sequence[ModelResult]) -> str:
    """Returns what was aimed at on the test films, and what was reached."""
    runs = three_seeds(models)
    runs[SIX_NETWORKS] = [at_threshold(record(SINGLE_RUNS[SIX_NETWORKS]))]
    rows = []
    for name, metric, aim in AIMS:
        reached = fmean(run[metric] for run in runs[name])
        what = "AUROC" if metric == "auroc" else metric
        met = "yes" if reached >= aim else "no"
        rows.append((f"{name}: {what}", decimals(aim), decimals(reached), met))
    return markdown(("on the test films", "aim", "reached", "met"), rows)


def three_seeds(models: Sequence[ModelResult]) -> dict[str, list[Mapping[str, Any]]]:
    """Returns figures on test at the recall-first threshold, of three seeds of shipped models."""
    found = {}
    for model in models:
        others = (record(OTHER_SEEDS[model.recipe].format(seed)) for seed in (1, 2))
        runs = [model.summaries("test")[1], *map(at_threshold, others)]
        found[f"{model.name}, three seeds"] = runs
    return found


def changes_table() -> str:
    """Returns what each shipped model keeps on changed test films, its threshold frozen."""
    models = [open_results(RECORDS / "evaluation" / name)[0] for name in shipped_bundles()]
    found = []
    for model in models:
        assert model.shift_table is not None
        variants = evaluate_shifts(model.shift_table, model.films("test"), model.threshold).variants
        found.append({variant.variant: variant for variant in variants})
    rows = [
        (
            "as they are" if change == CLEAN else change,
            *(
                f"{decimals(variants[change].auroc)}, {decimals(variants[change].specificity)}"
                for variants in found
            ),
        )
        for change in CHANGES
    ]
    header = "AUROC, specificity at the frozen threshold"
    return markdown((header, *(model.name for model in models)), rows)


def levers_table() -> str:
    """Returns each lever with what came of it and, on blocks held out, its AUROC and log loss."""
    header = ("lever", "field", "tried in", "outcome")
    figures = ("AUROC (without it)", "log loss (without it)")
    return markdown((*header, *figures), lever_rows(), num_words=4)


def record(name: str) -> dict[str, Any]:
    """Returns the record of a run."""
    content: dict[str, Any] = json.loads((RECORDS / name).read_text(encoding="utf-8"))
    return content


def at_threshold(run: dict[str, Any]) -> dict[str, float]:
    """Returns a recorded run's figures on test at its recall-first threshold."""
    figures: dict[str, float] = run["metrics"]["test"]["at_threshold"]
    return figures


def decimals(value: float | None) -> str:
    """Returns a fraction to three decimals, as the pages write it: ``.979``, ``1.000``."""
    return "-" if value is None else f"{value:.3f}".removeprefix("0")


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]], *, num_words: int = 1) -> str:
    """Returns a table as Markdown: columns of words on the left, of figures on the right."""
    rule = (*["---"] * num_words, *["---:"] * (len(header) - num_words))
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))
