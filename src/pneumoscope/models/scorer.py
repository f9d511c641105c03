"""The network of a bundle behind one call, with torch or, where it can, without."""

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from pneumoscope.bundle import Bundle
from pneumoscope.models.graphs import graph_path

Scorer = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""From grey films (B, S, S), 0 black, to logits (B, K)."""


def load_scorer(bundle: Bundle) -> Scorer:
    """Returns the bundle's network, run by onnxruntime where that and a graph are there.

    Else torch runs it, which takes a second longer to start; the scores agree to 1e-4.

    Raises:
        BundleError: weights and configuration do not fit.
        ModelError: the configuration names no network that this version knows.
    """
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
