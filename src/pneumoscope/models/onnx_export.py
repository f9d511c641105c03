"""From a network to ONNX: a graph without weights, or one file that holds everything.

``python -m pneumoscope.models.onnx_export`` writes the graphs that are shipped, those of all
recipes. It needs the extra ``onnx``.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pneumoscope.errors import UsageError
from pneumoscope.files import write_bytes
from pneumoscope.models.graphs import GRAPHS, LOGITS, PIXELS, Precision, graph_path
from pneumoscope.models.onnx_int8 import int8_graph
from pneumoscope.models.scoring import network_input

_FOLDED_NUMBERS = 64
"""Constants up to this size are computed once and for all; larger ones would bloat the file."""


class _FromPixels(nn.Module):
    """A network that takes pixels, so that whoever runs it cannot scale them wrongly."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:  # (B, S, S) uint8
        in_chans = int(self.network.in_chans)  # type: ignore[arg-type]
        logits: Tensor = self.network(network_input(pixels.float(), in_chans))
        return logits  # (B, K)


def check_exporter() -> None:
    """Refuses to go on without the extra ``onnx``.

    Raises:
        UsageError: it is not installed.
    """
    if find_spec("onnx") is None or find_spec("onnxscript") is None:
        raise UsageError(
            "the packages onnx and onnxscript are not here; "
            "install them with pip install 'pneumoscope[onnx]'"
        )


def weightless_graph(network: nn.Module) -> bytes:
    """Returns the network as an ONNX model whose weights are named but not there.

    Every parameter keeps its name and shape in the state dict, and is marked as external.

    Raises:
        UsageError: the extra ``onnx`` is not installed.
    """
    check_exporter()
    import onnx
    from onnxscript import optimizer

    network = network.eval()
    prefix = "network."
    names = {prefix + key for key in network.state_dict()}
    size = int(network.img_size)  # type: ignore[arg-type]
    example = torch.zeros(2, size, size, dtype=torch.uint8)
    with _quietly():
        program = torch.onnx.export(
            _FromPixels(network),
            (example,),
            input_names=[PIXELS],
            output_names=[LOGITS],
            dynamic_shapes={PIXELS: {0: torch.export.Dim("films")}},
            dynamo=True,
            optimize=False,  # it would merge weights with one another
            verbose=False,
        )
    assert program is not None

    def may_fold(node: Any) -> bool | None:
        of_weights = any(value is not None and value.name in names for value in node.inputs)
        return False if of_weights and node.op_type not in ("Shape", "CastLike") else None

    optimizer.fold_constants(program.model, should_fold=may_fold, output_size_limit=_FOLDED_NUMBERS)
    optimizer.remove_unused_nodes(program.model)
    model = program.model_proto
    model.graph.ClearField("value_info")
    for node in model.graph.node:
        node.ClearField("metadata_props")  # where in the Python code it came from
        for field in (*node.input, *node.output):
            assert not field.startswith("/"), field  # no path of this machine
    for field in ("input", "output"):
        _rename(model, field, names, prefix)
    for tensor in model.graph.initializer:
        tensor.ClearField("metadata_props")
        if tensor.name in names:
            tensor.name = tensor.name.removeprefix(prefix)
            onnx.external_data_helper.set_external_data(tensor, location="model.safetensors")
            tensor.ClearField("raw_data")
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _rename(model: Any, field: str, names: set[str], prefix: str) -> None:
    for node in model.graph.node:
        values = getattr(node, field)
        for index, name in enumerate(values):
            if name in names:
                values[index] = name.removeprefix(prefix)


def with_weights(graph: bytes, state: Mapping[str, Tensor], properties: Mapping[str, str]) -> bytes:
    """Returns a graph and its weights as one ONNX model, in the precision of ``state``.

    Half-precision weights are widened when the model is opened, so arithmetic is float32.

    Args:
        graph: what :func:`weightless_graph` gave.
        state: the weights by name.
        properties: what else to write into the file, as names and texts.
    """
    import onnx

    model = onnx.load_model_from_string(graph)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        name, value = tensor.name, state[tensor.name].cpu().numpy()
        stored = f"{name}.stored" if value.dtype.name == "float16" else name
        tensor.CopyFrom(onnx.numpy_helper.from_array(value, stored))
        if stored != name:
            to = onnx.TensorProto.FLOAT
            casts.append(onnx.helper.make_node("Cast", [stored], [name], to=to))
    nodes = [*casts, *model.graph.node]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)
    onnx.helper.set_model_props(model, dict(properties))
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@contextlib.contextmanager
def _quietly() -> Any:
    """Keeps the exporter's progress and its remarks on torchvision from the screen."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def write_graphs(models: Sequence[Mapping[str, Any]], folder: Path = GRAPHS) -> list[Path]:
    """Returns the graphs written for networks given as in ``config.json``; others are removed."""
    from pneumoscope.labels import CLASS_NAMES
    from pneumoscope.models.build import build_model

    paths = set()
    for model in models:
        graph = weightless_graph(build_model(**model, num_classes=len(CLASS_NAMES)))
        precision: Precision
        for precision, content in (("float32", graph), ("int8", int8_graph(graph))):
            if content is not None:
                path = folder / graph_path(model, precision).name
                write_bytes(path, content)
                paths.add(path)
    for path in set(folder.glob("*.onnx")) - paths:
        path.unlink()
    return sorted(paths)


if __name__ == "__main__":
    from pneumoscope.config import load_recipe, shipped_recipes

    recipes = [load_recipe(name).model.inference_options() for name in shipped_recipes()]
    for written in write_graphs(recipes):
        print(f"{written.stat().st_size:9,} bytes  {written}")
