"""Films in, decisions out: the frozen network and threshold of a bundle, applied file by file."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from torch import nn

from pneumoscope.bundle import Bundle, default_bundle, open_bundle
from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.radiograph import Radiograph, read_radiograph
from pneumoscope.errors import RadiographError
from pneumoscope.labels import Label
from pneumoscope.models.bundles import load_network
from pneumoscope.models.scoring import score_pixels

MAX_ASPECT_RATIO = 2.0
"""Longer over shorter side above which a film is warned about.

Networks see films squeezed to a square; of 30 training films the longest had 1.9.
"""

Status = Literal["ok", "abstained", "error"]


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
        warnings: what to know before believing the score; each a phrase about the film.
        model_id: names exactly these weights.
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


@dataclass(frozen=True)
class Screener:
    """A bundle ready to screen; make one with :meth:`load`."""

    bundle: Bundle
    network: nn.Module

    @classmethod
    def load(cls, bundle: Bundle | str | Path | None = None) -> "Screener":
        """Returns a screener for a bundle, its folder or shipped name, or the shipped default.

        Raises:
            BundleError: no bundle there, or it was changed.
        """
        if bundle is None:
            bundle = default_bundle()
        elif not isinstance(bundle, Bundle):
            bundle = open_bundle(bundle)
        return cls(bundle, load_network(bundle))

    def screen(self, path_or_bytes: str | Path | bytes) -> Screening:
        """Returns the screening of one file, or of the bytes of one.

        Whatever the file holds, nothing is raised: the status says ``"error"``.
        """
        return self._screen_batch([path_or_bytes])[0]

    def screen_many(
        self, paths: Iterable[str | Path | bytes], *, batch_size: int = 16
    ) -> Iterator[Screening]:
        """Yields the screening of every file, in order; unreadable ones do not stop the others.

        Args:
            paths: taken a batch at a time, so it may be endless.
            batch_size: films read before one forward pass; it changes speed, not decisions.
        """
        remaining = iter(paths)
        while batch := list(islice(remaining, batch_size)):
            yield from self._screen_batch(batch)

    def _screen_batch(self, batch: list[str | Path | bytes]) -> list[Screening]:
        img_size = int(self.bundle.config["model"]["img_size"])
        answers: list[Screening | tuple[str, tuple[str, ...]]] = []
        pixels: list[NDArray[np.uint8]] = []
        for source in batch:
            path = "<bytes>" if isinstance(source, bytes) else os.fspath(source)
            try:
                film = read_radiograph(source)
            except RadiographError as error:
                answers.append(self._error(path, str(error)))
                continue
            answers.append((path, self._warnings(film, img_size)))
            pixels.append(prepare(film, img_size))
        scores = iter(self._p_pneumonia(pixels))
        return [
            answer if isinstance(answer, Screening) else self._decide(*answer, next(scores))
            for answer in answers
        ]

    def _p_pneumonia(self, pixels: list[NDArray[np.uint8]]) -> list[float]:
        if not pixels:
            return []
        logits = score_pixels(self.network, np.stack(pixels), batch_size=len(pixels), device="cpu")
        # Softmax of two logits in float64, exactly as in predictions.csv.
        p = expit(logits[:, Label.PNEUMONIA] - logits[:, Label.NORMAL])
        return [float(value) for value in p]

    def _decide(self, path: str, warnings: tuple[str, ...], p_pneumonia: float) -> Screening:
        if not np.isfinite(p_pneumonia):
            return self._error(path, f"{path}: the network's score is not a number; is it trained?")
        positive = p_pneumonia >= self.bundle.threshold
        return Screening(
            path=path,
            status="ok",
            p_pneumonia=p_pneumonia,
            threshold=self.bundle.threshold,
            decision=(Label.PNEUMONIA if positive else Label.NORMAL).name,
            warnings=warnings,
            model_id=self.bundle.model_id,
            error=None,
        )

    def _error(self, path: str, message: str) -> Screening:
        return Screening(
            path=path,
            status="error",
            p_pneumonia=None,
            threshold=self.bundle.threshold,
            decision=None,
            warnings=(),
            model_id=self.bundle.model_id,
            error=message,
        )

    def _warnings(self, film: Radiograph, img_size: int) -> tuple[str, ...]:
        found = list(film.warnings)
        height_px, width_px = film.height_px, film.width_px
        if min(height_px, width_px) < img_size:
            found.append(
                f"has only {height_px} x {width_px} pixels; it was enlarged to "
                f"{img_size} x {img_size}"
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
