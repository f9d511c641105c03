"""The loop, whole: films in, weights and their history out."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from pneumoscope.bundle import Bundle
from pneumoscope.config import Recipe
from pneumoscope.data.patients import CAUSES
from pneumoscope.errors import ConfigError
from pneumoscope.labels import CLASS_NAMES, Label
from pneumoscope.models.build import build_model
from pneumoscope.models.npz import load_npz
from pneumoscope.models.npz_format import inspect_npz
from pneumoscope.models.scoring import network_input
from pneumoscope.models.vit import VisionTransformer
from pneumoscope.training.checkpoint import load_state, save_state, taking_up
from pneumoscope.training.device import Device
from pneumoscope.training.distributed import (
    Group,
    barrier,
    from_main,
    parallel,
    score_together,
    share_state,
)
from pneumoscope.training.feed import Feed
from pneumoscope.training.films import LabelledFilms
from pneumoscope.training.masked_pretraining import Pretraining, pretrain
from pneumoscope.training.objective import make_objective
from pneumoscope.training.optimizer import WeightAverage, make_optimizer
from pneumoscope.training.probe import fit_probe
from pneumoscope.training.progress import Best, Progress
from pneumoscope.training.randomness import seed_init
from pneumoscope.training.recorder import Recorder
from pneumoscope.training.sampler import make_sampler
from pneumoscope.training.schedule import lr_at, patch_drop_rate_at
from pneumoscope.training.step import Step, make_step
from pneumoscope.training.unseen_steps import UnseenSteps, not_finite


@dataclass(frozen=True)
class Fitted:
    """The outcome: the network that is kept, all validations, the time it took.

    ``best_epoch`` is the one whose weights are kept: that of the highest validation AUROC, or the
    last where the recipe says so (``training.keep``). ``pretraining`` has the losses of the masked
    autoencoding before, where there was one; its time is part of the whole.
    """

    network: nn.Module
    history: list[dict[str, float]]
    best_epoch: int
    train_time_s: float
    pretraining: Pretraining | None = None


class Trainer:
    """Fits one recipe; stopped at any moment, it goes on from its last checkpoint.

    Args:
        recipe: what to fit, and how.
        train: the training films; both classes.
        val: the validation films, by whose AUROC weights are chosen if they are; both classes.
        folder: where the training state lives.
        split_sha256: names the split, so that a state is never continued on another.
        device: where to compute.
        group: this process among its peers.
        recorder: told of every step and validation.
        teacher: the bundle that the recipe's distillation names, if it names one.
        weights: the checkpoint file that the recipe's pretraining names, if it names one.
    """

    def __init__(
        self,
        recipe: Recipe,
        train: LabelledFilms,
        val: LabelledFilms,
        *,
        folder: Path,
        split_sha256: str,
        device: Device,
        group: Group,
        recorder: Recorder,
        teacher: Bundle | None = None,
        weights: Path | None = None,
    ) -> None:
        """Builds network and optimizer, then takes up a saved state where there is one.

        Raises:
            ConfigError: fewer films in a batch than processes.
            ModelError: the recipe's network cannot be built.
            RunFolderError: the saved state is of another run or version, or damaged.
            TrainingError: the teacher saw other or unknown films in training, or is an ensemble
                whose maps are asked for.
            WeightsError: the checkpoint does not fit the network.
        """
        self.recipe, self.train, self.val = recipe, train, val
        self.device, self.group, self.recorder = device, group, recorder
        self.config = recipe.training
        self.folder, self.path = folder, folder / "state.pt"
        self.pretrained = inspect_npz(weights) if weights else None
        self.identity = {
            "recipe": recipe.sha256,
            "split": split_sha256,
            "teacher": teacher.model_id if teacher else "",
            "weights": self.pretrained.sha256 if self.pretrained else "",
        }

        self.batch_size = min(self.config.batch_size, len(train.labels))
        if self.batch_size < group.world_size:
            raise ConfigError(
                f"{self.batch_size} films a batch cannot be shared by {group.world_size} "
                "processes; raise training.batch_size or start fewer processes"
            )
        self.steps_per_epoch = len(train.labels) // self.batch_size  # the odd ones come next time
        self.num_steps = self.steps_per_epoch * self.config.epochs
        if self.config.max_steps is not None:
            self.num_steps = min(self.num_steps, self.config.max_steps)

        seed_init(self.config.seed)
        network = build_model(**recipe.model.build_options(), num_classes=len(CLASS_NAMES))
        if weights:
            load_npz(network, weights, head=False)
        # Convolutions run faster on channels-last memory; a ViT does not mind.
        self.network = network.to(device.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.causes = train.causes_to_tell_apart() if self.config.cause_weight else None
        self.objective = make_objective(
            self.network,
            recipe,
            train.labels,
            self.causes,
            device,
            teacher=teacher,
            split_sha256=split_sha256,
        )
        self.average = WeightAverage(self.network, self.config.ema_decay)
        self.optimizer = make_optimizer(
            self.objective,
            self.config.weight_decay,
            self.config.layer_decay,
            name=self.config.optimizer,
            dtype=device.dtype,
        )
        self.feed = Feed(recipe, train, self.causes, self.batch_size, device, group)
        state = load_state(self.path, self.identity)
        known = state["film_weights"] if state and self.config.style_sampler else None
        self.sampler = make_sampler(self.config, train, group, known)
        self.lr = 0.0
        self.take_step: Step  # made when training begins, around the objective as it then is
        self._unseen = UnseenSteps()
        self.progress = Progress()
        if state is not None:
            with taking_up(self.path):
                self.progress = Progress.from_dict(state)
                self.objective.load_state_dict(state["objective"])
                self.average.network.load_state_dict(state["average"])
                self.optimizer.load_state_dict(state["optimizer"])

    @property
    def cause_counts(self) -> dict[str, int] | None:
        """How many training films state each cause, or None without a second task."""
        if self.causes is None:
            return None
        return {cause: int((self.causes == index).sum()) for index, cause in enumerate(CAUSES)}

    def fit(self) -> Fitted:
        """Returns the network to keep after training to the end, or until patience is lost.

        Raises:
            NonFiniteLossError: loss or gradient is not finite; the last checkpoint stays.
            RecordingError: a GPU cannot record a step.
            RunFolderError: the saved state of masked autoencoding is another's, or damaged.
            StorageError: the state cannot be saved.
        """
        progress = self.progress
        if self.recipe.mae.epochs and progress.pretraining is None:
            self._pretrain()
        self._started = time.monotonic() - progress.elapsed_s
        self._saved = time.monotonic()
        self.recorder.start(progress.step, self.num_steps)
        if self.recipe.pretrained.weights and not progress.history:
            self._start_from_pretrained()
        objective = parallel(self.objective, self.group, self.device)
        self.take_step = make_step(
            objective, self.optimizer, self.config.clip_grad_norm, self.device, self.group
        )
        for epoch, place, order in self._places():
            self._train_step(epoch, place, order)
            if self._is_validation_due(epoch):
                self._validate(epoch)
                self._save()
            elif self._is_checkpoint_due():
                self._save()
        self.take_step.forget()
        self.feed.forget()
        share_state(self.average.network, self.group)
        network, epoch = self.average.network, int(progress.history[-1]["epoch"])
        if self.config.keep == "best":
            assert progress.best.weights is not None
            network.load_state_dict(progress.best.weights)
            epoch = progress.best.epoch
        return Fitted(
            network.eval(), progress.history, epoch, progress.elapsed_s, progress.pretraining
        )

    def _pretrain(self) -> None:
        """Trains the network by masked autoencoding, before any label is shown."""
        assert isinstance(self.network, VisionTransformer)

        def batch(index: NDArray[np.int64]) -> Tensor:
            return network_input(self.feed.augmented(index), self.recipe.model.in_chans)

        self.progress.pretraining = pretrain(
            self.network,
            self.recipe,
            len(self.train.labels),
            batch,
            folder=self.folder,
            split_sha256=self.identity["split"],
            device=self.device,
            group=self.group,
            on_epoch=self.recorder.pretraining,
        )
        self.progress.elapsed_s = self.progress.pretraining.time_s
        self.average = WeightAverage(self.network, self.config.ema_decay)

    def _start_from_pretrained(self) -> None:
        """Fits the new head by linear probing, and takes the outcome as epoch 0."""
        assert isinstance(self.network, VisionTransformer)
        if self.recipe.pretrained.probe_views:
            loss = fit_probe(
                self.network,
                self.recipe,
                self.train,
                self.val,
                augment=self.feed.augment,
                film_weights=self.sampler.film_weights,
                device=self.device,
                group=self.group,
            )
            self.progress.loss_sum, self.progress.loss_count = loss, 1
            self.average = WeightAverage(self.network, self.config.ema_decay)
            self._validate(0)
            self._save()

    def _places(self) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
        """Yields (epoch from 1, batch of it from 0, order of its films) from the next step on."""
        progress = self.progress
        while progress.step < self.num_steps and not self._is_patience_lost():
            epoch, place = divmod(progress.step, self.steps_per_epoch)
            order = self.sampler.order(epoch)
            for batch in range(place, self.steps_per_epoch):
                if progress.step >= self.num_steps:
                    return
                yield epoch + 1, batch, order

    def _train_step(self, epoch: int, place: int, order: NDArray[np.int64]) -> None:
        """One optimizer step on a batch of the epoch, of which this process does a part."""
        progress = self.progress
        batch = self.feed.batch(progress.step, place, order)
        self._set_lr()
        self._set_patch_drop_rate(epoch)
        self.objective.train()
        found = self.take_step(batch)
        progress.step += 1
        self.average.update(progress.step)
        progress.elapsed_s = time.monotonic() - self._started
        done = {"step": progress.step, "epoch": epoch, "lr": self.lr}
        self._unseen.add({**done, "time_s": round(progress.elapsed_s, 3)}, found)
        if len(self._unseen) >= self.take_step.wait_every:
            self._unseen.look(progress, self.recorder)

    def _set_lr(self) -> None:
        self.lr = lr_at(
            self.progress.step,
            peak=self.config.lr,
            num_steps=self.num_steps,
            warmup_steps=round(self.config.warmup_epochs * self.steps_per_epoch),
            min_ratio=self.config.min_lr_ratio,
        )
        self.take_step.set_lr(self.lr)

    def _set_patch_drop_rate(self, epoch: int) -> None:
        first, last = self.recipe.model.patch_drop_rate, self.config.last_patch_drop_rate
        if first is not None and last is not None:
            assert isinstance(self.network, VisionTransformer)
            num_epochs = math.ceil(self.num_steps / self.steps_per_epoch)
            rate = patch_drop_rate_at(epoch, first=first, last=last, num_epochs=num_epochs)
            if rate != self.network.patch_drop_rate:
                self.network.patch_drop_rate = rate
                self.take_step.forget()

    def _is_validation_due(self, epoch: int) -> bool:
        step = self.progress.step
        is_epoch_end = step % self.steps_per_epoch == 0
        return step == self.num_steps or (is_epoch_end and epoch % self.config.eval_every == 0)

    def _validate(self, epoch: int) -> None:
        """Scores the validation films with the averaged weights and keeps the best, by copy.

        In the precision of training: these scores choose the epoch and stand in the history. Those
        that are kept, by which the threshold is set, are computed anew in float32.
        """
        progress = self.progress
        self._unseen.look(progress, self.recorder)
        share_state(self.average.network, self.group)
        logits = score_together(
            self.average.network,
            self.val.pixels,
            self.device,
            self.group,
            dtype=self.device.dtype,
        )
        if not np.isfinite(logits).all():
            raise not_finite("validation score after", progress.step, float("nan"), epoch)
        margin = logits[:, Label.PNEUMONIA] - logits[:, Label.NORMAL]
        auroc = float(roc_auc_score(self.val.labels, margin))
        val_loss = F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(self.val.labels))
        progress.elapsed_s = time.monotonic() - self._started
        row = {
            "epoch": epoch,
            "train_loss": progress.take_mean_loss(),
            "val_loss": float(val_loss),
            "val_auroc": auroc,
            "lr": self.lr,
            "time_s": round(progress.elapsed_s, 3),
        }
        progress.history.append(row)
        if self.config.keep == "best" and auroc > progress.best.auroc:
            weights = {k: v.clone() for k, v in self.average.network.state_dict().items()}
            progress.best = Best(auroc, epoch, weights)
        self.recorder.epoch({"step": progress.step, **row})

    def _is_patience_lost(self) -> bool:
        return self.config.keep == "best" and self.progress.is_patience_lost(self.config.patience)

    def _is_checkpoint_due(self) -> bool:
        is_due = time.monotonic() - self._saved >= self.config.checkpoint_every_s
        return from_main(self.group, is_due)

    def _save(self) -> None:
        self._unseen.look(self.progress, self.recorder)
        if self.group.is_main:
            save_state(
                self.path,
                {
                    **self.identity,
                    **self.progress.to_dict(),
                    "objective": self.objective.state_dict(),
                    "average": self.average.network.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "film_weights": self.sampler.state(),
                },
            )
        barrier(self.group)
        self._saved = time.monotonic()
