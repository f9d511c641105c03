"""A bundle's network as one file for other programs, checked before it is written."""

from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from scipy.special import expit

from pneumoscope.bundle import Bundle
from pneumoscope.errors import BundleError
from pneumoscope.files import write_bytes
from pneumoscope.labels import CLASS_NAMES, DISCLAIMER
from pneumoscope.models.bundles import load_network
from pneumoscope.models.graphs import LOGITS, PIXELS, graph_path
from pneumoscope.models.onnx_export import check_exporter, weightless_graph, with_weights
from pneumoscope.models.scoring import score_pixels

MAX_DIFFERENCE = 1e-4
"""Largest difference of ``p_pneumonia`` between the file and the bundle."""

_NUM_CHECKED = 32


def export_onnx(bundle: Bundle, path: Path) -> float:
    """Returns the largest difference of ``p_pneumonia`` found, after writing an ONNX file.

    Input ``pixels`` (B, S, S) uint8, 0 black, from ``prepare``; output ``logits`` (B, 2). The
    file's properties hold threshold, labels and model. Arithmetic is float32, in whatever
    precision the bundle stores its weights.

    Raises:
        BundleError: the file's answers differ by more than :data:`MAX_DIFFERENCE`.
        UsageError: the extra ``onnx`` is not installed.
        StorageError: it cannot be written.
    """
    check_exporter()
    import onnxruntime

    network = load_network(bundle)
    shipped = graph_path(bundle.config["model"])
    graph = shipped.read_bytes() if shipped.is_file() else weightless_graph(network)
    properties = {
        "model_id": bundle.model_id,
        "threshold": repr(bundle.threshold),
        "labels": ",".join(CLASS_NAMES),
        "preprocessing": str(bundle.config.get("preprocessing", "")),
        "disclaimer": DISCLAIMER,
    }
    content = with_weights(graph, load_file(bundle.path / "model.safetensors"), properties)
    films = _films_to_check(int(bundle.config["model"]["img_size"]))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    p = [
        expit(logits[:, 1].astype(np.float64) - logits[:, 0])
        for logits in (session.run([LOGITS], {PIXELS: films})[0], score_pixels(network, films))
    ]
    difference = float(np.abs(p[0] - p[1]).max())
    if not difference < MAX_DIFFERENCE:
        raise BundleError(
            f"the exported network differs by {difference:.2g} in p_pneumonia, expected less than "
            f"{MAX_DIFFERENCE}; nothing was written"
        )
    write_bytes(path, content)
    return difference


def _films_to_check(size: int) -> np.ndarray:
    """Returns pictures of every coarseness from noise to a single shade, (32, S, S) uint8."""
    rng = np.random.default_rng(0)
    films = np.empty((_NUM_CHECKED, size, size), np.uint8)
    for index in range(_NUM_CHECKED):
        side = -(-size // 2 ** (index % 6))
        coarse = rng.integers(0, 256, (side, side), np.uint8)
        films[index] = np.kron(coarse, np.ones((2 ** (index % 6),) * 2, np.uint8))[:size, :size]
    return films
