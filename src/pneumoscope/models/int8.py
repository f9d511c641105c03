"""Arithmetic in 8-bit integers: how far it moves scores, and what it may decide.

The linear layers of a Vision Transformer multiply integers: weights are rounded to 129 levels for
each output, activations to 256 for each film. That is about twice as fast as float32 where the
processor has instructions for it, and moves scores a little. How far is measured when a bundle is
made, on its validation films, and kept in its ``int8.json``. A film whose score lies closer to the
threshold than twice the largest difference that was seen there is scored again in float32,
so decisions are those of float32.
"""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from pneumoscope.bundle import Bundle
from pneumoscope.errors import BundleError
from pneumoscope.labels import Label
from pneumoscope.models.graphs import graph_path
from pneumoscope.models.onnx_network import OnnxNetwork, num_processors

INT8_FILE = "int8.json"
"""Where a bundle keeps its :class:`Int8Check`."""

MAX_P_DIFFERENCE = 0.05
"""Largest difference of ``p_pneumonia`` on validation films with which int8 may be used."""

SAFETY_FACTOR = 2.0
"""Width of the band around the threshold that is scored again, over the largest difference."""


@dataclass(frozen=True)
class Int8Check:
    """How far int8 moved the scores of a bundle's validation films.

    Attributes:
        num_films: how many.
        max_log_odds_difference: largest difference of the log odds.
        max_p_difference: largest difference of ``p_pneumonia``, in [0, 1].
    """

    num_films: int
    max_log_odds_difference: float
    max_p_difference: float

    @classmethod
    def measure(
        cls, model: Mapping[str, Any], weights: Path, pixels: NDArray[np.uint8], logits: Any
    ) -> Self | None:
        """Returns how far int8 moves the scores, or ``None`` where the network has no int8 graph.

        Args:
            model: name and options of the network, as in ``config.json``.
            weights: the bundle's ``model.safetensors``.
            pixels: films (N, S, S), 0 black.
            logits: what float32 gives for them, (N, K).
        """
        graph = graph_path(model, "int8")
        if not graph.is_file() or not len(pixels):
            return None
        z8 = log_odds(_FilmByFilm(graph, weights)(pixels))
        z32 = log_odds(np.asarray(logits))
        return cls(
            num_films=len(pixels),
            max_log_odds_difference=float(np.abs(z8 - z32).max()),
            max_p_difference=float(np.abs(expit(z8) - expit(z32)).max()),
        )

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """Returns what is recorded in a bundle.

        Raises:
            BundleError: nothing is, or int8 moves the scores too far to be used.
        """
        path = bundle.path / INT8_FILE
        if not path.is_file():
            raise BundleError(
                f"{bundle.name} has no record of int8 on its validation films, which only Vision "
                "Transformers of the shipped recipes have; use float32"
            )
        check = cls(**json.loads(path.read_text(encoding="utf-8")))
        if not check.max_p_difference <= MAX_P_DIFFERENCE:
            raise BundleError(
                f"int8 moves p_pneumonia of {bundle.name} by up to {check.max_p_difference:.2g} on "
                f"validation films, expected at most {MAX_P_DIFFERENCE}; use float32"
            )
        return check

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of ``int8.json``."""
        return asdict(self)

    @property
    def band(self) -> float:
        """Distance to the threshold, in log odds, within which float32 decides."""
        return SAFETY_FACTOR * self.max_log_odds_difference


class Int8Network:
    """A bundle's network in int8, with float32 for the films near its threshold.

    Raises:
        BundleError: int8 may not be used for this bundle, or weights and graph do not fit.
    """

    def __init__(self, bundle: Bundle) -> None:
        """Opens the network twice, once in each arithmetic."""
        self._band = Int8Check.of(bundle).band
        self._threshold = float(logit(bundle.threshold))
        model, weights = bundle.config["model"], bundle.path / "model.safetensors"
        self._fast = _FilmByFilm(graph_path(model, "int8"), weights)
        self._exact = OnnxNetwork(graph_path(model), weights)

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Returns logits (B, K) for grey ``pixels`` (B, S, S), 0 black."""
        logits = self._fast(pixels)
        near = np.abs(log_odds(logits) - self._threshold) <= self._band
        if near.any():
            logits[near] = self._exact(pixels[near])
        return logits


class _FilmByFilm:
    """An int8 graph that sees one film at a time: those of a batch share a range of activations.

    So there is a thread for each of several films, where float32 has several for one batch.
    """

    def __init__(self, graph: Path, weights: Path) -> None:
        self._network = OnnxNetwork(graph, weights, num_threads=1)
        self._pool = ThreadPoolExecutor(num_processors())

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Returns logits (N, K) for ``pixels`` (N, S, S)."""
        films = (np.asarray(pixels[index : index + 1]) for index in range(len(pixels)))
        return np.concatenate(list(self._pool.map(self._network, films)))


def log_odds(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the log odds of pneumonia (N,) of logits (N, K)."""
    return np.asarray(logits[:, Label.PNEUMONIA] - logits[:, Label.NORMAL], np.float64)
