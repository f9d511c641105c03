"""Films in, decisions out: the frozen network and threshold of a bundle, applied file by file.

Decoding and scoring overlap: while the network scores one batch, threads read the next. Only
small square views wait in between, so memory does not grow with the number of films.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pneumoscope.bundle import Bundle, default_bundle, open_bundle
from pneumoscope.data.decoding import one_line
from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.quality import VIEW_PX
from pneumoscope.data.radiograph import Radiograph, read_radiograph
from pneumoscope.errors import RadiographError, UsageError
from pneumoscope.labels import Label
from pneumoscope.models.graphs import Precision
from pneumoscope.models.scorer import Scorer, load_scorer
from pneumoscope.screening.films import FilmSource, films_of
from pneumoscope.screening.gate import Gate, frame_warning
from pneumoscope.screening.zips import RefusedFilm, ZippedFilm

MAX_ASPECT_RATIO = 2.0
"""Longer over shorter side above which a film is warned about.

Networks see films squeezed to a square; of 30 training films the longest had 1.9.
"""

_MAX_READERS = 8

Status = Literal["ok", "abstained", "error"]

View = NDArray[np.uint8]


@dataclass(frozen=True)
class Screening:
    """What screening one file gave; :meth:`to_dict` is its public form.

    Attributes:
        path: the path as it was given, ``"<bytes>"`` for bytes.
        status: ``"ok"``; ``"abstained"`` where the film is not fit for a decision; ``"error"``
            where there is no readable film.
        p_pneumonia: the network's score in [0, 1], ``None`` unless there is one.
        threshold: the bundle's frozen operating point.
        decision: ``"PNEUMONIA"`` where ``p_pneumonia >= threshold``, else ``"NORMAL"``;
            ``None`` unless the status is ``"ok"``.
        warnings: what to know before believing the score; each a phrase about the film. Where
            the status is ``"abstained"`` the first says why.
        model_id: names exactly these weights, and int8 where that is the arithmetic.
        error: one line, ``None`` unless the status is ``"error"``.
    """

    path: str
    status: Status
    p_pneumonia: float | None
    threshold: float
    decision: str | None
    warnings: tuple[str, ...]
    model_id: str
    error: str | None

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields in the order of the public contract, ready for JSON."""
        return {
            "path": self.path,
            "status": self.status,
            "p_pneumonia": self.p_pneumonia,
            "threshold": self.threshold,
            "decision": self.decision,
            "warnings": list(self.warnings),
            "model_id": self.model_id,
            "error": self.error,
        }


