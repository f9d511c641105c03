"""Looking at the films on which a model was most wrong."""

from pathlib import Path

import numpy as np
from torch import nn

from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.quality import VIEW_PX
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.evaluation.predictions import Predictions
from pneumoscope.evaluation.report.gallery import Case
from pneumoscope.labels import Label
from pneumoscope.models.heatmap import class_heatmap, overlay

NUM_CASES = 6
"""Films of each kind of error."""


def worst_cases(
    network: nn.Module, img_size: int, root: Path, test: Predictions, threshold: float
) -> list[Case]:
    """Returns the misses with the lowest scores and the false alarms with the highest.

    Args:
        network: as :func:`~pneumoscope.models.heatmap.class_heatmap` takes it.
        img_size: side of the square that it takes, pixels.
        root: folder to which the films' paths are relative.
        test: the films and their scores.
        threshold: the frozen recall-first threshold.

    Raises:
        RadiographError: a film cannot be read any more.
    """
    called, positive = test.p_pneumonia >= threshold, test.y_true == Label.PNEUMONIA
    order = np.argsort(test.log_odds, kind="stable")
    misses = order[(positive & ~called)[order]][:NUM_CASES]
    false_alarms = order[(~positive & called)[order]][::-1][:NUM_CASES]
    rows = np.concatenate([misses, false_alarms])
    if not len(rows):
        return []
    films = [read_radiograph(root / path) for path in test.path[rows]]
    maps = class_heatmap(network, np.stack([prepare(film, img_size) for film in films]))
    views = [prepare(film, VIEW_PX) for film in films]
    return [
        Case(
            path=str(test.path[row]),
            label=Label(int(test.y_true[row])),
            p_pneumonia=float(test.p_pneumonia[row]),
            film=view,
            overlay=overlay(view, heatmap),
        )
        for row, view, heatmap in zip(rows, views, maps, strict=True)
    ]
