"""Weights from outside to a bundle: the same answers, honest words, nothing half-written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

from pneumoscope.bundle import Bundle, open_bundle
from pneumoscope.cli import main
from pneumoscope.data.scan import scan_folder
from pneumoscope.data.split import open_split
from pneumoscope.errors import ConfigError, PneumoscopeError, UsageError
from pneumoscope.evaluation.comparison import compare, prepare_results
from pneumoscope.evaluation.predictions import read_predictions
from pneumoscope.evaluation.results import ModelResult, seed_groups
from pneumoscope.evaluation.tables import headline_table
from pneumoscope.files import sha256_of
from pneumoscope.models.build import build_model
from pneumoscope.models.bundles import load_network
from pneumoscope.screening.screener import Screener
from pneumoscope.study.convert import Outsider, convert
from pneumoscope.study.run import Source

FinishedRun = tuple[Path, Bundle, str]
Convert = Callable[..., Bundle]


@pytest.fixture
def file(finished_run: FinishedRun, tmp_path: Path) -> Path:
    """The finished run's weights as a training program elsewhere might have saved them."""
    state = load_network(finished_run[1]).state_dict()
    path = tmp_path / "old cnn (best).pth"
    torch.save({"epoch": 2, "state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    return path


@pytest.fixture
def converted(file: Path, phantoms: Path, tmp_path: Path, console: Console) -> Convert:
    """Converts a file, by default the CNN's, on the phantoms, to ``tmp_path/bundle``."""

    def with_options(
        file: Path = file,
        model: str = "cnn",
        *,
        split: Path | None = None,
        data: Path = phantoms,
        out: Path = tmp_path / "bundle",
        **options: Any,
    ) -> Bundle:
        if model == "cnn":
            options = {"img_size": 32, **options}
        return convert(file, Outsider(model, **options), Source(data, split), out, console)

    return with_options


def printed(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def save_vit(path: Path, name: str, **options: Any) -> dict[str, Tensor]:
    """Saves a random Vision Transformer of 32 px; its answers differ from film to film."""
    torch.manual_seed(5)
    network = build_model(name, img_size=32, **options)
    torch.nn.init.normal_(network.get_parameter("head.weight"), std=1.0)
    torch.save(network.state_dict(), path)
    return dict(network.state_dict())


class TestTheSameNetwork:
    def test_it_answers_and_decides_as_the_run_it_came_from(
        self, converted: Convert, finished_run: FinishedRun
    ) -> None:
        bundle, original = converted(), finished_run[1]
        assert bundle.path.name == "bundle"
        assert open_bundle(bundle.path).manifest == bundle.manifest
        ours, theirs = (read_predictions(b.path / "predictions.csv") for b in (bundle, original))
        assert ours.path.tolist() == theirs.path.tolist()
        assert ours.split.tolist() == theirs.split.tolist()
        np.testing.assert_allclose(ours.logits, theirs.logits, atol=1e-5)
        assert bundle.threshold == pytest.approx(original.threshold, abs=1e-6)
        assert bundle.operating_point["rule"] == original.operating_point["rule"]
        assert bundle.config == original.config
        assert bundle.metrics["test"]["at_threshold"] == pytest.approx(
            original.metrics["test"]["at_threshold"], abs=1e-5
        )

    def test_every_weight_is_stored_as_it_was(
        self, converted: Convert, finished_run: FinishedRun
    ) -> None:
        found = load_network(converted()).state_dict()
        for key, value in load_network(finished_run[1]).state_dict().items():
            assert torch.equal(found[key], value), key

    def test_screening_with_it_gives_the_scores_it_holds(
        self, converted: Convert, phantoms: Path
    ) -> None:
        bundle = converted()
        test = read_predictions(bundle.path / "predictions.csv").subset("test")
        screening = Screener.load(bundle).screen(phantoms / str(test.path[0]))
        assert screening.p_pneumonia == pytest.approx(float(test.p_pneumonia[0]), abs=1e-5)
        assert screening.threshold == bundle.threshold
        digest = sha256_of(bundle.path / "model.safetensors")[:12]
        assert screening.model_id == f"old-cnn-best-{digest}"

    @pytest.mark.parametrize(
        ("gelu", "function"), [("erf", "none"), ("tanh", "tanh"), (None, "tanh")]
    )
    def test_a_vit_keeps_its_gelu(
        self, converted: Convert, tmp_path: Path, console: Console, gelu: Any, function: str
    ) -> None:
        original = build_model("vit_ti16", img_size=32, **({"gelu": gelu} if gelu else {})).eval()
        original.load_state_dict(save_vit(tmp_path / "timm.pth", "vit_ti16"))
        bundle = converted(tmp_path / "timm.pth", "vit_ti16", gelu=gelu)
        assert bundle.config["model"] == {
            "name": "vit_ti16", "img_size": 32, "in_chans": 3, **({"gelu": gelu} if gelu else {}),
        }  # fmt: skip
        found = load_network(bundle)
        assert {m.approximate for m in found.modules() if isinstance(m, torch.nn.GELU)} == {
            function
        }
        x = torch.rand(4, 3, 32, 32) * 2 - 1
        with torch.no_grad():
            assert torch.equal(found(x), original(x))
        assert ("taking the tanh GELU of Google's vit_ti16" in printed(console)) == (gelu is None)

    def test_channels_size_and_standardizing_of_a_vit(
        self, converted: Convert, tmp_path: Path
    ) -> None:
        save_vit(tmp_path / "grey.pth", "vit_scratch", in_chans=1)
        bundle = converted(tmp_path / "grey.pth", "vit_scratch", standardize=True)
        expected = {"name": "vit_scratch", "img_size": 32, "in_chans": 1, "standardize": True}
        assert bundle.config["model"] == expected


class TestHonesty:
    def test_the_manifest_says_where_the_weights_are_from(
        self, converted: Convert, file: Path
    ) -> None:
        bundle = converted(title="Old CNN")
        assert bundle.manifest["converted_from"] == {
            "file": "old cnn (best).pth",
            "sha256": sha256_of(file),
            "num_bytes": file.stat().st_size,
            "trained_on": "not known",
        }
        assert (bundle.name, bundle.manifest["title"]) == ("old-cnn-best", "Old CNN")
        for key in ("seed", "train_time_s", "recipe_sha256", "best_epoch"):
            assert bundle.manifest[key] is None, key
        # Nothing is claimed about a training that is not known.
        assert set(bundle.manifest["recipe"]) == {
            "name", "title", "model", "data", "operating_point", "bundle",
        }  # fmt: skip
        assert bundle.manifest["phantom"] is True

    def test_the_card_and_the_console_warn(
        self, converted: Convert, file: Path, console: Console
    ) -> None:
        card = (converted().path / "MODEL_CARD.md").read_text()
        assert "**It is not known which films this network was trained on.**" in card
        assert f"file `old cnn (best).pth`, SHA-256 `{sha256_of(file)}`, converted" in card
        assert "minutes of training" not in card
        assert "seed" not in card
        assert "Trained on" not in card
        (line,) = printed(console).splitlines()
        assert line == (
            "It is not known which films old cnn (best).pth was trained on. If validation films "
            "were among them, the threshold and its figures are too good; if test films were, all "
            "figures are. The bundle says so in MODEL_CARD.md and manifest.json."
        )

    def test_classes_the_other_way_round_are_pointed_out(
        self, converted: Convert, file: Path, console: Console
    ) -> None:
        state = torch.load(file, weights_only=True)["state_dict"]
        right = converted().metrics["val"]["at_0.5"]["auroc"]
        assert right > 0.5
        swapped = {k: v.flip(0) if k.startswith("module.head.") else v for k, v in state.items()}
        torch.save(swapped, file)
        converted(out=file.with_name("swapped"))
        assert printed(console).splitlines()[-1] == (
            f"The validation AUROC is {1 - right:.3f}, below chance. Expected was a network whose "
            "outputs are NORMAL and PNEUMONIA, in this order, and whose input is the film scaled "
            "to [-1, 1]."
        )


class TestBesideOthers:
    def test_in_a_comparison_the_unknown_is_a_dash(
        self, converted: Convert, finished_run: FinishedRun, tmp_path: Path
    ) -> None:
        results = [ModelResult.from_bundle(b) for b in (finished_run[1], converted())]
        assert (results[1].seed, results[1].train_time_s) == (None, None)
        assert len(results[1].history.epoch) == 0
        assert [section.at_default[1] for section in headline_table(results, "test").sections] == [
            f"{results[0].train_time_s / 60:.1f}", "-",  # type: ignore[operator]
        ]  # fmt: skip
        compare(results, tmp_path / "comparison")
        models = json.loads((tmp_path / "comparison" / "results.json").read_text())["models"]
        assert [model["train_time_s"] is None for model in models] == [False, True]

    def test_several_of_one_name_are_numbered_and_no_seeds(self, converted: Convert) -> None:
        one = ModelResult.from_bundle(converted(name="old"))
        assert [result.name for result in prepare_results([one, one])] == ["old (#1)", "old (#2)"]
        assert seed_groups([one, one]) == {}


class TestSplit:
    def test_one_that_is_there_decides(
        self, converted: Convert, phantoms: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "split.csv"
        split = open_split(scan_folder(phantoms), path, "stratified", val_fraction=0.4, seed=7)
        before = path.read_bytes()
        data = converted(split=path).manifest["data"]
        assert (data["split_kind"], data["split_seed"]) == ("stratified", 7)
        assert data["split_sha256"] == split.sha256
        assert data["num_val"] == len(split.subset("val"))
        assert path.read_bytes() == before

    def test_without_one_it_is_that_of_a_run(
        self, converted: Convert, finished_run: FinishedRun
    ) -> None:
        found = converted().manifest["data"]["split_sha256"]
        assert found == finished_run[1].manifest["data"]["split_sha256"]


class TestRefusals:
    def test_a_folder_that_is_there_before_any_work(
        self, converted: Convert, tmp_path: Path
    ) -> None:
        out = tmp_path / "there"
        out.mkdir()
        with pytest.raises(UsageError) as caught:
            converted(tmp_path / "no file", out=out)
        assert str(caught.value) == f"{out} exists already; name a folder that is still to be made"
        assert list(out.iterdir()) == []

    @pytest.mark.parametrize("broken", ["file", "films", "fit"])
    def test_a_failure_leaves_nothing(
        self, converted: Convert, own_phantoms: Path, file: Path, broken: str, tmp_path: Path
    ) -> None:
        if broken == "file":
            file.write_bytes(file.read_bytes()[:1000])
        elif broken == "films":
            film = next((own_phantoms / "test" / "NORMAL").iterdir())
            film.write_bytes(film.read_bytes()[:700])
        with pytest.raises(PneumoscopeError) as caught:
            converted(data=own_phantoms, model="vit_ti16" if broken == "fit" else "cnn")
        assert "\n" not in str(caught.value)
        assert {path.name for path in tmp_path.iterdir()} == {file.name, "films"}

    @pytest.mark.parametrize(
        ("options", "complaint"),
        [
            ({"gelu": "erf"}, "recipe: model.gelu is for Vision Transformers, not cnn"),
            ({"img_size": 8}, "model.img_size = 8: Input should be greater than or equal to 32"),
            ({"name": "a/b"}, "name = 'a/b': String should match pattern"),
        ],
    )
    def test_options_that_do_not_fit(
        self, converted: Convert, file: Path, options: dict[str, Any], complaint: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            converted(**options)
        assert str(caught.value).startswith(f"{file} as cnn: {complaint}")


def test_the_command(
    file: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["weights", "convert", str(file), "--model", "cnn", "--data", str(phantoms)]
    command += ["--img-size", "32", "--name", "old", "--title", "Old CNN"]
    out = tmp_path / "deep" / "bundle"
    assert main([*command, "--out", str(out)]) == 0
    answer = capsys.readouterr()
    assert answer.out.splitlines()[-1] == f"bundle: {out}"
    assert "Old CNN" in answer.out
    assert "It is not known which films" in answer.err
    assert open_bundle(out).name == "old"
    assert main([*command, "--out", str(out)]) == 2
    assert capsys.readouterr().err == (
        f"error: {out} exists already; name a folder that is still to be made\n"
    )
