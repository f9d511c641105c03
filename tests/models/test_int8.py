"""Networks in 8-bit integers: what they compute, who may use them, who decides in doubt."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from scipy.special import expit, logit

from pneumoscope.bundle import Bundle, open_bundle
from pneumoscope.errors import BundleError
from pneumoscope.evaluation.predictions import read_predictions
from pneumoscope.models.build import build_model
from pneumoscope.models.bundles import save_weights
from pneumoscope.models.graphs import graph_path
from pneumoscope.models.int8 import (
    INT8_FILE,
    MAX_P_DIFFERENCE,
    Int8Check,
    Int8Network,
    log_odds,
)
from pneumoscope.models.onnx_export import weightless_graph
from pneumoscope.models.onnx_int8 import int8_graph
from pneumoscope.models.onnx_network import OnnxNetwork
from pneumoscope.models.scorer import load_scorer
from pneumoscope.models.scoring import score_pixels
from pneumoscope.study.bundling import write_int8_check

VIT = {"name": "vit_scratch", "img_size": 112, "in_chans": 3}
"""The network of the recipe quick_scratch, whose graphs are shipped."""


def some_films(count: int) -> np.ndarray:
    """Films from flat to noisy."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 7, 7), np.uint8)
    return np.kron(coarse, np.ones((16, 16), np.uint8))


@dataclass
class Vit:
    """An untrained network, its bundle's folder, and its graphs."""

    network: torch.nn.Module
    folder: Path
    exact: OnnxNetwork
    fast: OnnxNetwork

    def bundle(self, threshold: float, **check: Any) -> Bundle:
        (self.folder / "operating_point.json").write_text(json.dumps({"threshold": threshold}))
        if check:
            record = {"num_films": 4, "max_log_odds_difference": 0.01, "max_p_difference": 0.01}
            (self.folder / INT8_FILE).write_text(json.dumps(record | check))
        return Bundle(self.folder, {"name": "tiny"})


@pytest.fixture(scope="module")
def graphs() -> dict[str, bytes]:
    """Both graphs of the network; they hold no weights."""
    exact = weightless_graph(build_model(**VIT))
    fast = int8_graph(exact)
    assert fast is not None
    return {"exact": exact, "fast": fast}


@pytest.fixture
def vit(graphs: dict[str, bytes], tmp_path: Path) -> Vit:
    torch.manual_seed(0)
    network = build_model(**VIT)
    with torch.no_grad():  # else all films score alike
        network.head.weight.normal_(std=0.3)
    weights = tmp_path / "model.safetensors"
    save_weights(network, weights, torch.float32)
    (tmp_path / "config.json").write_text(json.dumps({"model": VIT}))
    for name, content in graphs.items():
        (tmp_path / f"{name}.onnx").write_bytes(content)
    exact, fast = (OnnxNetwork(tmp_path / f"{n}.onnx", weights) for n in graphs)
    return Vit(network.eval(), tmp_path, exact, fast)


def test_a_linear_layer_is_what_its_definition_says(vit: Vit) -> None:
    """Weights in 129 levels an output, activations in 256 levels a film, worked out in numpy."""
    import onnx
    import onnxruntime
    from safetensors.numpy import load_file

    model = onnx.load_model_from_string((vit.folder / "fast.onnx").read_bytes())
    layer = next(node for node in model.graph.node if node.op_type == "DynamicQuantizeMatMul")
    for name in (layer.input[0], layer.output[0]):
        model.graph.output.append(onnx.ValueInfoProto(name=name))
    state = load_file(vit.folder / "model.safetensors")
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            tensor.CopyFrom(onnx.numpy_helper.from_array(state[tensor.name], tensor.name))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [layer.input[0], layer.output[0]]
    x, found = session.run(names, {"pixels": some_films(1)})
    w = state["blocks.0.attn.qkv.weight"].T
    w_scale = np.abs(w).max(axis=0) / 64
    w_int = np.rint(w / w_scale)
    assert np.abs(w_int).max() == 64
    low, high = min(0.0, x.min()), max(0.0, x.max())
    x_scale = (high - low) / 255
    zero = np.rint(-low / x_scale)
    x_int = np.clip(np.rint(x / x_scale) + zero, 0, 255)
    expected = ((x_int - zero) @ w_int) * x_scale * w_scale
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_scores_move_a_little(vit: Vit) -> None:
    films = some_films(8)
    exact = score_pixels(vit.network, films)
    fast = np.concatenate([vit.fast(films[i : i + 1]) for i in range(8)])
    moved = np.abs(log_odds(fast) - log_odds(exact))
    assert 1e-4 < moved.max() < 0.2 * np.ptp(log_odds(exact))


def test_an_output_without_weights_is_zero(vit: Vit) -> None:
    """A layer of zeros has no scale to divide by."""
    state = vit.network.state_dict()
    for name in state:
        if name.endswith("mlp.fc2.weight"):
            state[name].zero_()
    save_weights(vit.network, vit.folder / "model.safetensors", torch.float32)
    films = some_films(1)
    fast = OnnxNetwork(vit.folder / "fast.onnx", vit.folder / "model.safetensors")(films)
    assert np.abs(fast - score_pixels(vit.network, films)).max() < 0.3


def test_a_cnn_has_no_int8_graph() -> None:
    network = build_model("cnn", img_size=32, in_chans=1)
    assert int8_graph(weightless_graph(network)) is None


