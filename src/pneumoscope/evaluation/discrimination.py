"""How well scores tell the classes apart: AUROC, average precision, both curves with bands."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pneumoscope.evaluation.bootstrap import (
    NUM_RESAMPLES,
    percentile_band,
    percentile_interval,
    resample,
    varies,
)
from pneumoscope.evaluation.delong import estimate_aurocs, interval_of
from pneumoscope.evaluation.intervals import Interval
from pneumoscope.evaluation.operating_point import check_scores
from pneumoscope.evaluation.ranking import (
    Counts,
    Floats,
    Ranking,
    auroc,
    average_precision,
    precision_recall_curve_at,
    roc_curve_at,
)

FALSE_POSITIVE_RATES = np.linspace(0, 1, 101)
RECALLS = np.linspace(0, 1, 101)[1:]


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve on a grid with its pointwise 95 % band.

    Attributes:
        x: the grid, in [0, 1], shape (G,).
        y: the curve, in [0, 1], shape (G,).
        band: (low, high), each of shape (G,); None where the patients cannot give one.
    """

    x: Floats
    y: Floats
    band: tuple[Floats, Floats] | None


@dataclass(frozen=True, eq=False)
class Discrimination:
    """AUROC and average precision of one model, each interval at 95 %.

    Attributes:
        auroc: in [0, 1].
        delong: interval of the AUROC with films as independent.
        delong_by_patient: the same with films of one patient as alike (Obuchowski).
        bootstrap: interval of the AUROC by resampling patients.
        average_precision: in [0, 1].
        average_precision_interval: by resampling patients; it includes the chance in how common
            PNEUMONIA is among the films, on which average precision depends.
        roc: recall over ``FALSE_POSITIVE_RATES``.
        precision_recall: precision over ``RECALLS``.
    """

    auroc: float
    delong: Interval
    delong_by_patient: Interval
    bootstrap: Interval
    average_precision: float
    average_precision_interval: Interval
    roc: Curve
    precision_recall: Curve


def measure_discrimination(
    y_true: npt.ArrayLike,
    p1: npt.ArrayLike,
    patient_id: npt.ArrayLike,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Discrimination | None:
    """Returns AUROC, average precision and both curves, their intervals from one draw of patients.

    ``None`` where a class is missing. Intervals and bands are ``None`` where a class has films of
    fewer than two patients.

    Args:
        y_true: labels, 0 or 1, of shape (N,).
        p1: scores of class 1 in [0, 1], of shape (N,).
        patient_id: the patient of each film, of shape (N,).
        num_resamples: how many times the patients are drawn.
        seed: of the random draw.

    Raises:
        EvaluationError: ``patient_id`` has another length, or as for
            :func:`~pneumoscope.evaluation.operating_point.check_scores`.
    """
    y, p = check_scores(y_true, p1)
    may_resample = varies(y, patient_id)
    if y.min() == y.max():
        return None
    ranking = Ranking.of(y, p)
    found = _statistics(ranking.counts(np.ones((1, len(y)), dtype=np.int64)))
    resampled = np.full_like(found, np.nan)
    if may_resample:
        resampled = resample(
            patient_id,
            lambda weights: _statistics(ranking.counts(weights)),
            num_resamples=num_resamples,
            seed=seed,
        )
    (area, precision, roc, precision_recall), (areas, precisions, rocs, precision_recalls) = (
        np.split(values, np.cumsum([1, 1, len(FALSE_POSITIVE_RATES)]), axis=1)
        for values in (found, resampled)
    )
    by_film, by_patient = (estimate_aurocs(y, [p], patients) for patients in (None, patient_id))
    return Discrimination(
        auroc=float(area[0, 0]),
        delong=interval_of(by_film) if by_film else None,
        delong_by_patient=interval_of(by_patient) if by_patient else None,
        bootstrap=percentile_interval(areas[:, 0]),
        average_precision=float(precision[0, 0]),
        average_precision_interval=percentile_interval(precisions[:, 0]),
        roc=Curve(FALSE_POSITIVE_RATES, roc[0], percentile_band(rocs)),
        precision_recall=Curve(RECALLS, precision_recall[0], percentile_band(precision_recalls)),
    )


def _statistics(counts: Counts) -> Floats:
    """Returns the columns AUROC, average precision, ROC curve and precision-recall curve."""
    return np.column_stack(
        [
            auroc(counts),
            average_precision(counts),
            roc_curve_at(counts, FALSE_POSITIVE_RATES),
            precision_recall_curve_at(counts, RECALLS),
        ]
    )
