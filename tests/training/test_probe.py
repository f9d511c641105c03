"""The linear probe: what it fits, what it leaves alone, and fine-tuning that starts from it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from pneumoscope.config import parse_recipe
from pneumoscope.errors import ConfigError, RunFolderError, WeightsError
from pneumoscope.models import presets
from pneumoscope.models.build import build_model
from pneumoscope.models.npz import load_npz
from pneumoscope.models.scoring import score_pixels
from pneumoscope.training import distributed
from pneumoscope.training import probe as probe_module
from pneumoscope.training import sampler as sampler_module
from pneumoscope.training.device import Device
from pneumoscope.training.distributed import Group
from pneumoscope.training.films import LabelledFilms
from pneumoscope.training.probe import C_GRID, fit_head, fit_probe, frozen_features
from pneumoscope.training.recorder import Recorder
from pneumoscope.training.trainer import Trainer

GOLDEN = Path(__file__).parents[1] / "golden" / "tiny_in21k_checkpoint.npz"
OTHER = GOLDEN.with_name("tiny_linen_checkpoint.npz")
CPU = Device(torch.device("cpu"), torch.float32, "the CPU")
SIDE = 32


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of the golden checkpoint, under a name."""
    sizes = {"embed_dim": 48, "depth": 2, "num_heads": 3, "mlp_ratio": 2}
    monkeypatch.setitem(
        presets.VIT_PRESETS, "vit_golden", {"patch_size": 16, "gelu": "tanh"} | sizes
    )


