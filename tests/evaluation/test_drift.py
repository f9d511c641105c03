"""Whether other films are noticed, and films like the training films left alone."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from pneumoscope.data.quality import QUALITY_ATTRIBUTES, Quality, quality_range
from pneumoscope.evaluation.drift import SIZES, measure_drift
from pneumoscope.evaluation.film_table import FilmTable
from pneumoscope.evaluation.intervals import wilson_interval
from pneumoscope.evaluation.predictions import Predictions
from pneumoscope.labels import Label


def draw_films(seed, num_films, split, shift=0.0, share=0.7):
    rng = np.random.default_rng(seed)
    y = (rng.random(num_films) < share).astype(int)
    log_odds = 4 * y - 2 + rng.normal(0, 1.5, num_films) + shift * (y == 0)
    return Predictions.from_logits(
        path=[f"{split}/{i}.jpeg" for i in range(num_films)],
        patient_id=[f"{split}{i}" for i in range(num_films)],
        split=[split] * num_films,
        y_true=y,
        logits=np.stack([-log_odds / 2, log_odds / 2], axis=1),
    )


def draw_values(seed, num_films, **moved):
    rng = np.random.default_rng(seed)
    values = {name: 0.5 + 0.1 * rng.normal(size=num_films) for name in QUALITY_ATTRIBUTES}
    values["height_px"] = values["width_px"] = np.full(num_films, 224.0)
    return {name: column + moved.get(name, 0) for name, column in values.items()}


def table_of(films, values):
    hashes = np.array([f"{i:064x}" for i in range(len(films))])
    return FilmTable(films.path, hashes, values)


@pytest.fixture(scope="module")
def training():
    values = draw_values(1, 4000)
    return quality_range(
        Quality(*(float(values[name][i]) for name in QUALITY_ATTRIBUTES)) for i in range(4000)
    )


@pytest.fixture(scope="module")
def val():
    return draw_films(2, 1000, "val")


def test_films_like_the_training_films_are_left_alone(training, val):
    for seed in range(20):
        test = draw_films(100 + seed, 600, "test", share=0.3)  # another prevalence is no drift
        values = draw_values(seed, 600)
        found = measure_drift(val, test, 0.3, table_of(test, values), training)
        assert not found.differs
        judged = [q.share_outside for q in found.quality if q.attribute not in SIZES]
        assert np.mean(judged) == pytest.approx(0.01, abs=0.012)


def test_darker_films_are_noticed_by_name(training, val):
    test = draw_films(3, 600, "test")
    values = draw_values(4, 600, brightness=-0.25)
    found = measure_drift(val, test, 0.3, table_of(test, values), training)
    assert found.differs
    assert [q.attribute for q in found.quality if q.differs] == ["brightness"]
    (one,) = [q for q in found.quality if q.attribute == "brightness"]
    low, high = (training.value("brightness", level) for level in (0.005, 0.995))
    outside = (values["brightness"] < low) | (values["brightness"] > high)
    assert (one.num_outside, one.share_outside) == (outside.sum(), pytest.approx(outside.mean()))
    assert one.interval == wilson_interval(int(outside.sum()), 600)
    assert one.shift == pytest.approx(-0.25 / (2 * 0.6745 * 0.1), rel=0.08)
    assert found.num_outside_any >= outside.sum()


def test_larger_films_are_reported_and_not_judged(training, val):
    test = draw_films(3, 600, "test")
    values = draw_values(4, 600, height_px=1000)
    found = measure_drift(val, test, 0.3, table_of(test, values), training)
    (height,) = [q for q in found.quality if q.attribute == "height_px"]
    assert (height.share_outside, height.differs, height.shift) == (1, False, None)
    assert not found.differs
    assert found.num_outside_any < 60


def test_one_film_outside_among_few_proves_nothing(training, val):
    test = draw_films(3, 8, "test")
    values = draw_values(4, 8)
    values["contrast"][0] = 5.0
    found = measure_drift(val, test, 0.3, table_of(test, values), training)
    (one,) = [q for q in found.quality if q.attribute == "contrast"]
    assert one.num_outside == 1
    assert not one.differs


def test_moved_scores_of_one_class_are_noticed(val):
    test = draw_films(5, 600, "test", shift=1.5)
    found = measure_drift(val, test, 0.3)
    assert found.quality is None
    assert found.num_outside_any is None
    normal, pneumonia = found.scores
    assert (normal.label, normal.differs) == (Label.NORMAL, True)
    assert (pneumonia.label, pneumonia.differs) == (Label.PNEUMONIA, False)
    rows = [f.p_pneumonia[f.y_true == 0] for f in (val, test)]
    expected = ks_2samp(*rows)
    assert (normal.distance, normal.p_value) == pytest.approx((expected.statistic, expected.pvalue))
    assert normal.val_called == pytest.approx((rows[0] >= 0.3).mean())
    assert normal.test_called == pytest.approx((rows[1] >= 0.3).mean())


def test_a_class_that_is_missing_is_not_compared(val):
    test = draw_films(5, 50, "test", share=1.0)
    assert [one.label for one in measure_drift(val, test, 0.3).scores] == [Label.PNEUMONIA]
