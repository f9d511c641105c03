"""What a model could have learned instead of pneumonia: attributes that tell the classes apart."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata, spearmanr

from pneumoscope.evaluation.delong import estimate_aurocs, interval_of
from pneumoscope.evaluation.film_table import FilmTable
from pneumoscope.evaluation.intervals import Interval
from pneumoscope.evaluation.predictions import Predictions
from pneumoscope.labels import Label


@dataclass(frozen=True)
class Shortcut:
    """One attribute of the films, seen as a classifier and beside the model's scores.

    Attributes:
        attribute: its name.
        auroc: of the attribute alone; below 0.5 NORMAL films have more of it. Far from 0.5, a
            network could reach that much without looking at a lung.
        interval: 95 %, DeLong's with films of one patient as alike.
        correlation: Spearman's, of the attribute and the model's score among the films of each
            class; None where either does not vary. Within a class there is nothing to gain by it.
    """

    attribute: str
    auroc: float
    interval: Interval
    correlation: dict[str, float | None]


def measure_shortcuts(films: Predictions, film_table: FilmTable) -> list[Shortcut]:
    """Returns how far each measured attribute stands in for the label; none for one class.

    Args:
        films: scored films.
        film_table: what was measured on them.

    Raises:
        EvaluationError: the table lacks a film.
    """
    table = film_table.align(films.path.tolist())
    attributes = {
        "width / height": table.values["width_px"] / table.values["height_px"],
        **{name: table.values[name] for name in table.values},
    }
    # Ranks, because an AUROC depends on nothing else and its estimate wants numbers in [0, 1].
    ranks = {name: (rankdata(v) - 0.5) / len(films) for name, v in attributes.items()}
    aurocs = estimate_aurocs(films.y_true, list(ranks.values()), films.patient_id)
    if aurocs is None:
        return []
    return [
        Shortcut(
            attribute=name,
            auroc=float(aurocs.values[index]),
            interval=interval_of(aurocs, index),
            correlation={
                label.name: _correlation(values, films.log_odds, films.y_true == label)
                for label in Label
            },
        )
        for index, (name, values) in enumerate(attributes.items())
    ]


def _correlation(
    values: npt.NDArray[np.float64], scores: npt.NDArray[np.float64], rows: npt.NDArray[np.bool_]
) -> float | None:
    a, b = values[rows], scores[rows]
    if len(a) < 3 or a.min() == a.max() or b.min() == b.max():
        return None
    return float(spearmanr(a, b).statistic)
