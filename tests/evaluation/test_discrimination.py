"""Areas and curves of one model, against scikit-learn, with bands that hold them."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.bootstrap import auroc_interval
from pneumoscope.evaluation.delong import estimate_aurocs, interval_of
from pneumoscope.evaluation.discrimination import (
    FALSE_POSITIVE_RATES,
    RECALLS,
    measure_discrimination,
)


@pytest.fixture(scope="module")
def films():
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, 150)
    p = 1 / (1 + np.exp(-rng.normal(2 * y - 1, 1.2)))
    return y, p, rng.integers(0, 70, 150)


def test_it_is_made_of_what_is_tested_elsewhere(films):
    y, p, patients = films
    found = measure_discrimination(y, p, patients)
    assert found.auroc == pytest.approx(roc_auc_score(y, p))
    assert found.average_precision == pytest.approx(average_precision_score(y, p))
    assert found.delong == interval_of(estimate_aurocs(y, [p]))
    assert found.delong_by_patient == interval_of(estimate_aurocs(y, [p], patients))
    assert found.bootstrap == pytest.approx(auroc_interval(y, p, patients))
    low, high = found.average_precision_interval
    assert low < found.average_precision < high


def test_curves_lie_in_their_bands(films):
    found = measure_discrimination(*films)
    for curve, grid in ((found.roc, FALSE_POSITIVE_RATES), (found.precision_recall, RECALLS)):
        assert (curve.x == grid).all()
        low, high = curve.band
        assert (low <= curve.y + 1e-12).all()
        assert (curve.y <= high + 1e-12).all()
        assert (high - low).max() > 0.05
    assert (np.diff(found.roc.y) >= 0).all()


def test_the_same_seed_gives_the_same_intervals(films):
    one, again = measure_discrimination(*films), measure_discrimination(*films)
    assert one.bootstrap == again.bootstrap
    assert (one.roc.band[0] == again.roc.band[0]).all()
    other = measure_discrimination(*films, seed=1)
    assert other.bootstrap != one.bootstrap


def test_a_missing_class_or_patient():
    assert measure_discrimination([1, 1], [0.1, 0.9], ["a", "b"]) is None
    assert measure_discrimination([1], [0.1], ["a"]) is None
    found = measure_discrimination([0, 1], [0.1, 0.9], ["a", "b"])
    assert found.auroc == 1
    assert (found.delong, found.bootstrap, found.roc.band) == (None, None, None)
    with pytest.raises(EvaluationError, match=r"p1\[1\] is nan"):
        measure_discrimination([0, 1], [0.1, np.nan], ["a", "b"])
