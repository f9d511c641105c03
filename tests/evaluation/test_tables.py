"""Tables: each cell, in the terminal and in Markdown."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from pneumoscope.evaluation.metrics import evaluate_predictions
from pneumoscope.evaluation.tables import (
    COLUMNS,
    format_threshold,
    headline_table,
    interval_table,
    results_table,
    to_markdown,
)
from pneumoscope.labels import DISCLAIMER

METRICS = ("acc", "precision", "recall", "specificity", "f1", "auroc")


def printed(rich_table, width=80):
    console = Console(width=width, file=io.StringIO())
    console.print(rich_table)
    return console.file.getvalue()


def test_each_model_has_its_two_rows(make_result):
    result = make_result("scratch", seed=1)
    table = headline_table([result], "test")
    assert table.title == "Test set, 60 films: 36 PNEUMONIA, 24 NORMAL"
    assert table.columns == COLUMNS
    at_default, recall_first = table.sections[0].full_rows
    for row, name, summary in (
        (at_default, "scratch, at 0.5", result.summaries("test")[0]),
        (recall_first, "scratch, recall-first", result.summaries("test")[1]),
    ):
        figures = [f"{summary[metric]:.4f}" for metric in METRICS]
        assert row == (name, "1.23", "2.5", *figures, f"{summary['thr']:.4f}")
    assert at_default[-1] == "0.5000"
    assert table.sections[0].short_rows == (
        ("scratch", *at_default[1:]),
        ("  recall-first", *recall_first[1:]),
    )


def test_seeds_have_mean_and_standard_deviation(make_result):
    results = [
        replace(make_result("cnn", seed=seed), name=f"cnn (seed {seed})") for seed in (0, 1, 2)
    ]
    table = headline_table(results, "test")
    assert [section.name for section in table.sections] == [
        "cnn (seed 0)",
        "cnn (seed 1)",
        "cnn (seed 2)",
        "cnn, mean ± sd of 3 seeds",
    ]
    recalls = [result.summaries("test")[1]["recall"] for result in results]
    mean = sum(recalls) / 3
    sd = (sum((recall - mean) ** 2 for recall in recalls) / 2) ** 0.5
    row = table.sections[3].recall_first
    assert row[:2] == ("1.23", "2.5")
    assert row[COLUMNS.index("Recall") - 1] == f"{mean:.3f} ± {sd:.3f}"


def test_validation_of_different_splits_is_not_counted(make_result):
    other = make_result("vit", split_kind="stratified")
    predictions = other.predictions
    keep = predictions.path != "train/0.jpeg"
    fewer = type(predictions)(
        *(getattr(predictions, name)[keep] for name in predictions.__dataclass_fields__)
    )
    table = headline_table([make_result(), replace(other, predictions=fewer)], "val")
    assert table.title == "Validation set, each model's own"


def test_undefined_figures_are_a_dash(make_result):
    result = replace(make_result(), threshold=1.0)
    row = headline_table([result], "test").sections[0].recall_first
    assert row[COLUMNS.index("Prec") - 1] == "-"
    assert row[COLUMNS.index("Recall") - 1] == "0.0000"


def test_intervals_and_counts(make_result):
    result = make_result()
    metrics = evaluate_predictions(result.films("test"), result.threshold)
    (section,) = interval_table([result], [metrics]).sections
    summary = metrics["at_threshold"]
    low, high = metrics["intervals"]["at_threshold"]["recall"]
    assert section.recall_first[0] == f"{summary['recall']:.4f} ({low:.4f} to {high:.4f})"
    low, high = metrics["intervals"]["auroc"]
    assert section.at_default[2] == f"{summary['auroc']:.4f} ({low:.4f} to {high:.4f})"
    counts = tuple(str(summary[key]) for key in ("tp", "fn", "fp", "tn"))
    assert section.recall_first[3:] == counts


def test_markdown_has_title_rule_and_disclaimer(make_result):
    result = replace(make_result(), name="a|b")
    lines = to_markdown(headline_table([result], "test")).splitlines()
    assert lines[0] == "**Test set, 60 films: 36 PNEUMONIA, 24 NORMAL**"
    assert lines[2].startswith("| Model | Params (M) | Time (min) | Acc | Prec | Recall | Spec |")
    assert lines[3] == "| --- |" + " ---: |" * 9
    assert lines[4].startswith(r"| a\|b, at 0.5 | 1.23 | 1.5 |")
    assert lines[-1] == f"*{DISCLAIMER}*"


def test_terminal_table_is_whole_in_80_columns(make_result):
    results = [
        replace(make_result("cnn", seed=seed), name=f"cnn [bold] (seed {seed})") for seed in (0, 1)
    ]
    text = printed(results_table(results))
    assert max(map(len, text.splitlines())) <= 80
    assert "Test set, 60 films: 36 PNEUMONIA, 24 NORMAL" in text
    assert DISCLAIMER in text
    assert "[bold]" in text
    for section in headline_table(results, "test").sections:
        for row in (section.at_default, section.recall_first):
            for cell in row:
                for part in cell.split(" ± "):
                    assert part in text


@pytest.mark.parametrize("split", ["val", "test"])
def test_phantom_stands_in_every_title(make_result, split):
    results = [make_result(phantom=True)]
    assert headline_table(results, split).title.startswith("PHANTOM: ")
    assert "PHANTOM: test set, 60 films" in printed(results_table(results))


@pytest.mark.parametrize(
    ("threshold", "text"),
    [
        (0.5, "0.5000"),
        (0.28941, "0.2894"),
        (0.99996, "0.99996"),
        (0.00004, "0.00004"),
        (3e-9, "0.000000003"),
        (0.0, "0.0000"),
        (1.0, "1.0000"),
    ],
)
def test_threshold_is_told_from_0_and_1(threshold, text):
    assert format_threshold(threshold) == text
