"""A bundle's network as one file for other programs, checked before it is written."""

import tempfile
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from scipy.special import expit

from pneumoscope.bundle import Bundle
from pneumoscope.errors import BundleError
from pneumoscope.files import write_bytes
from pneumoscope.labels import CLASS_NAMES, DISCLAIMER
from pneumoscope.models.bundles import load_network
from pneumoscope.models.graphs import LOGITS, PIXELS, Precision, graph_path
from pneumoscope.models.int8 import Int8Check, log_odds
from pneumoscope.models.onnx_export import check_exporter, weightless_graph, with_weights
from pneumoscope.models.onnx_network import OnnxNetwork
from pneumoscope.models.scoring import score_pixels

MAX_DIFFERENCE = 1e-4
"""Largest difference of ``p_pneumonia`` between the file and the bundle, in float32."""

MAX_INT8_DIFFERENCE = 5e-3
"""Likewise in int8, where the last digit of a number decides to which integer it is rounded."""

_NUM_CHECKED = 32


def export_onnx(bundle: Bundle, path: Path, precision: Precision = "float32") -> float:
    """Returns the largest difference of ``p_pneumonia`` found, after writing an ONNX file.

    Input ``pixels`` (B, S, S) uint8, 0 black, from ``prepare``; output ``logits`` (B, 2). The
    file's properties hold threshold, labels and model. Arithmetic is float32, in whatever
    precision the bundle stores its weights, or int8 for onnxruntime, where the bundle bears that.
    An int8 file holds no float32 network for films near the threshold: its property
    ``float32_band`` says how near, in log odds, a film's decision needs one. It should be given
    films one by one, since those of a batch share one range of activations.

    Args:
        bundle: whose network.
        path: the file to write.
        precision: arithmetic of the file.

    Raises:
        BundleError: the file's answers differ from those of the bundle in the same arithmetic by
            more than :data:`MAX_DIFFERENCE` or :data:`MAX_INT8_DIFFERENCE`, or int8 may not be
            used for it.
        UsageError: the extra ``onnx`` is not installed.
        StorageError: it cannot be written.
    """
    check_exporter()
    import onnxruntime

    weights = bundle.path / "model.safetensors"
    properties = {
        "model_id": bundle.model_id,
        "threshold": repr(bundle.threshold),
        "labels": ",".join(CLASS_NAMES),
        "preprocessing": str(bundle.config.get("preprocessing", "")),
        "disclaimer": DISCLAIMER,
    }
    films = _films_to_check(int(bundle.config["model"]["img_size"]))
    if precision == "int8":
        band = Int8Check.of(bundle).band
        properties |= {"precision": "int8", "float32_band": repr(band)}
        graph = graph_path(bundle.config["model"], "int8")
        content = _rounded(with_weights(graph.read_bytes(), load_file(weights), properties))
        of_bundle = OnnxNetwork(graph, weights)
        expected = np.concatenate([of_bundle(film[None]) for film in films])
        most = MAX_INT8_DIFFERENCE
    else:
        of_torch = load_network(bundle)
        graph = graph_path(bundle.config["model"])
        of_network = graph.read_bytes() if graph.is_file() else weightless_graph(of_torch)
        content = with_weights(of_network, load_file(weights), properties)
        expected = score_pixels(of_torch, films)
        most = MAX_DIFFERENCE
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = np.concatenate([session.run([LOGITS], {PIXELS: film[None]})[0] for film in films])
    difference = float(np.abs(expit(log_odds(found)) - expit(log_odds(expected))).max())
    if not difference < most:
        raise BundleError(
            f"the exported network differs by {difference:.2g} in p_pneumonia, expected less than "
            f"{most}; nothing was written"
        )
    write_bytes(path, content)
    return difference


def _rounded(content: bytes) -> bytes:
    """Returns an int8 model that holds rounded weights, instead of their rounding."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder, "rounded.onnx"))
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return Path(options.optimized_model_filepath).read_bytes()


def _films_to_check(size: int) -> np.ndarray:
    """Returns pictures of every coarseness from noise to a single shade, (32, S, S) uint8."""
    rng = np.random.default_rng(0)
    films = np.empty((_NUM_CHECKED, size, size), np.uint8)
    for index in range(_NUM_CHECKED):
        side = -(-size // 2 ** (index % 6))
        coarse = rng.integers(0, 256, (side, side), np.uint8)
        films[index] = np.kron(coarse, np.ones((2 ** (index % 6),) * 2, np.uint8))[:size, :size]
    return films
