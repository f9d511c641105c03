"""Masked autoencoding against its paper, and as a stage of a run that may be killed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pneumoscope.config import MaskedAutoencodingConfig, Recipe, parse_recipe
from pneumoscope.errors import ConfigError, NonFiniteLossError, RunFolderError
from pneumoscope.models.vit import VisionTransformer
from pneumoscope.training.device import Device
from pneumoscope.training.distributed import Group
from pneumoscope.training.films import LabelledFilms
from pneumoscope.training.masked_autoencoder import (
    MaskedAutoencoder,
    hidden_places,
    normalized_patches,
)
from pneumoscope.training.masked_pretraining import Pretraining, pretrain
from pneumoscope.training.recorder import Recorder
from pneumoscope.training.trainer import Trainer

CPU = Device(torch.device("cpu"), torch.float32, "the CPU")
CONFIG = MaskedAutoencodingConfig(epochs=1, decoder_depth=1)


def tiny(seed: int = 1) -> VisionTransformer:
    torch.manual_seed(seed)
    return VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=4)


def films(num_films: int = 24) -> Tensor:
    """Smooth grey films (N, 3, 32, 32) in [-1, 1], so that a part tells of the rest."""
    rng = np.random.default_rng(0)
    row, column = np.mgrid[0:32, 0:32] / 32
    a, b, phase = rng.uniform(1, 4, (3, num_films, 1, 1))
    waves = np.sin(2 * np.pi * (a * row + b * column) / 4 + phase)
    return torch.from_numpy(waves.astype(np.float32))[:, None].expand(-1, 3, -1, -1)


def test_the_encoder_sees_a_quarter_of_the_patches() -> None:
    autoencoder = MaskedAutoencoder(tiny(), CONFIG)
    shapes: list[tuple[int, ...]] = []
    autoencoder.network.blocks[0].register_forward_hook(
        lambda block, inputs, output: shapes.append(tuple(output.shape))
    )
    decoded: list[tuple[int, ...]] = []
    autoencoder.decoder.register_forward_hook(
        lambda decoder, inputs, output: decoded.append(tuple(output.shape))
    )
    autoencoder(films(5), 5)
    assert shapes == [(5, 1 + 4, 24)]  # 4 of 16 patches
    assert decoded == [(5, 1 + 16, 12)]


def test_hidden_places_are_the_others() -> None:
    visible = torch.tensor([[3, 0], [1, 4]])
    assert hidden_places(visible, 5).tolist() == [[1, 2, 4], [0, 2, 3]]


def test_targets_are_patches_with_mean_0_and_deviation_1() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 1, 16, 16)
    patches = normalized_patches(x, 8)
    assert patches.shape == (2, 4, 64)
    wanted = x[1, 0, 8:, :8]  # row 1, column 0: place 2
    wanted = (wanted - wanted.mean()) / wanted.std(correction=0)
    torch.testing.assert_close(patches[1, 2], wanted.flatten(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(patches, normalized_patches(0.3 * x + 0.2, 8), atol=1e-3, rtol=1e-3)


def test_only_hidden_patches_count() -> None:
    autoencoder = MaskedAutoencoder(tiny(), CONFIG)
    x = films(3)
    torch.manual_seed(5)
    loss = autoencoder(x, 3)
    torch.manual_seed(5)
    tokens, visible = autoencoder.network.encode(x, patch_drop_rate=0.75)
    assert visible is not None
    predicted = autoencoder.predict(autoencoder._decode(tokens, visible))
    errors = (predicted - normalized_patches(x[:, :1], 8)).square().mean(dim=2)
    is_visible = torch.zeros(3, 16, dtype=torch.bool).scatter(1, visible, True)
    torch.testing.assert_close(loss, errors[~is_visible].mean())


def test_what_is_hidden_does_not_reach_the_encoder() -> None:
    network = tiny().train()
    x = films(2)
    torch.manual_seed(5)
    tokens, visible = network.encode(x, patch_drop_rate=0.75)
    assert visible is not None
    hidden = hidden_places(visible, 16)
    changed = x.clone()
    for film in range(2):
        for place in hidden[film].tolist():
            row, column = divmod(place, 4)
            changed[film, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 0.7
    torch.manual_seed(5)
    torch.testing.assert_close(network.encode(changed, patch_drop_rate=0.75)[0], tokens)


def recipe(**mae: Any) -> Recipe:
    values = {
        "name": "tiny",
        "model": {"name": "vit_scratch", "img_size": 32},
        "mae": {"epochs": 3, "batch_size": 8, "warmup_epochs": 0.5, **mae},
        "training": {"epochs": 1, "batch_size": 8, "precision": "float32"},
    }
    return parse_recipe(values, "tiny")


def run(
    folder: Path, chosen: Recipe, network: VisionTransformer, stop_after: int | None = None
) -> Pretraining:
    x = films()
    calls = 0

    def batch(index: Any) -> Tensor:
        nonlocal calls
        if calls == stop_after:
            raise KeyboardInterrupt
        calls += 1
        return x[torch.from_numpy(index)] + 0.01 * torch.randn(len(index), 1, 32, 32)

    return pretrain(
        network,
        chosen,
        len(x),
        batch,
        folder=folder,
        split_sha256="5" * 64,
        device=CPU,
        group=Group(),
        on_epoch=lambda epoch, loss, time_s: None,
    )


def test_the_loss_falls_and_the_head_is_left_alone(tmp_path: Path) -> None:
    network = tiny()
    head = network.head.weight.detach().clone()
    done = run(tmp_path, recipe(epochs=40, lr=3e-3), network)
    assert len(done.losses) == 40
    assert done.losses[-1] < 0.85 < done.losses[0]  # 1 is what no knowledge of a film gives
    assert torch.equal(network.head.weight, head)
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_killed_stage_goes_on_bit_for_bit(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    chosen = recipe()
    chosen = chosen.model_copy(
        update={"training": chosen.training.model_copy(update={"checkpoint_every_s": 0.0})}
    )
    whole, halves = tiny(), tiny()
    losses = run(tmp_path / "one", chosen, whole).losses
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "two", chosen, halves, stop_after=4)
    again = tiny(seed=9)  # nothing of it may count
    again.head.load_state_dict(whole.head.state_dict())
    assert run(tmp_path / "two", chosen, again).losses == losses
    for key, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key


def test_a_finished_stage_is_not_repeated_and_another_is_refused(tmp_path: Path) -> None:
    network = tiny()
    losses = run(tmp_path, recipe(), network).losses
    again = tiny(seed=9)
    assert run(tmp_path, recipe(), again, stop_after=0).losses == losses
    assert torch.equal(again.blocks[1].mlp.fc1.weight, network.blocks[1].mlp.fc1.weight)
    with pytest.raises(RunFolderError, match="belongs to a run with another stage"):
        run(tmp_path, recipe(mask_rate=0.5), tiny())


def test_a_loss_that_is_not_finite_stops_it(tmp_path: Path) -> None:
    network = tiny()
    with torch.no_grad():
        network.cls_token.fill_(torch.nan)
    with pytest.raises(NonFiniteLossError) as caught:
        run(tmp_path, recipe(), network)
    assert str(caught.value) == (
        "the masked autoencoder's loss of step 1 (epoch 1) is nan; the last checkpoint is "
        "untouched; lower mae.lr or raise mae.warmup_epochs, in another run folder"
    )


def test_the_trainer_starts_from_what_the_stage_learned(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (24, 32, 32), dtype=np.uint8)
    part = LabelledFilms(pixels, np.arange(24) % 2)

    def make(chosen: Recipe) -> Trainer:
        return Trainer(
            chosen,
            part,
            part,
            folder=tmp_path,
            split_sha256="5" * 64,
            device=CPU,
            group=Group(),
            recorder=Recorder(),
        )

    trainer = make(recipe())
    fresh = trainer.network.patch_embed.proj.weight.detach().clone()
    started: list[Tensor] = []
    start = trainer.recorder.start

    def note(step: int, num_steps: int) -> None:
        started.append(trainer.average.network.patch_embed.proj.weight.clone())
        start(step, num_steps)

    trainer.recorder.start = note  # type: ignore[method-assign]
    fitted = trainer.fit()
    assert fitted.pretraining is not None
    assert len(fitted.pretraining.losses) == 3
    assert fitted.train_time_s > fitted.pretraining.time_s > 0
    assert (started[0] - fresh).abs().max() > 1e-4
    # Taken up again after its end, it has nothing left to do and knows what was done.
    (tmp_path / "mae.pt").unlink()
    assert make(recipe()).fit().pretraining == fitted.pretraining


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": {"name": "cnn"}}, "mae is for Vision Transformers, not cnn"),
        (
            {"model": {"name": "vit_ti16"}, "pretrained": {"weights": "ViT-Ti_16"}},
            "mae.epochs and pretrained.weights exclude each other: masked autoencoding starts from "
            "random weights; leave one of them out",
        ),
    ],
)
def test_where_it_does_not_fit_it_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_recipe({"name": "a", "mae": {"epochs": 2}, **values}, "a.toml")
    assert str(caught.value) == f"a.toml: recipe: {message}"
