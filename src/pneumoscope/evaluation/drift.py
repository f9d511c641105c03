"""Whether test films look like those the model was trained and tuned on: quality and scores."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import ks_2samp

from pneumoscope.data.quality import QUALITY_ATTRIBUTES, QualityRange
from pneumoscope.evaluation.film_table import FilmTable
from pneumoscope.evaluation.intervals import (
    Interval,
    clopper_pearson_interval,
    wilson_interval,
)
from pneumoscope.evaluation.predictions import Predictions
from pneumoscope.labels import Label

TRAINING_RANGE = (0.005, 0.995)
"""Quantiles of the training films between which 99 % of films like them lie."""

EXPECTED_OUTSIDE = 0.01

MUCH_OUTSIDE = 0.05
"""Share outside the training range from which a population counts as different."""

FAR_SCORES = 0.1
"""Distance of two score distributions from which they count as different, if chance is out."""

SIZES = ("height_px", "width_px")
"""Attributes that are reported and not judged: films are resized before a network sees them."""

_ALPHA = 0.001


@dataclass(frozen=True)
class QualityDrift:
    """One attribute of the films against the training films.

    Attributes:
        attribute: one of ``QUALITY_ATTRIBUTES``.
        training_low: of the range of 99 % of the training films.
        training_high: of that range.
        training_median: their median.
        median: that of the films.
        shift: how far the median moved, in interquartile ranges of the training films; None
            where that range is 0.
        num_outside: films outside the range.
        share_outside: of all films; 1 % for films like the training films.
        interval: Wilson's, of ``share_outside``.
        differs: whether it counts as different.
    """

    attribute: str
    training_low: float
    training_high: float
    training_median: float
    median: float
    shift: float | None
    num_outside: int
    share_outside: float
    interval: Interval
    differs: bool


@dataclass(frozen=True)
class ScoreDrift:
    """The scores of one class of films against those of validation.

    Attributes:
        label: of the class.
        distance: largest difference of the two cumulative distributions, in [0, 1].
        p_value: that they are one, films as independent (Kolmogorov and Smirnov).
        val_called: share of the validation films at or above the threshold.
        test_called: share of the test films at or above it.
        differs: whether it counts as different.
    """

    label: Label
    distance: float
    p_value: float
    val_called: float
    test_called: float
    differs: bool


@dataclass(frozen=True)
class Drift:
    """What sets a test set apart from training and validation films.

    Attributes:
        quality: one entry an attribute; None where the films or the training films were not
            measured.
        scores: one entry a class that occurs in both.
        num_outside_any: films outside the training range in any judged attribute; None like
            ``quality``.
        num_films: how many films there are.
    """

    quality: tuple[QualityDrift, ...] | None
    scores: tuple[ScoreDrift, ...]
    num_outside_any: int | None
    num_films: int

    @property
    def differs(self) -> bool:
        """Whether anything counts as different."""
        in_quality = any(one.differs for one in self.quality or ())
        return in_quality or any(one.differs for one in self.scores)


def measure_drift(
    val: Predictions,
    test: Predictions,
    threshold: float,
    film_table: FilmTable | None = None,
    training: QualityRange | None = None,
) -> Drift:
    """Returns how test films differ from what the model was made with.

    Args:
        val: validation films, from the training source.
        test: test films.
        threshold: the frozen recall-first threshold.
        film_table: what was measured on the test films.
        training: what the training films look like.

    Raises:
        EvaluationError: the table lacks a film.
    """
    quality, num_outside_any = None, None
    if film_table is not None and training is not None:
        table = film_table.align(test.path.tolist())
        quality = tuple(_quality_drift(table, training, name) for name in QUALITY_ATTRIBUTES)
        judged = [n for n in QUALITY_ATTRIBUTES if n not in SIZES]
        outside = [_outside(table, training, name) for name in judged]
        num_outside_any = int(np.any(outside, axis=0).sum())
    scores = tuple(
        _score_drift(val, test, label, threshold)
        for label in Label
        if (val.y_true == label).any() and (test.y_true == label).any()
    )
    return Drift(quality, scores, num_outside_any, len(test))


def _outside(table: FilmTable, training: QualityRange, name: str) -> np.ndarray:
    low, high = (training.value(name, level) for level in TRAINING_RANGE)
    return (table.values[name] < low) | (table.values[name] > high)


def _quality_drift(table: FilmTable, training: QualityRange, name: str) -> QualityDrift:
    low, high = (training.value(name, level) for level in TRAINING_RANGE)
    lower, middle, upper = (training.value(name, level) for level in (0.25, 0.5, 0.75))
    median = float(np.median(table.values[name]))
    num_outside = int(_outside(table, training, name).sum())
    # More than chance explains, too: of few films, one outside is a large share.
    surely = clopper_pearson_interval(num_outside, len(table))
    beyond_chance = surely is not None and surely[0] > EXPECTED_OUTSIDE
    much = num_outside / len(table) > MUCH_OUTSIDE and beyond_chance
    return QualityDrift(
        attribute=name,
        training_low=low,
        training_high=high,
        training_median=middle,
        median=median,
        shift=(median - middle) / (upper - lower) if upper > lower else None,
        num_outside=num_outside,
        share_outside=num_outside / len(table),
        interval=wilson_interval(num_outside, len(table)),
        differs=name not in SIZES and much,
    )


def _score_drift(val: Predictions, test: Predictions, label: Label, threshold: float) -> ScoreDrift:
    before, after = (films.p_pneumonia[films.y_true == label] for films in (val, test))
    found = ks_2samp(before, after)
    distance, p_value = float(found.statistic), float(found.pvalue)
    return ScoreDrift(
        label=label,
        distance=distance,
        p_value=p_value,
        val_called=float((before >= threshold).mean()),
        test_called=float((after >= threshold).mean()),
        differs=distance > FAR_SCORES and p_value < _ALPHA,
    )
