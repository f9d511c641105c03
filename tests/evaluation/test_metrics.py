"""Intervals against published values, closed formulas and a bootstrap done one film at a time."""

import json
import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation import bootstrap
from pneumoscope.evaluation.metrics import (
    auroc_interval,
    bundle_metrics,
    evaluate_predictions,
    wilson_interval,
)
from pneumoscope.evaluation.operating_point import summarize_at_threshold
from pneumoscope.evaluation.predictions import Predictions


@pytest.fixture
def films():
    """60 films of 25 patients with many equal scores."""
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 60)
    p = np.round(np.clip(0.3 * y + rng.random(60) * 0.7, 0, 1), 1)
    return y, p, rng.integers(0, 25, 60)


@pytest.mark.parametrize(
    ("hits", "cases", "low", "high"),
    # Newcombe, Stat. Med. 17 (1998) 857-872, Table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_is_the_published_one(hits, cases, low, high):
    assert wilson_interval(hits, cases) == pytest.approx([low, high], abs=5e-5)


@pytest.mark.parametrize("cases", [1, 7, 40])
def test_wilson_interval_solves_its_equation(cases):
    z = 1.959963984540054
    for hits in range(cases + 1):
        centre = (hits + z**2 / 2) / (cases + z**2)
        share = hits / cases
        spread = z / (cases + z**2) * math.sqrt(cases * share * (1 - share) + z**2 / 4)
        expected = [centre - spread, centre + spread]
        assert wilson_interval(hits, cases) == pytest.approx(expected, abs=1e-9)


def test_wilson_interval_of_nothing_is_none():
    assert wilson_interval(0, 0) is None


def test_auroc_interval_is_that_of_a_plain_loop_over_resamples(films):
    y, p, patient = films
    ids = np.unique(patient)
    rng = np.random.default_rng(5)
    aurocs = []
    for times in rng.multinomial(len(ids), np.full(len(ids), 1 / len(ids)), size=60):
        drawn = np.concatenate(
            [
                np.flatnonzero(patient == i)
                for i, n in zip(ids, times, strict=True)
                for _ in range(n)
            ]
        )
        aurocs.append(roc_auc_score(y[drawn], p[drawn]))
    expected = np.quantile(aurocs, [0.025, 0.975])
    found = auroc_interval(y, p, patient, num_resamples=60, seed=5)
    assert found == pytest.approx(expected.tolist(), abs=1e-12)


def test_auroc_interval_drops_resamples_of_one_class():
    y, p, patient = [0, 0, 1, 1], [0.1, 0.6, 0.5, 0.9], ["a", "b", "c", "d"]
    times = np.random.default_rng(0).multinomial(4, [0.25] * 4, size=60)
    aurocs = [
        roc_auc_score(np.repeat(y, n), np.repeat(p, n))
        for n in times
        if len(set(np.repeat(y, n))) == 2
    ]
    assert 0 < len(aurocs) < 60
    expected = np.quantile(aurocs, [0.025, 0.975]).tolist()
    assert auroc_interval(y, p, patient, num_resamples=60) == pytest.approx(expected)


def test_auroc_interval_does_not_depend_on_chunks_or_order(films, monkeypatch):
    y, p, patient = films
    whole = auroc_interval(y, p, patient)
    order = np.random.default_rng(0).permutation(len(y))
    assert auroc_interval(y[order], p[order], patient[order]) == whole
    monkeypatch.setattr(bootstrap, "_MAX_WEIGHTS", 7 * len(y))
    assert auroc_interval(y, p, patient) == whole
    assert auroc_interval(y, p, patient, seed=1) != whole


def test_auroc_interval_is_wider_where_films_of_a_patient_repeat():
    rng = np.random.default_rng(0)
    y = np.repeat(rng.integers(0, 2, 80), 5)
    p = np.repeat(rng.random(80), 5) * 0.8 + 0.2 * y
    low, high = auroc_interval(y, p, np.repeat(np.arange(80), 5))
    low_as_if_independent, high_as_if_independent = auroc_interval(y, p, np.arange(400))
    ratio = (high - low) / (high_as_if_independent - low_as_if_independent)
    assert ratio == pytest.approx(math.sqrt(5), rel=0.15)


def test_auroc_interval_holds_its_level():
    rng = np.random.default_rng(0)
    truth = 0.8413447  # of two normals 2 ** 0.5 apart
    hits = 0
    for seed in range(200):
        y = np.repeat([0, 1], 50)
        score = rng.normal(math.sqrt(2) * y, 1)
        p = 1 / (1 + np.exp(-score))
        low, high = auroc_interval(y, p, np.arange(100), num_resamples=400, seed=seed)
        hits += low <= truth <= high
    # A true 95 % lies in 0.91 to 0.98 of 200 trials with probability above 0.97.
    assert 0.91 <= hits / 200 <= 0.98


def test_auroc_interval_of_perfect_scores_is_a_point():
    assert auroc_interval([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], [1, 2, 3, 4]) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("y", "patient"),
    [
        ([1, 1, 1, 1], [1, 2, 3, 4]),
        ([0, 0, 0, 0], [1, 2, 3, 4]),
        ([0, 0, 1, 1], [1, 2, 3, 3]),
        ([0, 0, 1, 1], [1, 1, 1, 1]),
    ],
)
def test_auroc_interval_needs_two_patients_a_class(y, patient):
    assert auroc_interval(y, [0.1, 0.5, 0.5, 0.9], patient) is None


