"""The stage before the labels: a Vision Transformer is pretrained on the training films alone.

Stopped at any moment, it goes on from its own checkpoint, ``mae.pt`` in the run folder. That is
named by all the stage depends on, so a copy of it serves another run that differs only later.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pneumoscope.config import Recipe
from pneumoscope.errors import NonFiniteLossError
from pneumoscope.models.vit import VisionTransformer
from pneumoscope.training.checkpoint import load_state, save_state, taking_up
from pneumoscope.training.device import Device
from pneumoscope.training.distributed import Group, barrier, from_main, parallel, sum_over
from pneumoscope.training.masked_autoencoder import MaskedAutoencoder
from pneumoscope.training.optimizer import make_optimizer
from pneumoscope.training.randomness import epoch_order, seed_init, seed_masking
from pneumoscope.training.schedule import lr_at

STATE = "mae.pt"
_BETAS = (0.9, 0.95)  # He et al., table 8
_WEIGHT_DECAY = 0.05
_MIN_LR_RATIO = 0.01


@dataclass(frozen=True)
class Pretraining:
    """What the stage did.

    Attributes:
        losses: mean loss of each epoch.
        time_s: how long it took.
    """

    losses: list[float]
    time_s: float


def pretrain(
    network: VisionTransformer,
    recipe: Recipe,
    num_films: int,
    batch: Callable[[NDArray[np.int64]], Tensor],
    *,
    folder: Path,
    split_sha256: str,
    device: Device,
    group: Group,
    on_epoch: Callable[[int, float, float], None],
) -> Pretraining:
    """Trains ``network`` in place by masked autoencoding and returns what that took.

    Args:
        network: with random weights; its head is left as it is.
        recipe: whose ``mae`` says how long and how.
        num_films: the training films.
        batch: gives the network's input (B, C, S, S) for B indices of films.
        folder: where the stage's state lives.
        split_sha256: names the split.
        device: where ``network`` lives, and its arithmetic.
        group: this process among its peers.
        on_epoch: told the epoch's number from 1, its mean loss and the seconds so far.

    Raises:
        NonFiniteLossError: a loss is not finite; the last checkpoint stays.
        RunFolderError: the saved state is of another run, or damaged.
        StorageError: the state cannot be saved.
    """
    config = recipe.mae
    seed_init(recipe.training.seed)
    autoencoder = MaskedAutoencoder(network, config).to(device.device)
    optimizer = make_optimizer(autoencoder, _WEIGHT_DECAY, betas=_BETAS)
    batch_size = min(config.batch_size, num_films)
    steps_per_epoch = num_films // batch_size
    num_steps = steps_per_epoch * config.epochs
    path, identity = folder / STATE, {"stage": _name(recipe, split_sha256)}
    step, loss_sum, losses, elapsed_s = 0, 0.0, list[float](), 0.0
    if state := load_state(path, identity):
        with taking_up(path):
            autoencoder.load_state_dict(state["autoencoder"])
            optimizer.load_state_dict(state["optimizer"])
            step, loss_sum = state["step"], state["loss_sum"]
            losses, elapsed_s = state["losses"], state["elapsed_s"]

    # The wrapper for several processes wants a gradient for all that can have one.
    unused = (network.head, network.pre_logits)
    for module in unused:
        module.requires_grad_(False)
    autoencoder.train()
    objective = parallel(autoencoder, group, device)
    started = time.monotonic() - elapsed_s
    saved = time.monotonic()
    while step < num_steps:
        epoch, place = divmod(step, steps_per_epoch)
        order = epoch_order(recipe.training.seed, epoch, num_films)
        index = order[place * batch_size : (place + 1) * batch_size]
        seed_masking(recipe.training.seed, step, group.rank)
        x = batch(index[group.rank :: group.world_size])
        with device.autocast, device.attention:
            loss = objective(x, len(index))
        global_loss = float(sum_over(group, loss))
        if not np.isfinite(global_loss):
            raise NonFiniteLossError(
                f"the masked autoencoder's loss of step {step + 1} (epoch {epoch + 1}) is "
                f"{global_loss}; the last checkpoint is untouched; lower mae.lr or raise "
                "mae.warmup_epochs, in another run folder"
            )
        for parameters in optimizer.param_groups:
            parameters["lr"] = lr_at(
                step,
                peak=config.lr,
                num_steps=num_steps,
                warmup_steps=round(config.warmup_epochs * steps_per_epoch),
                min_ratio=_MIN_LR_RATIO,
            )
        optimizer.zero_grad(set_to_none=True)
        (loss * group.world_size).backward()  # the wrapper averages; the parts must add up
        nn.utils.clip_grad_norm_(autoencoder.parameters(), recipe.training.clip_grad_norm)
        optimizer.step()
        step, loss_sum = step + 1, loss_sum + global_loss
        elapsed_s = time.monotonic() - started
        if step % steps_per_epoch == 0:
            losses.append(loss_sum / steps_per_epoch)
            loss_sum = 0.0
            on_epoch(epoch + 1, losses[-1], elapsed_s)
        is_due = time.monotonic() - saved >= recipe.training.checkpoint_every_s
        if from_main(group, is_due) or step == num_steps:
            if group.is_main:
                content = {
                    **identity,
                    "autoencoder": autoencoder.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "step": step,
                    "loss_sum": loss_sum,
                    "losses": losses,
                    "elapsed_s": elapsed_s,
                }
                save_state(path, content)
            barrier(group)
            saved = time.monotonic()
    for module in unused:
        module.requires_grad_(True)
    return Pretraining(losses, elapsed_s)


def _name(recipe: Recipe, split_sha256: str) -> str:
    """Returns a hash of all that the stage depends on."""
    content = recipe.model_dump(mode="json", include={"model", "mae", "augmentation"})
    content |= {
        "split": split_sha256,
        "training": {
            key: getattr(recipe.training, key) for key in ("seed", "clip_grad_norm", "precision")
        },
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
