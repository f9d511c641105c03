"""The network of a bundle behind one call, with torch or, where it can, without."""

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from pneumoscope.bundle import Bundle
from pneumoscope.errors import BundleError
from pneumoscope.models.graphs import Precision, graph_path

Scorer = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""From grey films (B, S, S), 0 black, to logits (B, K)."""


def load_scorer(bundle: Bundle, precision: Precision = "float32") -> Scorer:
    """Returns the bundle's network, run by onnxruntime where that and a graph are there.

    Else torch runs it, which takes a second longer to start; the scores agree to 1e-4.

    Args:
        bundle: whose network.
        precision: ``"int8"`` is faster, moves scores a little and decides as float32 does; see
            :mod:`pneumoscope.models.int8`. It needs onnxruntime.

    Raises:
        BundleError: weights and configuration do not fit, or int8 may not be used for them.
        ModelError: the configuration names no network that this version knows.
    """
    if precision == "int8":
        if find_spec("onnxruntime") is None:
            raise BundleError("int8 needs onnxruntime, which is not here; pip install onnxruntime")
        from pneumoscope.models.int8 import Int8Network

        return Int8Network(bundle)
    graph = graph_path(bundle.config["model"])
    if graph.is_file() and find_spec("onnxruntime") is not None:
        from pneumoscope.models.onnx_network import OnnxNetwork

        return OnnxNetwork(graph, bundle.path / "model.safetensors")
    return load_torch_scorer(bundle)


def load_torch_scorer(bundle: Bundle) -> Scorer:
    """Returns the bundle's network, run by torch on the CPU; errors as :func:`load_scorer`."""
    from pneumoscope.models.bundles import load_network
    from pneumoscope.models.scoring import score_pixels

    network = load_network(bundle)
    return lambda pixels: score_pixels(network, pixels, batch_size=max(1, len(pixels)))
