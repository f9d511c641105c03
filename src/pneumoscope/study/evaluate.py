"""A finished model on labelled films: nothing is refitted, the threshold stays as it is."""

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch import nn

from pneumoscope.bundle import Bundle
from pneumoscope.data.audit import audit_folder
from pneumoscope.data.label_map import read_label_map, scan_mapped
from pneumoscope.data.phantom import is_phantom
from pneumoscope.data.scan import Film, FilmFolder, scan_labelled
from pneumoscope.data.split_comparison import compare_splits
from pneumoscope.errors import EvaluationError, RadiographError
from pneumoscope.evaluation.comparison import Comparison, compare
from pneumoscope.evaluation.evidence import FOLDER, write_evidence
from pneumoscope.evaluation.film_table import FilmTable
from pneumoscope.evaluation.predictions import Predictions
from pneumoscope.evaluation.report.document import Block
from pneumoscope.evaluation.report.gallery import gallery_blocks
from pneumoscope.evaluation.results import ModelResult
from pneumoscope.evaluation.shift_table import ShiftTable
from pneumoscope.files import make_folder
from pneumoscope.models.bundles import load_network
from pneumoscope.models.scoring import score_pixels
from pneumoscope.study.gallery import worst_cases
from pneumoscope.study.reading import MeasuredFilm, ReadFilm, read_films
from pneumoscope.study.robustness import sample_films, score_under_shifts
from pneumoscope.study.seen import count_seen

_BATCH = 64


def evaluate(
    bundle: Bundle,
    data: Path,
    out: Path,
    console: Console,
    *,
    labels: Path | None = None,
    robustness: bool = True,
    gallery: bool = True,
    skip_unreadable: bool = False,
) -> Comparison:
    """Returns the results of a bundle on the labelled films below ``data``, written to ``out``.

    Of a folder with ``train`` and ``test``, the test films are taken; of bare class folders,
    all. The validation figures beside them are the bundle's own.

    Args:
        bundle: what to evaluate; its frozen threshold is used.
        data: the labelled films.
        out: where report, tables and figures go, and the evidence they are computed from.
        console: for progress.
        labels: a file that says which folder or finding means which class.
        robustness: score altered copies of the films too.
        gallery: put the films that were decided most wrongly into the report.
        skip_unreadable: leave out films that cannot be decoded, naming them.

    Raises:
        ConfigError: ``labels`` is no such file.
        LayoutError: no labelled films there.
        RadiographError: a film cannot be read.
        EvaluationError: no film is left, or all are of one class.
        StorageError: ``out`` cannot be written.
    """
    folder = scan_mapped(data, read_label_map(labels)) if labels else scan_labelled(data)
    _check_classes(folder)  # rather told now than after the scoring
    make_folder(out)
    network = load_network(bundle)
    img_size = int(bundle.config["model"]["img_size"])
    scored = _score(network, img_size, folder, console, skip_unreadable=skip_unreadable)
    test = scored.predictions()
    own = ModelResult.from_bundle(bundle)
    result = replace(
        own,
        predictions=own.films("val").joined(test),
        phantom=own.phantom or is_phantom(folder.root),
        external=not _are_its_own(own, test),
        num_seen=count_seen(bundle, folder.root, scored.films),
        film_table=scored.table,
        shift_table=_alter(network, img_size, scored, console) if robustness else None,
        audit=_audit(folder, console),
    )
    shown: list[Block] = []
    if gallery:
        cases = worst_cases(network, img_size, folder.root, test, result.threshold)
        shown = gallery_blocks(cases, result.threshold)
    comparison = compare([result], out, shown)
    write_evidence(out / FOLDER, result)
    return comparison


