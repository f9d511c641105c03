"""Networks without torch: the graphs that are shipped, the scores they give, what they refuse."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit

from pneumoscope.bundle import Bundle, open_bundle, shipped_bundles
from pneumoscope.config import load_recipe, shipped_recipes
from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.errors import BundleError
from pneumoscope.evaluation.predictions import read_predictions
from pneumoscope.models.build import build_model
from pneumoscope.models.bundles import save_weights
from pneumoscope.models.graphs import GRAPHS, graph_path
from pneumoscope.models.onnx_export import weightless_graph, with_weights
from pneumoscope.models.onnx_int8 import int8_graph
from pneumoscope.models.onnx_network import OnnxNetwork
from pneumoscope.models.scorer import load_scorer, load_torch_scorer
from pneumoscope.models.scoring import score_pixels

MODELS = {
    graph_path(model).name: model
    for model in (load_recipe(name).model.inference_options() for name in shipped_recipes())
}
TINY = {"name": "cnn", "img_size": 32, "in_chans": 1}
TINY_VIT = {"name": "vit_scratch", "img_size": 32, "in_chans": 3, "standardize": True}
VIEWS = {"flip_average": True, "zoom_average": True}
EXPORTED = {
    "cnn": TINY,
    "vit": TINY_VIT,
    "cnn with views": {**TINY, **VIEWS},
    "vit with views": {**TINY_VIT, **VIEWS},
}


def some_films(size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, size, size), np.uint8)


def saved(model: dict[str, object], folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    """The network as its saved weights have it, after its statistics have seen some films."""
    torch.manual_seed(0)
    network = build_model(**model)
    network.train()(torch.randn(4, network.in_chans, network.img_size, network.img_size))
    state = {key: value.to(dtype) for key, value in network.state_dict().items()}
    save_weights(network, folder / "model.safetensors", dtype)
    network.load_state_dict(state)
    return network.eval()


def test_every_recipe_has_its_graphs_and_no_other_is_there() -> None:
    in_int8 = {
        graph_path(model, "int8").name for model in MODELS.values() if model["name"] != "cnn"
    }
    assert {path.name for path in GRAPHS.glob("*")} == set(MODELS) | in_int8


def test_graphs_in_int8_are_made_from_those_in_float32() -> None:
    for model in MODELS.values():
        path = graph_path(model, "int8")
        content = path.read_bytes() if path.is_file() else None
        assert int8_graph(graph_path(model).read_bytes()) == content, path.name


def test_shipped_bundles_need_no_torch() -> None:
    for name in shipped_bundles():
        assert graph_path(open_bundle(name).config["model"]).is_file(), name


@pytest.mark.parametrize("name", [name for name in MODELS if "_b16" not in name])
def test_a_graph_computes_what_the_network_does(name: str, tmp_path: Path) -> None:
    """Fails when a network's code changes and its graph is not written again."""
    network = saved(MODELS[name], tmp_path, torch.float16)
    films = some_films(int(network.img_size))
    logits = OnnxNetwork(GRAPHS / name, tmp_path / "model.safetensors")(films)
    np.testing.assert_allclose(logits, score_pixels(network, films), atol=2e-4, rtol=1e-4)


@pytest.fixture(scope="module", params=EXPORTED)
def exported(request: pytest.FixtureRequest) -> tuple[dict[str, object], bytes]:
    """Options of a network, and the graph of one with weights of its own."""
    options = EXPORTED[request.param]
    torch.manual_seed(1)
    return options, weightless_graph(build_model(**options))


class TestExport:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
    def test_without_and_with_weights(
        self, exported: tuple[dict[str, object], bytes], dtype: torch.dtype, tmp_path: Path
    ) -> None:
        import onnxruntime

        options, graph = exported
        network = saved(options, tmp_path, dtype)
        films = some_films(32)
        expected = score_pixels(network, films)
        (tmp_path / "graph.onnx").write_bytes(graph)
        alone = OnnxNetwork(tmp_path / "graph.onnx", tmp_path / "model.safetensors")
        np.testing.assert_allclose(alone(films), expected, atol=1e-5)
        assert alone(films[:1]).shape == (1, 2)
        state = {key: value.to(dtype) for key, value in network.state_dict().items()}
        whole = with_weights(graph, state, {"model_id": "tiny"})
        session = onnxruntime.InferenceSession(whole)
        assert session.get_modelmeta().custom_metadata_map == {"model_id": "tiny"}
        np.testing.assert_allclose(
            session.run(["logits"], {"pixels": films})[0], expected, atol=1e-5
        )

    def test_the_graph_holds_no_weights(
        self, exported: tuple[dict[str, object], bytes], tmp_path: Path
    ) -> None:
        options, graph = exported
        assert weightless_graph(saved(options, tmp_path, torch.float16)) == graph
        assert str(Path.cwd()).encode() not in graph


