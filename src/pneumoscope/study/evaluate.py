"""A finished model on other films: nothing is refitted, the threshold stays as it is."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from pneumoscope.bundle import Bundle
from pneumoscope.data.phantom import is_phantom
from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.data.scan import Film, scan_labelled
from pneumoscope.errors import EvaluationError, RadiographError
from pneumoscope.evaluation.comparison import Comparison, compare
from pneumoscope.evaluation.predictions import Predictions
from pneumoscope.evaluation.results import ModelResult
from pneumoscope.files import make_folder
from pneumoscope.models.bundles import load_network
from pneumoscope.models.scoring import score_pixels

_BATCH = 64


def evaluate(
    bundle: Bundle, data: Path, out: Path, console: Console, *, skip_unreadable: bool = False
) -> Comparison:
    """Returns the results of a bundle on the labelled films below ``data``, written to ``out``.

    Of a folder with ``train`` and ``test``, the test films are taken; of bare class folders,
    all. The validation figures beside them are the bundle's own.

    Args:
        bundle: what to evaluate; its frozen threshold is used.
        data: the labelled films.
        out: where tables and figures go.
        console: for progress.
        skip_unreadable: leave out films that cannot be decoded, naming them.

    Raises:
        LayoutError: no labelled films there.
        RadiographError: a film cannot be read.
        EvaluationError: no film is left.
        StorageError: ``out`` cannot be written.
    """
    folder = scan_labelled(data)
    make_folder(out)  # rather told now than after the scoring
    network = load_network(bundle)
    img_size = int(bundle.config["model"]["img_size"])
    scored: list[Film] = []
    logits: list[NDArray[np.float64]] = []
    batch: list[NDArray[np.uint8]] = []

    def films() -> Iterator[tuple[Film, NDArray[np.uint8]]]:
        for film in track(folder.in_folder("test"), "scoring", console=console, transient=True):
            try:
                yield film, prepare(read_radiograph(folder.root / film.path), img_size)
            except RadiographError as error:
                if not skip_unreadable:
                    raise RadiographError(
                        f"{error}; --skip-unreadable leaves such films out"
                    ) from error
                console.print(f"skipped: {error}", style="yellow", markup=False, soft_wrap=True)

    for film, pixels in films():
        scored.append(film)
        batch.append(pixels)
        if len(batch) == _BATCH:
            logits.append(score_pixels(network, np.stack(batch)))
            batch.clear()
    if batch:
        logits.append(score_pixels(network, np.stack(batch)))
    if not scored:
        raise EvaluationError(f"no readable film in {data}; expected labelled films to evaluate")

    own = ModelResult.from_bundle(bundle)
    val = own.films("val")
    test = Predictions.from_logits(
        path=[film.path for film in scored],
        patient_id=[film.patient_id for film in scored],
        split=["test"] * len(scored),
        y_true=[int(film.label) for film in scored],
        logits=np.concatenate(logits),
    )
    result = replace(
        own,
        predictions=val.joined(test),
        phantom=own.phantom or is_phantom(folder.root),
    )
    return compare([result], out)