@dataclass(frozen=True)
class _Scored:
    """The films that could be read, in their order, and what the network says of them.

    Attributes:
        films: which ones.
        logits: network outputs (N, 2).
        table: what was measured on them.
        sampled: indices of the films that are to be altered too.
        views: those films at 224 px, (len(sampled), 224, 224) uint8.
    """

    films: list[Film]
    logits: NDArray[np.float64]
    table: FilmTable
    sampled: list[int]
    views: NDArray[np.uint8]

    def predictions(self) -> Predictions:
        return Predictions.from_logits(
            path=[film.path for film in self.films],
            patient_id=[film.patient_id for film in self.films],
            split=["test"] * len(self.films),
            y_true=[int(film.label) for film in self.films],
            logits=self.logits,
        )


def _check_classes(folder: FilmFolder) -> None:
    labels = {film.label for film in folder.in_folder("test")}
    if len(labels) == 1:
        raise EvaluationError(
            f"all films to evaluate in {folder.root} are {labels.pop().name}; expected both classes"
        )


def _score(
    network: nn.Module,
    img_size: int,
    folder: FilmFolder,
    console: Console,
    *,
    skip_unreadable: bool,
) -> _Scored:
    """Returns the test films of a folder, scored.

    Raises:
        RadiographError: a film cannot be read and unreadable ones are not to be skipped.
        EvaluationError: none can be read.
    """
    wanted = folder.in_folder("test")
    labels = np.array([int(film.label) for film in wanted], dtype=np.int64)
    to_alter = {wanted[index].path for index in sample_films(labels)}
    measured: list[MeasuredFilm] = []
    logits: list[NDArray[np.float64]] = []
    views: dict[int, NDArray[np.uint8]] = {}
    with _progress(console) as bar:
        task = bar.add_task("scoring films", total=len(wanted))
        for batch in read_films(folder.root, wanted, img_size, _BATCH):
            found = [one for one in batch if isinstance(one, ReadFilm)]
            for error in (one for one in batch if isinstance(one, RadiographError)):
                if not skip_unreadable:
                    raise RadiographError(
                        f"{error}; --skip-unreadable leaves such films out"
                    ) from error
                console.print(f"skipped: {error}", style="yellow", markup=False, soft_wrap=True)
            for film in found:
                if film.measured.film.path in to_alter:
                    views[len(measured)] = film.view
                measured.append(film.measured)
            if found:
                logits.append(score_pixels(network, np.stack([film.pixels for film in found])))
            bar.update(task, advance=len(batch))
    if not measured:
        raise EvaluationError(
            f"no readable film in {folder.root}; expected labelled films to evaluate"
        )
    table = FilmTable.from_films(
        [one.film.path for one in measured],
        [one.sha256 for one in measured],
        [one.quality for one in measured],
    )
    return _Scored(
        [one.film for one in measured],
        np.concatenate(logits),
        table,
        list(views),
        np.stack(list(views.values())),
    )


def _alter(network: nn.Module, img_size: int, scored: _Scored, console: Console) -> ShiftTable:
    with _progress(console) as bar:
        task = bar.add_task("scoring altered films", total=None)
        log_odds = score_under_shifts(
            network,
            img_size,
            scored.views,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    return ShiftTable(scored.table.path[scored.sampled], log_odds)


def _audit(folder: FilmFolder, console: Console) -> dict[str, Any] | None:
    """Returns what the audit of a whole data set finds; None where there is no training part."""
    if not folder.in_folder("train"):
        return None
    with _progress(console) as bar:
        bar.add_task("auditing films", total=None)
        found = audit_folder(folder).to_dict()
    del found["root"]  # where films lie on this machine is nobody's business
    return {**found, "splits": compare_splits(folder)}


def _are_its_own(own: ModelResult, test: Predictions) -> bool:
    """Returns whether films are the bundle's own test films or some of them, by name and label."""

    def named(films: Predictions) -> set[tuple[str, int]]:
        names = (PurePosixPath(path).stem.lower() for path in films.path.tolist())
        return set(zip(names, films.y_true.tolist(), strict=True))

    return named(test) <= named(own.films("test"))


def _progress(console: Console) -> Progress:
    return Progress(console=console, transient=True, disable=not console.is_terminal)