class TestWeightsThatDoNotFit:
    graph = graph_path(MODELS["cnn-112-558c0f93.onnx"])

    def test_of_another_network(self, tmp_path: Path) -> None:
        saved(TINY_VIT, tmp_path, torch.float32)
        with pytest.raises(BundleError, match=r"does not fit the network of config\.json"):
            OnnxNetwork(self.graph, tmp_path / "model.safetensors")

    def test_of_another_size(self, tmp_path: Path) -> None:
        saved(TINY, tmp_path, torch.float32)  # one channel instead of three
        with pytest.raises(BundleError, match=r"does not fit the network of config\.json"):
            OnnxNetwork(self.graph, tmp_path / "model.safetensors")

    def test_that_are_no_weights(self, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors").write_bytes(b"nothing of the kind")
        with pytest.raises(BundleError, match="cannot be read as safetensors"):
            OnnxNetwork(self.graph, tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", shipped_bundles())
class TestShippedBundles:
    def test_phantoms(self, name: str, phantoms: Path) -> None:
        bundle = open_bundle(name)
        size = int(bundle.config["model"]["img_size"])
        paths = sorted((phantoms / "test").rglob("*.jpeg"))[::4]
        films = np.stack([prepare(read_radiograph(path), size) for path in paths])
        p = [self.p_pneumonia(load(bundle)(films)) for load in (load_scorer, load_torch_scorer)]
        np.testing.assert_allclose(*p, atol=1e-4, rtol=0)

    @pytest.mark.slow
    def test_the_whole_test_set(self, name: str, real_films: Callable[..., np.ndarray]) -> None:
        """Against the scores that evaluation stored: at most 1e-4 off, and no other decision."""
        bundle = open_bundle(name)
        stored = read_predictions(bundle.path / "predictions.csv").subset("test")
        size = int(bundle.config["model"]["img_size"])
        films = real_films(stored.path, size)
        scorer = load_scorer(bundle)
        assert isinstance(scorer, OnnxNetwork)
        logits = [scorer(films[start : start + 16]) for start in range(0, len(films), 16)]
        p = self.p_pneumonia(np.concatenate(logits))
        assert np.abs(p - stored.p_pneumonia).max() < 1e-4
        assert np.array_equal(p >= bundle.threshold, stored.p_pneumonia >= bundle.threshold)

    @pytest.mark.slow
    def test_the_exported_file_on_the_whole_test_set(
        self, name: str, real_films: Callable[..., np.ndarray], tmp_path: Path
    ) -> None:
        import onnxruntime

        from pneumoscope.screening.export import export_onnx

        bundle = open_bundle(name)
        export_onnx(bundle, tmp_path / "network.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "network.onnx")
        threshold = float(session.get_modelmeta().custom_metadata_map["threshold"])
        stored = read_predictions(bundle.path / "predictions.csv").subset("test")
        size = int(bundle.config["model"]["img_size"])
        films = real_films(stored.path, size)
        batches = range(0, len(films), 8)
        logits = [session.run(None, {"pixels": films[i : i + 8]})[0] for i in batches]
        p = self.p_pneumonia(np.concatenate(logits).astype(np.float64))
        assert np.abs(p - stored.p_pneumonia).max() < 1e-4
        assert np.array_equal(p >= threshold, stored.p_pneumonia >= bundle.threshold)

    def p_pneumonia(self, logits: np.ndarray) -> np.ndarray:
        return np.asarray(expit(logits[:, 1] - logits[:, 0]))


def test_without_onnxruntime_torch_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = open_bundle("cnn")
    films = some_films(128)
    expected = load_scorer(bundle)(films)
    monkeypatch.setattr("pneumoscope.models.scorer.find_spec", lambda name: None)
    scorer = load_scorer(bundle)
    assert not isinstance(scorer, OnnxNetwork)
    np.testing.assert_allclose(scorer(films), expected, atol=1e-4)


def test_a_network_without_a_graph_is_scored_by_torch(tmp_path: Path) -> None:
    network = saved(TINY, tmp_path, torch.float32)
    bundle = Bundle(tmp_path, {})
    (tmp_path / "config.json").write_text(json.dumps({"model": TINY}))
    films = some_films(32)
    np.testing.assert_array_equal(load_scorer(bundle)(films), score_pixels(network, films))


def test_scoring_loads_no_torch() -> None:
    code = (
        "import sys, numpy as np; from pneumoscope.bundle import default_bundle; "
        "from pneumoscope.models.scorer import load_scorer; "
        "load_scorer(default_bundle())(np.zeros((1, 128, 128), np.uint8)); "
        "print('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"
