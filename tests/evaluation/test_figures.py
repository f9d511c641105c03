"""Figures: what is drawn where, and that the same input gives the same bytes."""

import io
import subprocess
import sys
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from PIL import Image
from scipy.special import logit
from sklearn.metrics import roc_curve

from pneumoscope.evaluation.figure_style import line_styles, to_png
from pneumoscope.evaluation.figures import (
    draw_confusion,
    draw_precision_recall,
    draw_roc,
    draw_scores,
    draw_training_curves,
)
from pneumoscope.evaluation.overview import draw_overview
from pneumoscope.evaluation.predictions import Predictions
from pneumoscope.labels import DISCLAIMER

DRAW = (
    draw_roc,
    draw_precision_recall,
    draw_confusion,
    draw_scores,
    draw_training_curves,
    draw_overview,
)


def points(axes, marker):
    """Returns the (x, y) of all points drawn with a marker."""
    lines = [line for line in axes.lines if line.get_marker() == marker]
    return [tuple(line.get_xydata()[0].tolist()) for line in lines]


def texts(axes):
    return [text.get_text().strip() for text in axes.texts]


def test_roc_is_the_curve_with_both_points_on_it(make_result):
    result = make_result()
    whole, enlarged = draw_roc([result]).axes
    at_default, recall_first = (
        (1 - s["specificity"], s["recall"]) for s in result.summaries("test")
    )
    test = result.films("test")
    rate, recall, _ = roc_curve(test.y_true, test.p_pneumonia)
    for axes in (whole, enlarged):
        np.testing.assert_array_equal(axes.lines[0].get_xydata(), np.stack([rate, recall], axis=1))
        assert points(axes, "o") == [pytest.approx(at_default)]
        assert points(axes, "D") == [pytest.approx(recall_first)]
        assert points(axes, "x") == []
    for rate, recall in (at_default, recall_first):
        assert enlarged.get_xlim()[0] < rate < enlarged.get_xlim()[1]
        assert enlarged.get_ylim()[0] < recall < enlarged.get_ylim()[1]
    auroc = result.summaries("test")[0]["auroc"]
    assert whole.get_legend().get_texts()[0].get_text() == f"cnn: {auroc:.4f}"


def test_precision_recall_has_both_points(make_result):
    result = make_result()
    whole, _ = draw_precision_recall([result]).axes
    at_default, recall_first = ((s["recall"], s["precision"]) for s in result.summaries("test"))
    assert points(whole, "o") == [at_default]
    assert points(whole, "D") == [recall_first]
    prevalence = whole.lines[-1].get_ydata()
    assert list(prevalence) == [0.6, 0.6]


def test_confusion_shows_the_counts_at_both_thresholds(make_result):
    result = make_result()
    panels = draw_confusion([result]).axes
    assert [panel.get_title().splitlines()[1].split(" (")[0] for panel in panels] == [
        "at 0.5",
        "recall-first",
    ]
    for panel, summary in zip(panels, result.summaries("test"), strict=True):
        counts = [int(text.split("\n")[0]) for text in texts(panel)]
        assert counts == [summary["tn"], summary["fp"], summary["fn"], summary["tp"]]
        assert panel.texts[3].get_text().endswith(f"{summary['recall']:.1%}")


@pytest.mark.parametrize("threshold", [0.0, 1e-6, 0.2, 0.5, 0.7, 1.0])
def test_scores_mark_both_thresholds(make_result, threshold):
    result = replace(make_result(), threshold=threshold)
    panel = draw_scores([result]).axes[0]
    low, high = panel.get_xlim()
    positions = [line.get_xdata()[0] for line in panel.lines]
    assert positions == pytest.approx([0.0, float(np.clip(logit(threshold), low, high))])
    assert texts(panel)[:3] == ["NORMAL, 24 films", "PNEUMONIA, 36 films", "0.5"]
    assert texts(panel)[3].startswith("recall-first")


def test_scores_count_every_film(make_result):
    panel = draw_scores([make_result()]).axes[0]
    films = 0
    for patch in panel.patches:  # an outline of (left, 0), (left, count), (right, count), ...
        x, y = patch.get_path().vertices.T
        width = (panel.get_xlim()[1] - panel.get_xlim()[0]) / 60
        films += abs(np.sum(x[:-1] * np.diff(y) - y[:-1] * np.diff(x))) / 2 / width
    assert films == pytest.approx(60)


def test_training_curves_mark_the_best_epoch(make_result):
    result = make_result()
    history = replace(result.history, val_auroc=np.array([0.9, 0.99, np.nan]))
    train, val, auroc = draw_training_curves([replace(result, history=history)]).axes
    assert train.lines[0].get_ydata().tolist() == history.train_loss.tolist()
    assert val.lines[0].get_ydata().tolist() == history.val_loss.tolist()
    assert points(auroc, "o") == [(2.0, 0.99)]


def test_training_curves_without_any_auroc_mark_none(make_result):
    result = make_result()
    history = replace(result.history, val_auroc=np.full(3, np.nan))
    auroc = draw_training_curves([replace(result, history=history)]).axes[2]
    assert points(auroc, "o") == []


def test_overview_has_a_score_panel_a_recipe(make_result):
    results = [make_result(recipe, seed=seed) for recipe in "abcde" for seed in (0, 1)]
    titles = [axes.get_title(loc="left") for axes in draw_overview(results).axes]
    assert [title for title in titles if len(title) == 1] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("draw", DRAW)
@pytest.mark.parametrize("log_odds", [-2.0, 0.0, 800.0])
@pytest.mark.filterwarnings("error")
def test_figures_of_a_model_that_learned_nothing(make_result, draw, log_odds):
    result = make_result()
    p = result.predictions
    logits = np.tile([0.0, log_odds], (len(p), 1))
    constant = Predictions.from_logits(p.path, p.patient_id, p.split, p.y_true, logits)
    figure = draw([replace(result, predictions=constant, threshold=1.0)])
    assert to_png(figure).startswith(b"\x89PNG")


def test_models_are_told_apart_by_colour_then_dashes(make_result):
    seeds = [make_result("a", seed=0), make_result("b", seed=0), make_result("a", seed=1)]
    first, other, second = line_styles(seeds)
    assert first["color"] == second["color"] != other["color"]
    assert first["linestyle"] == other["linestyle"] != second["linestyle"]
    many = line_styles([make_result(str(i)) for i in range(20)])
    assert len({(style["color"], style["linestyle"]) for style in many}) == 20


@pytest.mark.parametrize("draw", DRAW)
def test_figures_name_phantoms_and_purpose(make_result, draw):
    figure = draw([make_result(phantom=True)])
    assert figure.get_suptitle().startswith("PHANTOM: ")
    assert figure.get_supxlabel() == DISCLAIMER
    assert "PHANTOM" not in draw([make_result()]).get_suptitle()


def test_png_depends_on_the_data_alone(make_result):
    draw = draw_training_curves
    png = to_png(draw([make_result()]))
    with matplotlib.rc_context({"font.size": 20, "savefig.dpi": 30, "axes.grid": True}):
        assert to_png(draw([make_result()])) == png
    image = Image.open(io.BytesIO(png))
    assert (image.format, image.size, image.info["dpi"]) == (
        "PNG",
        (1650, 585),
        pytest.approx((150, 150), abs=0.1),
    )


def test_evaluation_loads_neither_torch_nor_pyplot():
    code = (
        "import sys, pneumoscope.evaluation.comparison\n"
        "print(sorted({'torch', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert run.stdout.strip() == "[]"