class TestCheck:
    def test_it_is_the_largest_difference(self, vit: Vit) -> None:
        films = some_films(5)
        exact = score_pixels(vit.network, films)
        found = Int8Check.measure(VIT, vit.folder / "model.safetensors", films, exact)
        fast = np.concatenate([vit.fast(films[i : i + 1]) for i in range(5)])
        z8, z32 = log_odds(fast), log_odds(exact)
        assert found is not None
        assert found.num_films == 5
        assert found.max_log_odds_difference == pytest.approx(np.abs(z8 - z32).max(), rel=1e-4)
        p_moved = np.abs(expit(z8) - expit(z32)).max()
        assert found.max_p_difference == pytest.approx(p_moved, rel=1e-4)

    def test_of_a_network_without_graph_there_is_none(self, vit: Vit) -> None:
        other = VIT | {"img_size": 48}
        assert Int8Check.measure(other, vit.folder / "none", some_films(1), None) is None

    def test_none_recorded(self, vit: Vit) -> None:
        with pytest.raises(BundleError, match=r"tiny has no record of int8 .* use float32"):
            Int8Network(vit.bundle(0.5))

    def test_scores_that_move_too_far(self, vit: Vit) -> None:
        bundle = vit.bundle(0.5, max_p_difference=0.18)
        with pytest.raises(BundleError, match=r"by up to 0.18 on validation films, expected at"):
            load_scorer(bundle, "int8")

    def test_a_difference_that_is_no_number(self, vit: Vit) -> None:
        with pytest.raises(BundleError, match="by up to nan"):
            Int8Check.of(vit.bundle(0.5, max_p_difference=float("nan")))


def test_a_run_leaves_the_record_beside_its_weights(vit: Vit) -> None:
    """Of its validation films, where its network has an int8 graph; else there is none."""
    films = some_films(4)

    class Films:
        def pixels(self, part: str, size: int, console: Console) -> np.ndarray:
            assert (part, size) == ("val", 112)
            return films

    logits = score_pixels(vit.network, films)
    write_int8_check(vit.folder, Films(), logits)  # type: ignore[arg-type]
    measured = Int8Check.measure(VIT, vit.folder / "model.safetensors", films, logits)
    assert measured is not None
    assert json.loads((vit.folder / INT8_FILE).read_text()) == pytest.approx(measured.to_dict())
    (vit.folder / INT8_FILE).unlink()
    other = {"name": "cnn", "img_size": 32, "in_chans": 1}
    (vit.folder / "config.json").write_text(json.dumps({"model": other}))
    write_int8_check(vit.folder, Films(), logits)  # type: ignore[arg-type]
    assert not (vit.folder / INT8_FILE).exists()


class TestSecondLook:
    def test_near_the_threshold_float32_decides(self, vit: Vit) -> None:
        films = some_films(8)
        z32 = log_odds(vit.exact(films))
        middle = float(np.sort(z32)[4])
        band = float(np.sort(np.abs(z32 - middle))[3])  # holds some films and not others
        bundle = vit.bundle(float(expit(middle)), max_log_odds_difference=band / 2)
        found = log_odds(load_scorer(bundle, "int8")(films))
        fast = log_odds(np.concatenate([vit.fast(films[i : i + 1]) for i in range(8)]))
        near = np.abs(fast - middle) <= band
        assert 0 < near.sum() < 8
        np.testing.assert_allclose(found, np.where(near, z32, fast), atol=1e-5)

    @pytest.mark.parametrize("threshold", [0.0, 1.0])
    def test_a_threshold_that_decides_all_alike(self, vit: Vit, threshold: float) -> None:
        films = some_films(3)
        found = load_scorer(vit.bundle(threshold, num_films=1), "int8")(films)
        fast = np.concatenate([vit.fast(films[i : i + 1]) for i in range(3)])
        np.testing.assert_allclose(found, fast, atol=1e-6)

    def test_a_film_is_scored_alike_in_any_company(self, vit: Vit) -> None:
        films = some_films(6)
        scorer = load_scorer(vit.bundle(0.5, num_films=1), "int8")
        together, alone = scorer(films), scorer(films[2:3])
        np.testing.assert_array_equal(together[2:3], alone)


def test_int8_needs_onnxruntime(vit: Vit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pneumoscope.models.scorer.find_spec", lambda name: None)
    with pytest.raises(BundleError, match="int8 needs onnxruntime"):
        load_scorer(vit.bundle(0.5, num_films=1), "int8")


@pytest.mark.slow
@pytest.mark.parametrize("split", ["val", "test"])
def test_the_shipped_scratch_decides_as_in_float32(
    split: str, real_films: Callable[..., np.ndarray]
) -> None:
    bundle = open_bundle("scratch")
    assert graph_path(bundle.config["model"], "int8").is_file()
    stored = read_predictions(bundle.path / "predictions.csv").subset(split)
    size = int(bundle.config["model"]["img_size"])
    z = log_odds(load_scorer(bundle, "int8")(real_films(stored.path, size)))
    positive = stored.p_pneumonia >= bundle.threshold
    # The film whose score is the threshold may fall to either side by rounding, in float32 too.
    sure = np.abs(stored.log_odds - logit(bundle.threshold)) > 1e-4
    assert np.array_equal((expit(z) >= bundle.threshold)[sure], positive[sure])
    assert np.abs(expit(z) - stored.p_pneumonia).max() < MAX_P_DIFFERENCE