def films(num_films: int, seed: int) -> LabelledFilms:
    """Noisy films, of which every third is NORMAL and the others have a bright patch."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(num_films) % 3 > 0).astype(np.int64)
    pixels = rng.normal(110, 25, (num_films, SIDE, SIDE))
    pixels[labels == 1, 8:20, 8:20] += 40
    return LabelledFilms(pixels.clip(0, 255).astype(np.uint8), labels)


TRAIN, VAL = films(96, 0), films(60, 1)


def network() -> Any:
    torch.manual_seed(0)
    model = build_model("vit_golden", img_size=SIDE)
    load_npz(model, GOLDEN, head=False)
    return model


def make(folder: Path, *, weights: Path = GOLDEN, **values: Any) -> Trainer:
    training = {"batch_size": 12, "warmup_epochs": 0.5, "precision": "float32", "epochs": 0}
    recipe = parse_recipe(
        {
            "name": "tuned",
            "model": {"name": "vit_golden", "img_size": SIDE, **values.get("model", {})},
            "training": {**training, **values.get("training", {})},
            "augmentation": values.get("augmentation", {}),
            "pretrained": {"weights": "some.npz", **values.get("pretrained", {})},
        },
        "tuned",
    )
    return Trainer(
        recipe,
        TRAIN,
        VAL,
        folder=folder,
        split_sha256="5" * 64,
        device=CPU,
        group=Group(),
        recorder=Recorder(),
        weights=weights,
    )


class TestFeatures:
    def test_they_are_what_the_head_reads(self) -> None:
        model = network()
        features = frozen_features(model, VAL.pixels, CPU, Group())
        assert features.shape == (60, 48)
        logits = features @ model.head.weight.detach().numpy().T + model.head.bias.detach().numpy()
        np.testing.assert_allclose(logits, score_pixels(model, VAL.pixels), atol=1e-5)

    def test_augmentation_comes_before_the_network(self) -> None:
        model = network()
        mirrored = frozen_features(model, VAL.pixels, CPU, Group(), lambda x, start: x.flip(2))
        expected = frozen_features(model, VAL.pixels[:, :, ::-1].copy(), CPU, Group())
        np.testing.assert_allclose(mirrored, expected, atol=1e-6)

    def test_films_may_be_put_into_batches_in_another_order(self) -> None:
        model, seen = network(), []

        def augment(x: torch.Tensor, start: int) -> torch.Tensor:
            seen.append(x.numpy().copy())
            return x

        order = np.random.default_rng(0).permutation(len(VAL.pixels))
        features = frozen_features(model, VAL.pixels, CPU, Group(), augment, order)
        np.testing.assert_array_equal(np.concatenate(seen), VAL.pixels[order])
        expected = frozen_features(model, VAL.pixels, CPU, Group())
        np.testing.assert_allclose(features, expected, atol=1e-5)

    def test_a_view_shows_films_of_both_classes_together(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(distributed, "SCORING_BATCH", 16)
        recipe = make(tmp_path, augmentation={"style_prob": 1.0}).recipe
        labels = np.sort(TRAIN.labels)  # as folders are listed
        shades = np.broadcast_to(labels[:, None, None], TRAIN.pixels.shape).astype(np.uint8)
        means = []

        def augment(x: torch.Tensor) -> torch.Tensor:
            means.append(float(x.float().mean()))
            return x.float()

        fit_probe(
            network(),
            recipe,
            LabelledFilms(shades, labels),
            VAL,
            augment=augment,
            film_weights=None,
            device=CPU,
            group=Group(),
        )
        assert len(means) == 6
        assert sum(0 < mean < 1 for mean in means) >= 5  # one may be all of a class by chance

    def test_films_are_augmented_in_full_precision_a_batch_at_a_time(self) -> None:
        seen = []

        def augment(x: torch.Tensor, start: int) -> torch.Tensor:
            seen.append((start, len(x), torch.is_autocast_enabled("cpu")))
            return x.float()

        half = Device(torch.device("cpu"), torch.bfloat16, "the CPU")
        frozen_features(network(), TRAIN.pixels, half, Group(), augment)
        assert seen == [(0, 64, False), (64, 32, False)]


class TestHead:
    def fitted(self, *, balanced: bool, film_weights: Any = None) -> tuple[Any, Any, Any, float]:
        model = network()
        train = (frozen_features(model, TRAIN.pixels, CPU, Group()), TRAIN.labels)
        val = (frozen_features(model, VAL.pixels, CPU, Group()), VAL.labels)
        loss = fit_head(model, train, val, balanced=balanced, film_weights=film_weights)
        return model, train, val, loss

    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("balanced", [False, True])
    def test_it_is_the_logistic_regression_that_suits_validation_best(
        self, balanced: bool, weighted: bool
    ) -> None:
        weights = np.random.default_rng(4).random(len(TRAIN.labels)) if weighted else None
        model, (x, y), (x_val, y_val), loss = self.fitted(balanced=balanced, film_weights=weights)
        mean, scale = x.mean(0), x.std(0)
        losses = {}
        for C in C_GRID:
            fit = LogisticRegression(
                C=C, class_weight="balanced" if balanced else None, max_iter=1000
            ).fit((x - mean) / scale, y, None if weights is None else weights / weights.mean())
            p = fit.predict_proba((x_val - mean) / scale)
            losses[C] = (log_loss(y_val, p), p, log_loss(y, fit.predict_proba((x - mean) / scale)))
        expected = min(losses.values(), key=lambda entry: entry[0])
        assert len({round(entry[0], 6) for entry in losses.values()}) == len(C_GRID)
        answers = torch.from_numpy(score_pixels(model, VAL.pixels)).softmax(1).numpy()
        np.testing.assert_allclose(answers, expected[1], atol=2e-4)
        assert loss == pytest.approx(expected[2], rel=1e-3)

    def test_nothing_but_the_head_changes(self) -> None:
        before = network().state_dict()
        after = self.fitted(balanced=True)[0].state_dict()
        changed = {key for key in before if not torch.equal(before[key], after[key])}
        assert changed == {"head.weight", "head.bias"}


class TestFineTuning:
    @pytest.mark.parametrize("views", [1, 2])
    @pytest.mark.parametrize("sampler", ["balanced_sampler", "style_sampler"])
    def test_the_head_is_fitted_as_films_are_drawn(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str, views: int
    ) -> None:
        weights = np.random.default_rng(6).random(len(TRAIN.labels))
        monkeypatch.setattr(sampler_module, "style_weights", lambda *films: weights)
        asked: dict[str, Any] = {}

        def note(model: Any, train: Any, val: Any, **options: Any) -> float:
            asked.update(options, labels=train[1])
            return fit_head(model, train, val, **options)

        monkeypatch.setattr(probe_module, "fit_head", note)
        training = {sampler: True, "class_weights": False}
        make(tmp_path, training=training, pretrained={"probe_views": views}).fit()
        assert np.array_equal(asked["labels"], np.tile(TRAIN.labels, views))
        assert asked["balanced"] == (sampler == "balanced_sampler")
        if sampler == "style_sampler":
            assert np.array_equal(asked["film_weights"], np.tile(weights, views))
        else:
            assert asked["film_weights"] is None

    def test_no_epochs_leave_the_probe_alone(self, tmp_path: Path) -> None:
        fitted = make(tmp_path).fit()
        assert [row["epoch"] for row in fitted.history] == [0]
        assert fitted.best_epoch == 0
        assert fitted.history[0]["val_auroc"] > 0.8
        assert fitted.history[0]["lr"] == 0.0
        reference = network().state_dict()
        state = fitted.network.state_dict()
        changed = {key for key in state if not torch.equal(state[key], reference[key])}
        assert changed == {"head.weight", "head.bias"}

    def test_all_layers_move_from_the_probe_on(self, tmp_path: Path) -> None:
        trainer = make(tmp_path, training={"epochs": 2, "lr": 1e-3})
        fitted = trainer.fit()
        assert [row["epoch"] for row in fitted.history] == [0, 1, 2]
        reference = network().state_dict()
        moved = trainer.network.state_dict()
        assert all(not torch.equal(moved[key], reference[key]) for key in reference)

    def test_without_views_the_head_starts_at_random(self, tmp_path: Path) -> None:
        trainer = make(tmp_path, training={"epochs": 1}, pretrained={"probe_views": 0})
        assert trainer.network.head.weight.std().item() == pytest.approx(0.02, rel=0.3)
        assert [row["epoch"] for row in trainer.fit().history] == [1]

    def test_views_are_augmented_and_count(self, tmp_path: Path) -> None:
        plain = make(tmp_path / "a").fit().history[0]
        levers = {"noise_prob": 1.0, "rotate_deg": 20.0}
        one = make(tmp_path / "b", augmentation=levers).fit().history[0]
        two = make(tmp_path / "c", augmentation=levers, pretrained={"probe_views": 2})
        again = make(tmp_path / "d", augmentation=levers, pretrained={"probe_views": 2})
        two_history, again_history = two.fit().history[0], again.fit().history[0]
        assert len({row["val_loss"] for row in (plain, one, two_history)}) == 3
        assert two_history["val_loss"] == again_history["val_loss"]  # a function of the seed

    def test_layers_get_their_own_rates(self, tmp_path: Path) -> None:
        trainer = make(
            tmp_path,
            training={
                "epochs": 1,
                "max_steps": 1,
                "warmup_epochs": 0,
                "lr": 1e-3,
                "layer_decay": 0.5,
            },
        )
        trainer.fit()
        rates = {}
        for group in trainer.optimizer.param_groups:
            for parameter in group["params"]:
                rates[id(parameter)] = group["lr"]
        found = {name: rates[id(p)] for name, p in trainer.network.named_parameters()}
        assert found["head.weight"] == found["norm.bias"] == pytest.approx(1e-3)
        assert found["blocks.1.attn.qkv.weight"] == pytest.approx(5e-4)
        assert found["blocks.0.mlp.fc2.bias"] == pytest.approx(2.5e-4)
        for name in ("patch_embed.proj.weight", "cls_token", "pos_embed"):
            assert found[name] == pytest.approx(1.25e-4)

    def test_a_run_stopped_after_the_probe_goes_on_from_it(self, tmp_path: Path) -> None:
        settings: dict[str, Any] = {"training": {"epochs": 2, "checkpoint_every_s": 0.0}}
        straight = make(tmp_path / "straight", **settings).fit()
        trainer = make(tmp_path / "stopped", **settings)

        def stop(*_: Any) -> None:
            raise KeyboardInterrupt

        trainer.average.update = stop  # type: ignore[method-assign]
        start = trainer._start_from_pretrained

        def start_then_arm() -> None:
            start()
            trainer.average.update = stop  # type: ignore[method-assign]

        trainer._start_from_pretrained = start_then_arm  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            trainer.fit()
        resumed = make(tmp_path / "stopped", **settings)
        assert (resumed.progress.step, len(resumed.progress.history)) == (0, 1)
        fitted = resumed.fit()
        for row, expected in zip(fitted.history, straight.history, strict=True):
            assert {**row, "time_s": 0} == {**expected, "time_s": 0}
        ours, theirs = fitted.network.state_dict(), straight.network.state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)

    def test_a_state_from_other_weights_is_refused(self, tmp_path: Path) -> None:
        make(tmp_path).fit()
        with pytest.raises(RunFolderError, match="belongs to a run with another weights; choose"):
            make(tmp_path, weights=OTHER)

    def test_weights_of_another_size_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="embed_dim 48 in the file and 192 in the network"):
            make(tmp_path, model={"name": "vit_ti16"})

    def test_the_network_that_is_averaged_starts_at_the_probe(self, tmp_path: Path) -> None:
        trainer = make(tmp_path, training={"epochs": 1, "ema_decay": 0.9})
        validate, heads = trainer._validate, []

        def look(epoch: int) -> None:
            pair = (trainer.average.network, trainer.network)
            heads.append([network.state_dict()["head.weight"].clone() for network in pair])
            validate(epoch)

        trainer._validate = look  # type: ignore[method-assign]
        trainer.fit()
        assert torch.equal(*heads[0])
        assert not torch.equal(*heads[1])  # by then the average lags behind


class TestRecipes:
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (
                {"model": {"name": "cnn"}, "pretrained": {"weights": "x"}},
                "pretrained is for Vision",
            ),
            (
                {"model": {"name": "cnn"}, "training": {"layer_decay": 0.7}},
                "layer_decay is for Vision",
            ),
            ({"model": {"name": "cnn", "standardize": True}}, "standardize is for Vision"),
            (
                {"model": {"name": "cnn", "pos_embed_init": "normal"}},
                "pos_embed_init is for Vision",
            ),
            (
                {
                    "model": {"name": "vit_ti16", "pos_embed_init": "sine_cosine"},
                    "pretrained": {"weights": "x"},
                },
                "the weights bring their positions",
            ),
            (
                {
                    "model": {"name": "vit_scratch", "pos_embed_init": "normal"},
                    "mae": {"epochs": 1},
                },
                "masked autoencoding starts positions from sines",
            ),
            ({"model": {"name": "vit_ti16"}, "training": {"epochs": 0}}, "leaves the linear probe"),
            (
                {
                    "model": {"name": "vit_ti16"},
                    "training": {"epochs": 0},
                    "pretrained": {"weights": "x", "probe_views": 0},
                },
                "leaves the linear probe",
            ),
        ],
    )
    def test_what_does_not_fit_is_refused(self, values: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            parse_recipe({"name": "x", **values}, "x")
