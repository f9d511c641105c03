"""Networks as ONNX graphs without weights, which come from the bundle.

A graph says how a network computes, which depends on its kind and size and not on what it has
learnt. So one small file an architecture is shipped here, and any bundle of that architecture,
trained today or retrained tomorrow, is screened without torch. ``python -m
pneumoscope.models.onnx_export`` writes them again after a network's code has changed.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

GRAPHS = Path(__file__).parent / "graphs"
"""Where the graphs lie."""

PIXELS, LOGITS = "pixels", "logits"
"""Names of the input, (B, S, S) uint8 with 0 black, and of the output, (B, K) float32."""

Precision = Literal["float32", "int8"]
"""Arithmetic of a graph."""


def graph_path(model: Mapping[str, Any], precision: Precision = "float32") -> Path:
    """Returns where the graph of a network lies, if there is one.

    Args:
        model: the network's name and options, as in a bundle's ``config.json``.
        precision: of its linear layers.

    >>> graph_path({"name": "cnn", "img_size": 128, "in_chans": 3}).name
    'cnn-128-772957de.onnx'
    """
    as_text = json.dumps(dict(model), sort_keys=True)
    digest = hashlib.sha256(as_text.encode()).hexdigest()[:8]
    suffix = "" if precision == "float32" else f"-{precision}"
    return GRAPHS / f"{model['name']}-{model['img_size']}-{digest}{suffix}.onnx"
