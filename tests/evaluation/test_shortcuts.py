"""Attributes as classifiers, against scikit-learn and scipy."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from pneumoscope.data.quality import QUALITY_ATTRIBUTES
from pneumoscope.evaluation.film_table import FilmTable
from pneumoscope.evaluation.shortcuts import measure_shortcuts


@pytest.fixture
def films(make_result):
    return make_result().films("test")


def table_of(films, values):
    return FilmTable(films.path, np.array([f"{i:064x}" for i in range(len(films))]), values)


def test_an_attribute_alone_and_beside_the_score(films):
    rng = np.random.default_rng(2)
    values = {name: rng.random(60) for name in QUALITY_ATTRIBUTES}
    values["height_px"], values["width_px"] = (rng.integers(100, 900, 60) * 1.0 for _ in range(2))
    values["brightness"] = films.y_true + 0.8 * rng.random(60) - 0.4 * (films.y_true == 0)
    values["contrast"] = np.round(values["contrast"], 1)  # ties
    found = {one.attribute: one for one in measure_shortcuts(films, table_of(films, values))}
    assert list(found) == ["width / height", *QUALITY_ATTRIBUTES]
    for name in QUALITY_ATTRIBUTES:
        assert found[name].auroc == pytest.approx(roc_auc_score(films.y_true, values[name]))
        for label in (0, 1):
            rows = films.y_true == label
            expected = spearmanr(values[name][rows], films.log_odds[rows]).statistic
            shown = found[name].correlation[("NORMAL", "PNEUMONIA")[label]]
            assert shown == pytest.approx(expected)
    shape = values["width_px"] / values["height_px"]
    assert found["width / height"].auroc == pytest.approx(roc_auc_score(films.y_true, shape))
    low, high = found["contrast"].interval
    assert low < found["contrast"].auroc < high


def test_what_does_not_vary_is_at_chance_and_uncorrelated(films):
    values = {name: np.full(60, 224.0) for name in QUALITY_ATTRIBUTES}
    for one in measure_shortcuts(films, table_of(films, values)):
        assert one.auroc == 0.5
        assert one.correlation == {"NORMAL": None, "PNEUMONIA": None}


def test_films_of_one_class_show_nothing(make_result):
    films = make_result(test_labels=[1] * 6).films("test")
    values = {name: np.arange(1.0, 7) for name in QUALITY_ATTRIBUTES}
    assert measure_shortcuts(films, table_of(films, values)) == []