def test_auroc_interval_wants_one_patient_a_film():
    with pytest.raises(EvaluationError, match="there are 2 films but 3 patient ids"):
        auroc_interval([0, 1], [0.1, 0.9], ["a", "b", "c"])


def test_evaluation_holds_both_thresholds_with_intervals(make_result):
    result = make_result()
    test = result.films("test")
    found = evaluate_predictions(test, result.threshold)
    assert (found["num_films"], found["num_patients"]) == (60, 30)
    at_default = summarize_at_threshold(test.y_true, test.p_pneumonia, 0.5)
    assert found["at_0.5"] == at_default
    assert found["at_threshold"]["thr"] == result.threshold
    intervals = found["intervals"]
    assert intervals["confidence"] == 0.95
    assert intervals["at_0.5"]["recall"] == wilson_interval(at_default["tp"], 36)
    assert intervals["at_0.5"]["specificity"] == wilson_interval(at_default["tn"], 24)
    assert intervals["auroc"] == auroc_interval(test.y_true, test.p_pneumonia, test.patient_id)


def test_bundle_metrics_are_json_of_val_and_test(make_result):
    result = make_result()
    found = bundle_metrics(result.predictions, result.threshold)
    assert list(found) == ["val", "test"]
    assert found["val"]["num_films"] == 40
    assert found["test"] == evaluate_predictions(result.films("test"), result.threshold)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_bundle_metrics_leave_out_a_split_without_films(make_result):
    val = make_result().films("val")
    assert list(bundle_metrics(val, 0.5)) == ["val"]
    train = Predictions.from_logits(["a"], ["p"], ["train"], [1], [[0.0, 1.0]])
    with pytest.raises(EvaluationError, match="neither val nor test films"):
        bundle_metrics(train, 0.5)


def test_evaluation_of_one_class_has_no_specificity():
    films = Predictions.from_logits(
        ["a", "b"], ["p", "q"], ["test"] * 2, [1, 1], [[0.0, 1.0], [0.0, -1.0]]
    )
    found = evaluate_predictions(films, 0.2)
    assert found["at_threshold"]["recall"] == 1.0
    assert found["at_threshold"]["specificity"] is None
    assert found["intervals"]["at_threshold"]["specificity"] is None
    assert found["intervals"]["auroc"] is None
