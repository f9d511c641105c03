"""Films to look at: those on which the model was most wrong."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from pneumoscope.evaluation.report.document import Block, Gallery, Picture, Text, verbatim
from pneumoscope.evaluation.tables import format_threshold
from pneumoscope.labels import Label

_QUALITY = 85


@dataclass(frozen=True, eq=False)
class Case:
    """A film that was decided wrongly.

    Attributes:
        path: as in ``predictions.csv``.
        label: its reference label.
        p_pneumonia: the model's score.
        film: as it is measured, (S, S) uint8.
        overlay: the same under its heat map, (S, S, 3) uint8.
    """

    path: str
    label: Label
    p_pneumonia: float
    film: npt.NDArray[np.uint8]
    overlay: npt.NDArray[np.uint8]


def gallery_blocks(cases: Sequence[Case], threshold: float) -> list[Block]:
    """Returns the cases as pictures, misses first, each film beside its heat map.

    Args:
        cases: the worst first, of either class.
        threshold: the frozen recall-first threshold.
    """
    blocks: list[Block] = []
    for label, what in (
        (Label.PNEUMONIA, "Misses: PNEUMONIA films with the lowest scores"),
        (Label.NORMAL, "False alarms: NORMAL films with the highest scores"),
    ):
        pictures = tuple(_picture(case, threshold) for case in cases if case.label == label)
        if pictures:
            blocks.append(Gallery(f"{what}, threshold {format_threshold(threshold)}.", pictures))
    if not blocks:
        return [Text("No film was decided wrongly, so there is none to show.")]
    blocks.append(
        Text(
            "**This report holds pictures of patients' films**, with whatever is burnt into them, "
            "and names of files. Right of each film: in warm colours, what moved the score towards "
            "PNEUMONIA. Such a map shows what the network used. It is no localisation of disease, "
            "and looking plausible is no evidence that it is right.",
            level="note",
        )
    )
    return blocks


def _picture(case: Case, threshold: float) -> Picture:
    side_by_side = np.concatenate(
        [np.repeat(case.film[:, :, np.newaxis], 3, axis=2), case.overlay], axis=1
    )
    stream = io.BytesIO()
    Image.fromarray(side_by_side).save(stream, "JPEG", quality=_QUALITY)
    score = format_threshold(case.p_pneumonia)
    called = "called" if case.p_pneumonia >= threshold else "cleared"
    return Picture(
        f"{verbatim(case.path)}: score {score}, {called}; labelled {case.label.name}",
        f"A {case.label.name} film that was {called} with score {score}, and its heat map",
        stream.getvalue(),
    )
