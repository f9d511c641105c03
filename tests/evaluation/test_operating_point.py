"""The recall-first rule against exact brute force, and the summary against sklearn."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.operating_point import (
    choose_threshold_by_min_recall,
    summarize_at_threshold,
)

GRID = [0.0, 0.1, 0.25, 0.5, 0.5000000000000001, 0.75, 0.9, 1.0]
FILMS = st.lists(
    st.tuples(st.integers(0, 1), st.one_of(st.sampled_from(GRID), st.floats(0, 1))),
    min_size=1,
    max_size=40,
)
MIN_RECALLS = st.one_of(
    st.integers(1, 1000).map(lambda thousandths: thousandths / 1000),
    st.sampled_from([0.95, 0.07, 1.0, 5 / 6, 2 / 3, 1 / 3]),
)


def choose_by_brute_force(films, min_recall):
    """The rule, word for word: every value of p tried, with fractions that are never rounded."""
    num_positives = sum(y for y, _ in films)
    reaching = []
    for threshold in {p for _, p in films}:
        called = [y for y, p in films if p >= threshold]
        recall = Fraction(sum(called), num_positives)
        # Numerators and denominators here are small, so 1e-9 separates all that differ.
        if recall >= Fraction(min_recall) - Fraction(1, 10**9):
            reaching.append((Fraction(sum(called), len(called)), recall, threshold))
    precision, recall, threshold = max(reaching)
    assert len([r for r in reaching if r[:2] == (precision, recall)]) == 1
    return threshold, float(recall), float(precision)


@settings(max_examples=500, deadline=None)
@given(FILMS.filter(lambda films: any(y for y, _ in films)), MIN_RECALLS)
def test_threshold_is_the_one_brute_force_finds(films, min_recall):
    labels, scores = zip(*films, strict=True)
    chosen = choose_threshold_by_min_recall(labels, scores, min_recall)
    assert chosen == choose_by_brute_force(films, min_recall)
    summary = summarize_at_threshold(labels, scores, chosen[0])
    assert (summary["recall"], summary["precision"]) == chosen[1:]
    assert summary["recall"] >= min_recall


@settings(max_examples=100, deadline=None)
@given(FILMS.filter(lambda films: any(y for y, _ in films)), st.randoms(use_true_random=False))
def test_threshold_does_not_depend_on_the_order_of_films(films, random):
    shuffled = list(films)
    random.shuffle(shuffled)
    first = choose_threshold_by_min_recall(*zip(*films, strict=True))
    assert choose_threshold_by_min_recall(*zip(*shuffled, strict=True)) == first


@pytest.mark.parametrize(
    ("labels", "scores", "min_recall", "expected"),
    [
        # Recall 1 needs 0.4, where one NORMAL of 0.6 is called too.
        ([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9], 0.95, (0.4, 1.0, 2 / 3)),
        ([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9], 0.5, (0.9, 0.5, 1.0)),
        # Precision 1 at 0.9 and at 0.8: the higher recall wins.
        ([1, 1, 0], [0.9, 0.8, 0.1], 0.5, (0.8, 1.0, 1.0)),
        # Precision 1/2 at 0.9 (with a tie), 2/4 at 0.7: again the higher recall.
        ([1, 0, 1, 0], [0.9, 0.9, 0.7, 0.7], 0.5, (0.7, 1.0, 0.5)),
        # All scores equal: the value itself, recall 1, precision is the prevalence.
        ([1, 0, 0, 0], [0.3] * 4, 0.95, (0.3, 1.0, 0.25)),
        # No negative: precision is 1 throughout, so the lowest score.
        ([1, 1, 1], [0.2, 0.9, 0.4], 0.5, (0.2, 1.0, 1.0)),
        # Recall 1 reaches down to the lowest positive and no further.
        ([1, 0, 1, 0], [0.9, 0.5, 0.3, 0.2], 1.0, (0.3, 1.0, 2 / 3)),
        ([1], [0.7], 1.0, (0.7, 1.0, 1.0)),
        # A threshold may be 0 or 1.
        ([1, 0], [0.0, 0.0], 0.95, (0.0, 1.0, 0.5)),
        ([1, 0], [1.0, 0.0], 0.95, (1.0, 1.0, 1.0)),
    ],
)
def test_threshold_of_cases_worked_by_hand(labels, scores, min_recall, expected):
    assert choose_threshold_by_min_recall(labels, scores, min_recall) == expected


@pytest.mark.parametrize(
    ("num_positives", "num_found", "min_recall"),
    # In floating point 0.07 * 100 and 0.55 * 100 lie above 7 and 55.
    [
        (20, 19, 0.95),
        (100, 7, 0.07),
        (100, 55, 0.55),
        (6, 5, 5 / 6),
        (3, 2, 2 / 3),
        (1000, 1, 1e-3),
    ],
)
def test_recall_is_reached_exactly(num_positives, num_found, min_recall):
    # After the wanted positives comes a negative, so that one more positive costs precision.
    scores = np.linspace(1, 0.1, num_positives + 1)
    labels = np.insert(np.ones(num_positives), num_found, 0)
    threshold, recall, precision = choose_threshold_by_min_recall(labels, scores, min_recall)
    assert threshold == scores[num_found - 1]
    assert (recall, precision) == (num_found / num_positives, 1.0)


def test_threshold_of_float32_scores_decides_as_it_was_chosen():
    rng = np.random.default_rng(0)
    labels = rng.random(500) < 0.6
    scores = np.clip(0.3 * labels + rng.random(500) * 0.7, 0, 1).astype(np.float32)
    threshold, recall, _ = choose_threshold_by_min_recall(labels, scores)
    assert threshold in scores.tolist()
    assert np.mean(scores[labels] >= threshold) == recall


def test_threshold_agrees_with_sklearns_curve():
    rng = np.random.default_rng(1)
    labels = (rng.random(2000) < 0.7).astype(int)
    scores = 1 / (1 + np.exp(-(2 * labels - 1 + rng.normal(size=2000))))
    threshold, recall, precision = choose_threshold_by_min_recall(labels, scores, 0.9)
    precisions, recalls, thresholds = metrics.precision_recall_curve(labels, scores)
    best = precisions[:-1][recalls[:-1] >= 0.9].max()
    row = thresholds.tolist().index(threshold)
    assert precision == precisions[row] == best
    assert recall == recalls[row]


@settings(max_examples=300, deadline=None)
@given(FILMS, st.one_of(st.sampled_from([*GRID, -0.5, 1.5]), st.floats(0, 1)))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_summary_is_what_sklearn_says(films, threshold):
    labels, scores = (np.array(column) for column in zip(*films, strict=True))
    summary = summarize_at_threshold(labels, scores, threshold)
    called = scores >= threshold
    (tn, fp), (fn, tp) = metrics.confusion_matrix(labels, called, labels=[0, 1]).tolist()
    expected = {
        "acc": metrics.accuracy_score(labels, called),
        "precision": metrics.precision_score(labels, called, zero_division=np.nan),
        "recall": metrics.recall_score(labels, called, zero_division=np.nan),
        "f1": metrics.f1_score(labels, called, zero_division=np.nan),
        "auroc": metrics.roc_auc_score(labels, scores) if len(set(labels)) == 2 else np.nan,
        "thr": threshold,
        "specificity": metrics.recall_score(labels, called, pos_label=0, zero_division=np.nan),
        "npv": metrics.precision_score(labels, called, pos_label=0, zero_division=np.nan),
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": tn,
    }
    assert list(summary) == list(expected)
    found = {key: math.nan if value is None else value for key, value in summary.items()}
    assert found == pytest.approx(expected, nan_ok=True, abs=1e-12)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


@pytest.mark.parametrize(
    ("labels", "scores", "threshold", "undefined"),
    [
        ([0, 1], [0.2, 0.3], 0.5, {"precision"}),
        ([0, 1], [0.6, 0.7], 0.5, {"npv"}),
        ([1, 1], [0.6, 0.2], 0.5, {"specificity", "auroc"}),
        ([0, 0], [0.6, 0.2], 0.5, {"recall", "auroc"}),
        ([0, 0], [0.1, 0.2], 0.5, {"recall", "auroc", "precision", "f1"}),
        ([1, 1], [0.6, 0.7], 0.5, {"specificity", "auroc", "npv"}),
    ],
)
def test_fractions_without_a_denominator_are_none(labels, scores, threshold, undefined):
    summary = summarize_at_threshold(labels, scores, threshold)
    assert {key for key, value in summary.items() if value is None} == undefined


def test_f1_is_zero_where_positives_are_all_missed():
    assert summarize_at_threshold([1, 0], [0.1, 0.1], 0.5)["f1"] == 0.0


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([], [], "there are no films"),
        ([1, 0], [0.5], "2 labels but p1 has 1"),
        ([1, 2], [0.5, 0.5], r"y_true\[1\] is 2.0; expected 0 or 1"),
        ([1, -1], [0.5, 0.5], r"y_true\[1\] is -1.0"),
        ([1, 0.5], [0.5, 0.5], r"y_true\[1\] is 0.5"),
        ([math.nan, 1], [0.5, 0.5], r"y_true\[0\] is nan"),
        (["NORMAL"], [0.5], "y_true holds <U6; expected numbers"),
        ([1, None], [0.5, 0.5], "y_true holds object"),
        ([1, 0], [0.5, math.nan], r"p1\[1\] is nan; expected a probability"),
        ([1, 0], [math.inf, 0.5], r"p1\[0\] is inf"),
        ([1, 0], [0.5, 1.0000001], r"p1\[1\] is 1.0000001"),
        ([1, 0], [0.5, -0.1], r"p1\[1\] is -0.1"),
        ([1, 0], [[0.5, 0.5]], r"p1 has shape \(1, 2\)"),
        (1, 0.5, r"y_true has shape \(\)"),
        ([[1], [0, 1]], [0.5, 0.5], "y_true is ragged"),
    ],
)
def test_unsound_labels_and_scores_are_one_line_errors(labels, scores, message):
    with pytest.raises(EvaluationError, match=message) as choosing:
        choose_threshold_by_min_recall(labels, scores)
    with pytest.raises(EvaluationError, match=message) as summarizing:
        summarize_at_threshold(labels, scores, 0.5)
    assert "\n" not in str(choosing.value) + str(summarizing.value)


def test_threshold_needs_a_positive():
    with pytest.raises(EvaluationError, match="none of the 2 labels is positive"):
        choose_threshold_by_min_recall([0, 0], [0.1, 0.2])


@pytest.mark.parametrize("min_recall", [0, -0.1, 1.0001, 95, math.nan])
def test_min_recall_is_a_fraction_above_zero(min_recall):
    with pytest.raises(EvaluationError, match=rf"min_recall is {min_recall}; expected .*\(0, 1\]"):
        choose_threshold_by_min_recall([0, 1], [0.1, 0.9], min_recall)


@pytest.mark.parametrize("threshold", [math.nan, math.inf, -math.inf])
def test_threshold_of_a_summary_is_finite(threshold):
    with pytest.raises(EvaluationError, match="expected a finite number"):
        summarize_at_threshold([0, 1], [0.1, 0.9], threshold)
