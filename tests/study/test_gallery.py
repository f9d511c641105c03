"""The films on which a model was most wrong."""

from pathlib import Path

import numpy as np
import pytest

from pneumoscope.bundle import Bundle
from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.errors import RadiographError
from pneumoscope.evaluation.predictions import Predictions, read_predictions
from pneumoscope.labels import Label
from pneumoscope.models.bundles import load_network
from pneumoscope.study.gallery import NUM_CASES, worst_cases

FinishedRun = tuple[Path, Bundle, str]


def scored(films: Predictions, log_odds: np.ndarray) -> Predictions:
    return Predictions.from_logits(
        films.path.tolist(), films.patient_id.tolist(), films.split.tolist(), films.y_true,
        np.stack([-log_odds / 2, log_odds / 2], axis=1),
    )  # fmt: skip


def test_the_worst_of_both_kinds_and_no_other(finished_run: FinishedRun, phantoms: Path) -> None:
    bundle = finished_run[1]
    films = read_predictions(bundle.path / "predictions.csv").subset("test")
    rng = np.random.default_rng(0)
    test = scored(films, rng.normal(size=len(films)))
    network, img_size = load_network(bundle), int(bundle.config["model"]["img_size"])
    cases = worst_cases(network, img_size, phantoms, test, 0.5)
    for label, worst in ((Label.PNEUMONIA, np.sort), (Label.NORMAL, lambda p: np.sort(p)[::-1])):
        found = [case for case in cases if case.label == label]
        wrong = (test.y_true == label) & ((test.p_pneumonia >= 0.5) != (label == 1))
        assert [c.p_pneumonia for c in found] == worst(test.p_pneumonia[wrong])[:NUM_CASES].tolist()
        assert found
    case = cases[0]
    assert (case.film == prepare(read_radiograph(phantoms / case.path), 224)).all()
    assert case.overlay.shape == (224, 224, 3)


def test_none_where_all_are_right(finished_run: FinishedRun, phantoms: Path) -> None:
    bundle = finished_run[1]
    films = read_predictions(bundle.path / "predictions.csv").subset("test")
    perfect = scored(films, 4.0 * films.y_true - 2)
    network = load_network(bundle)
    assert worst_cases(network, 64, phantoms, perfect, 0.5) == []


def test_a_film_that_vanished_is_named(finished_run: FinishedRun, tmp_path: Path) -> None:
    bundle = finished_run[1]
    films = read_predictions(bundle.path / "predictions.csv").subset("test")
    wrong = scored(films, 2 - 4.0 * films.y_true)
    with pytest.raises(RadiographError, match="test/"):
        worst_cases(load_network(bundle), 64, tmp_path, wrong, 0.5)