@dataclass(frozen=True, eq=False)
class _Read:
    """A film that may be scored."""

    path: str
    pixels: View  # (S, S)
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Screener:
    """A bundle ready to screen; make one with :meth:`load`.

    Attributes:
        bundle: whose threshold decides.
        scorer: its network.
        gate: refuses what is no frontal chest film; ``None`` lets everything through.
        precision: of the scorer's arithmetic.
    """

    bundle: Bundle
    scorer: Scorer
    gate: Gate | None = None
    precision: Precision = "float32"

    @classmethod
    def load(
        cls,
        bundle: Bundle | str | Path | None = None,
        *,
        gate: bool = True,
        precision: Precision = "float32",
    ) -> "Screener":
        """Returns a screener for a bundle, its folder or shipped name, or the shipped default.

        Args:
            bundle: which one.
            gate: refuse what is no frontal chest film, instead of scoring it.
            precision: of the network's arithmetic. ``"int8"`` is faster, moves scores a little
                and decides as float32 does; ``model_id`` ends in ``-int8`` then.

        Raises:
            BundleError: no bundle there, or it was changed, or int8 may not be used for it.
        """
        if bundle is None:
            bundle = default_bundle()
        elif not isinstance(bundle, Bundle):
            bundle = open_bundle(bundle)
        scorer = load_scorer(bundle, precision)
        return cls(bundle, scorer, Gate.load() if gate else None, precision)

    @property
    def model_id(self) -> str:
        """Names exactly the weights, and the arithmetic where it is not float32."""
        suffix = "" if self.precision == "float32" else f"-{self.precision}"
        return self.bundle.model_id + suffix

    @property
    def img_size(self) -> int:
        """Side of the square that the network sees, in pixels."""
        return int(self.bundle.config["model"]["img_size"])

    def screen(self, path_or_bytes: FilmSource) -> Screening:
        """Returns the screening of one file, or of the bytes of one.

        Whatever the file holds, nothing is raised: the status says ``"error"``.
        """
        return self._decide_all([self._read(path_or_bytes)])[0][0]

    def screen_many(
        self, paths: Iterable[FilmSource], *, batch_size: int = 8
    ) -> Iterator[Screening]:
        """Yields the screening of every file, in order; unreadable ones do not stop the others.

        Args:
            paths: taken at most two batches ahead, so it may be endless. A folder or a zip
                archive stands for the films in it, as on the command line.
            batch_size: films of one forward pass; it changes speed, not decisions. More than
                eight of a Vision Transformer leave a processor's cache.
        """
        films = (film for path in paths for film in _expanded(path))
        for screening, _ in self.screen_views(films, batch_size=batch_size):
            yield screening

    def screen_views(
        self, paths: Iterable[FilmSource], *, batch_size: int = 8
    ) -> Iterator[tuple[Screening, View | None]]:
        """Yields as :meth:`screen_many`, with what the network saw, (S, S), of scored films.

        Raises:
            UsageError: ``batch_size`` is less than 1.
        """
        if batch_size < 1:
            raise UsageError(f"batch_size {batch_size}, expected at least 1")
        remaining = iter(paths)
        pool = ThreadPoolExecutor(min(_MAX_READERS, os.cpu_count() or 1))
        waiting: deque[Future[_Read | Screening]] = deque()

        def read_on() -> None:
            for source in islice(remaining, 2 * batch_size - len(waiting)):
                waiting.append(pool.submit(self._read, source))

        try:
            read_on()
            while waiting:
                batch = [waiting.popleft() for _ in range(min(batch_size, len(waiting)))]
                films = [future.result() for future in batch]
                read_on()
                yield from self._decide_all(films)
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, source: FilmSource) -> _Read | Screening:
        path = "<bytes>" if isinstance(source, bytes | bytearray | memoryview) else str(source)
        try:
            return self._prepared(path, source)
        except RadiographError as error:
            return self._answer(path, "error", error=str(error))
        except Exception as error:  # whatever a file does to a decoder, the others are screened
            message = f"{one_line(path)}: cannot be read here ({type(error).__name__})"
            return self._answer(path, "error", error=message)

    def _prepared(self, path: str, source: FilmSource) -> _Read | Screening:
        film = read_film(source)
        warnings = self._warnings(film)
        pixels = prepare(film, self.img_size)
        if self.gate is not None:
            view = pixels if self.img_size == VIEW_PX else prepare(film, VIEW_PX)
            objection = film.objection or self.gate.objection(view, film.height_px, film.width_px)
            if objection:
                return self._answer(path, "abstained", warnings=(objection, *warnings))
            if frame := frame_warning(view):
                warnings = (*warnings, frame)
        elif film.objection:
            warnings = (film.objection, *warnings)
        return _Read(path, pixels, warnings)

    def _decide_all(self, films: list[_Read | Screening]) -> list[tuple[Screening, View | None]]:
        pixels = [film.pixels for film in films if isinstance(film, _Read)]
        scores = iter(self._p_pneumonia(np.stack(pixels)) if pixels else ())
        return [
            (film, None) if isinstance(film, Screening) else self._decide(film, next(scores))
            for film in films
        ]

    def _p_pneumonia(self, pixels: View) -> list[float]:
        logits = self.scorer(pixels)
        # Softmax of two logits in float64, exactly as in predictions.csv.
        p = expit(logits[:, Label.PNEUMONIA] - logits[:, Label.NORMAL])
        return [float(value) for value in p]

    def _decide(self, film: _Read, p_pneumonia: float) -> tuple[Screening, View | None]:
        if not np.isfinite(p_pneumonia):
            message = f"{film.path}: the network's score is not a number; is it trained?"
            return self._answer(film.path, "error", error=message), None
        positive = p_pneumonia >= self.bundle.threshold
        decision = (Label.PNEUMONIA if positive else Label.NORMAL).name
        return self._answer(film.path, "ok", p_pneumonia, decision, film.warnings), film.pixels

    def _answer(
        self,
        path: str,
        status: Status,
        p_pneumonia: float | None = None,
        decision: str | None = None,
        warnings: tuple[str, ...] = (),
        error: str | None = None,
    ) -> Screening:
        return Screening(
            path=path,
            status=status,
            p_pneumonia=p_pneumonia,
            threshold=self.bundle.threshold,
            decision=decision,
            warnings=warnings,
            model_id=self.model_id,
            error=error,
        )

    def _warnings(self, film: Radiograph) -> tuple[str, ...]:
        found = list(film.warnings)
        height_px, width_px = film.height_px, film.width_px
        if min(height_px, width_px) < self.img_size:
            found.append(
                f"has only {height_px} x {width_px} pixels; it was enlarged to "
                f"{self.img_size} x {self.img_size}"
            )
        if max(height_px, width_px) > MAX_ASPECT_RATIO * min(height_px, width_px):
            found.append(
                f"has an unusual shape, {height_px} x {width_px} pixels; "
                "it was squeezed to a square"
            )
        if self.bundle.manifest.get("phantom"):
            found.append(
                "was compared with a threshold that was chosen on PHANTOM films"
                if self.bundle.manifest.get("converted_from")
                else "was scored by a network that has only seen PHANTOM films"
            )
        return tuple(found)


def _expanded(source: FilmSource) -> Sequence[FilmSource]:
    return films_of(str(source)) if isinstance(source, str | Path) else [source]


def read_film(source: FilmSource) -> Radiograph:
    """Returns the film in a file, in bytes, or in an archive.

    Raises:
        RadiographError: as :func:`~pneumoscope.data.radiograph.read_radiograph`.
    """
    if isinstance(source, bytearray | memoryview):
        source = bytes(source)
    if not isinstance(source, ZippedFilm | RefusedFilm):
        return read_radiograph(source)
    content = source.read()
    try:
        return read_radiograph(content)
    except RadiographError as error:
        raise RadiographError(str(error).replace("<bytes>", str(source), 1)) from error
