"""The figures by which recipes are compared on blocks held out."""

from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from pneumoscope.evaluation.predictions import Predictions


@pytest.fixture(scope="module")
def val() -> Predictions:
    rng = np.random.default_rng(0)
    y = (np.arange(300) % 3 > 0).astype(int)
    odds = rng.normal(1.5 * y, 1.0)
    return Predictions.from_logits(
        path=[f"{i}.png" for i in range(300)],
        patient_id=[f"child {i // 2}" for i in range(300)],
        split=["val"] * 300,
        y_true=y.tolist(),
        logits=np.stack([-odds / 2, odds / 2], axis=1),
    )


@pytest.fixture(scope="module")
def no_style(val: Predictions) -> NDArray[np.float64]:
    """What style says where it says nothing; one normal film is odd by a hair."""
    p = np.full(len(val), 0.5)
    p[np.flatnonzero(val.y_true == 0)[0]] += 1e-9
    return p


def test_style_that_says_nothing_changes_nothing(
    block_validation: ModuleType, val: Predictions, no_style: NDArray[np.float64]
) -> None:
    found = block_validation.figures(val.y_true, val.log_odds, no_style)
    assert found["style_auroc"] == pytest.approx(roc_auc_score(val.y_true, val.log_odds))
    assert found["style_specificity"] == pytest.approx(found["specificity"])


def test_without_odd_films_there_are_no_figures_of_them(
    block_validation: ModuleType, val: Predictions
) -> None:
    found = block_validation.figures(val.y_true, val.log_odds, np.full(len(val), 0.5))
    assert (found["num_odd"], found["odd_auroc"], found["odd_specificity"]) == (0, None, None)


def test_odd_films_count_by_how_odd_they_are(
    block_validation: ModuleType, val: Predictions
) -> None:
    normal = val.y_true == 0
    worst = normal & (val.log_odds >= np.quantile(val.log_odds[normal], 0.9))
    style = np.where(worst, 0.9, 0.5)
    found = block_validation.figures(val.y_true, val.log_odds, style)
    assert found["style_auroc"] < found["auroc"]
    sick = val.y_true == 1
    assert found["odd_auroc"] == roc_auc_score(val.y_true[sick | worst], val.log_odds[sick | worst])


def test_specificity_is_that_at_the_threshold_that_keeps_recall(
    block_validation: ModuleType, val: Predictions, no_style: NDArray[np.float64]
) -> None:
    found = block_validation.figures(val.y_true, val.log_odds, no_style)
    sick, normal = (val.log_odds[val.y_true == label] for label in (1, 0))
    best = max(float((normal < limit).mean()) for limit in sick if (sick >= limit).mean() >= 0.95)
    assert found["specificity"] == best


def test_the_bound_is_that_of_draws_of_patients(
    block_validation: ModuleType, val: Predictions, no_style: NDArray[np.float64]
) -> None:
    plain = block_validation.figures(val.y_true, val.log_odds, no_style)
    bound = block_validation.specificity_bound(val)
    assert 0 < bound < plain["specificity"]
    patients = np.unique(val.patient_id)
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(1000):  # the same, spelled out
        chosen = rng.choice(patients, len(patients))
        films = np.concatenate([np.flatnonzero(val.patient_id == child) for child in chosen])
        y, odds = val.y_true[films], val.log_odds[films]
        limit = np.quantile(odds[y == 1], 0.05, method="lower")
        drawn.append((odds[y == 0] < limit).mean())
    assert bound == pytest.approx(np.quantile(drawn, 0.05), abs=0.03)


def test_films_are_calibrated_on_others(block_validation: ModuleType, val: Predictions) -> None:
    x = val.log_odds[:, None]
    on_themselves = LogisticRegression(C=np.inf).fit(x, val.y_true).predict_proba(x)
    loss = block_validation.calibrated_log_loss(val)
    assert log_loss(val.y_true, on_themselves) < loss < np.log(2)
