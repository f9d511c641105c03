"""What changes of the films do, counted by hand and against the statistics they are made of."""

import numpy as np
import pytest
from scipy.special import expit

from pneumoscope.data.corruption import CLEAN
from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.delong import difference, estimate_aurocs
from pneumoscope.evaluation.intervals import wilson_interval
from pneumoscope.evaluation.operating_point import summarize_at_threshold
from pneumoscope.evaluation.robustness import evaluate_shifts, marker_flip_rate
from pneumoscope.evaluation.shift_table import ShiftTable

BLUR, LEFT, RIGHT = "blur: 1 px", "marker added: R left", "marker added: R right"


@pytest.fixture
def films(make_result):
    return make_result().films("test")


def make_table(films, **changed):
    clean = films.log_odds.astype(np.float32)
    named = {"blur": BLUR, "left": LEFT, "right": RIGHT}
    log_odds = {
        CLEAN: clean,
        **{named[k]: (clean + v).astype(np.float32) for k, v in changed.items()},
    }
    return ShiftTable(films.path, log_odds)


def test_each_variant_is_summarised_at_the_frozen_threshold(films):
    noise = np.random.default_rng(0).normal(0, 2, 60)
    table = make_table(films, blur=noise)
    found = evaluate_shifts(table, films, 0.4)
    clean, blurred = found.variants
    p = expit(table.log_odds[BLUR].astype(np.float64))
    summary = summarize_at_threshold(films.y_true, p, 0.4)
    assert (blurred.auroc, blurred.recall, blurred.specificity) == (
        summary["auroc"], summary["recall"], summary["specificity"],
    )  # fmt: skip
    assert blurred.recall_interval == wilson_interval(summary["tp"], summary["tp"] + summary["fn"])
    before, after = films.p_pneumonia >= 0.4, p >= 0.4
    assert blurred.to_pneumonia == np.sum(after & ~before)
    assert blurred.to_normal == np.sum(before & ~after)
    assert blurred.flips.num_flipped == np.sum(before != after)
    assert blurred.flips.share == pytest.approx(np.mean(before != after))
    scores = [expit(table.log_odds[CLEAN].astype(np.float64)), p]
    both = estimate_aurocs(films.y_true, scores, films.patient_id)
    assert blurred.auroc_change == difference(both, 1, 0)
    assert clean.flips.num_flipped == 0
    assert clean.auroc_change.value == 0
    assert (found.num_films, found.num_test_films, found.num_decided_otherwise) == (60, 60, 0)


def test_a_film_that_several_markers_flip_counts_once(films):
    called = films.p_pneumonia >= 0.4
    rows = np.flatnonzero(called)[:3]
    down = np.zeros(60)
    down[rows] = -50
    first_two = np.where(np.isin(np.arange(60), rows[:2]), down, 0)
    table = make_table(films, left=down, right=first_two)
    found = marker_flip_rate(table, 0.4)
    assert (found.num_films, found.num_flipped) == (60, 3)
    assert found.interval == wilson_interval(3, 60)
    assert evaluate_shifts(table, films, 0.4).added_marker == found
    assert marker_flip_rate(make_table(films, blur=down), 0.4) is None


def test_a_sample_of_films_is_said_to_be_one(films):
    rows = np.arange(0, 60, 3)
    clean = films.log_odds[rows].astype(np.float32)
    clean[0] = -clean[0]  # decided otherwise at this size
    table = ShiftTable(films.path[rows], {CLEAN: clean, BLUR: clean})
    found = evaluate_shifts(table, films, 0.5)
    assert (found.num_films, found.num_test_films, found.num_decided_otherwise) == (20, 60, 1)


def test_one_class_or_a_bad_threshold(make_result):
    films = make_result(test_labels=[1, 1, 1]).films("test")
    found = evaluate_shifts(make_table(films, blur=0.0), films, 0.5)
    assert (found.variants[1].auroc, found.variants[1].specificity) == (None, None)
    assert found.variants[1].auroc_change is None
    with pytest.raises(EvaluationError, match="threshold is nan"):
        evaluate_shifts(make_table(films, blur=0.0), films, float("nan"))
