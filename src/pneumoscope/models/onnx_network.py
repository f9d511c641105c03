"""Pixels in, logits out, through onnxruntime: opens in a tenth of a second and needs no torch."""

import os
from pathlib import Path

import numpy as np
import onnxruntime
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import load_file

from pneumoscope.errors import BundleError
from pneumoscope.models.graphs import LOGITS, PIXELS


class OnnxNetwork:
    """A network that onnxruntime runs; call it with pixels, from as many threads as you like.

    Raises:
        BundleError: the weights are not safetensors, or do not fit the graph.
    """

    def __init__(self, graph: Path, weights: Path, *, num_threads: int | None = None) -> None:
        """Opens the graph around the weights of a bundle, in float32.

        Args:
            graph: the graph without weights.
            weights: the bundle's ``model.safetensors``.
            num_threads: of one call; by default one for each processor.
        """
        try:
            state = load_file(weights)
        except (OSError, safetensors.SafetensorError) as error:
            raise BundleError(f"{weights} cannot be read as safetensors: {error}") from error
        floats = {k: v.astype(np.float32) for k, v in state.items() if v.dtype.kind == "f"}
        options = onnxruntime.SessionOptions()
        # Films are decoded meanwhile; threads that spin while they wait would take their time.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.intra_op_num_threads = num_threads or num_processors()
        options.log_severity_level = 4  # its complaints become one line below
        options.add_external_initializers(
            list(floats), [onnxruntime.OrtValue.ortvalue_from_numpy(v) for v in floats.values()]
        )
        try:
            self._session = onnxruntime.InferenceSession(
                graph.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors share no other base
            detail = " ".join(str(error).split())[:200]
            raise BundleError(
                f"{weights} does not fit the network of config.json: {detail}"
            ) from error

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Returns logits (B, K) for grey ``pixels`` (B, S, S), 0 black."""
        (logits,) = self._session.run([LOGITS], {PIXELS: pixels})
        return np.asarray(logits, np.float64)


def num_processors() -> int:
    """Returns how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
