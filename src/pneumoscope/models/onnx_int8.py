"""From a graph in float32 to one that multiplies integers; the weights stay those of the bundle.

Weights are rounded inside the graph, from nodes that depend on nothing but weights, so onnxruntime
computes them once, when it opens the graph.
"""

from typing import Any

_LEVELS = 64
"""Largest size of a weight. With 127, sums overflow on x86 processors without VNNI, which would
then score otherwise; it made no measurable difference to the scores."""

_SMALLEST = 1e-12
"""Bounds the scale of an output whose weights are all zero."""


def int8_graph(graph: bytes) -> bytes | None:
    """Returns the graph with its linear layers in int8, or ``None`` if there is none.

    Weights are rounded for each output, activations when they are there; sums are in 32-bit
    integers; everything else stays as it is. The first layer (a convolution) and the head, whose
    cost is nothing, stay in float32.

    Args:
        graph: what :func:`pneumoscope.models.onnx_export.weightless_graph` gave.
    """
    import onnx

    model = onnx.load_model_from_string(graph)
    external = onnx.TensorProto.EXTERNAL
    weights = {t.name for t in model.graph.initializer if t.data_location == external}
    transposed = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "Transpose" and node.input[0] in weights
    }
    nodes: list[Any] = []
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in transposed:
            nodes += _in_int8(node, transposed[node.input[1]])
        else:
            nodes.append(node)
    if len(nodes) == len(model.graph.node):
        return None
    model.graph.ClearField("node")
    model.graph.node.extend([*_constants(), *nodes])
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _constants() -> list[Any]:
    from onnx.helper import make_node

    return [
        make_node("Constant", [], ["int8.levels"], value_float=float(_LEVELS)),
        make_node("Constant", [], ["int8.smallest"], value_float=_SMALLEST),
        make_node("Constant", [], ["int8.inputs"], value_ints=[0]),
    ]


def _in_int8(node: Any, name: str) -> list[Any]:
    """Returns the nodes that stand for ``x @ w``, with ``w`` (inputs, outputs) from ``name``."""
    from onnx import TensorProto
    from onnx.helper import make_node

    x, w = node.input
    return [
        make_node("Abs", [w], [f"{name}.abs"]),
        make_node("ReduceMax", [f"{name}.abs", "int8.inputs"], [f"{name}.largest"], keepdims=1),
        make_node("Max", [f"{name}.largest", "int8.smallest"], [f"{name}.range"]),
        make_node("Div", [f"{name}.range", "int8.levels"], [f"{name}.scale"]),
        make_node("Div", [w, f"{name}.scale"], [f"{name}.scaled"]),
        make_node("Round", [f"{name}.scaled"], [f"{name}.rounded"]),
        make_node("Cast", [f"{name}.rounded"], [f"{name}.int8"], to=TensorProto.INT8),
        make_node("Squeeze", [f"{name}.scale", "int8.inputs"], [f"{name}.scales"]),
        make_node(
            "DynamicQuantizeMatMul",
            [x, f"{name}.int8", f"{name}.scales"],
            list(node.output),
            domain="com.microsoft",
        ),
    ]
