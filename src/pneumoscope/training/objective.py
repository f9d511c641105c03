"""What a training step minimises: the labels alone, or the labels and a teacher.

Shapes: B films of this process, N patches, D embed_dim, T the teacher's channels, K classes.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pneumoscope.bundle import Bundle
from pneumoscope.config import DistillationConfig, Recipe
from pneumoscope.data.patients import CAUSES, NO_CAUSE
from pneumoscope.labels import CLASS_NAMES
from pneumoscope.models.cnn import ResNet
from pneumoscope.models.vit import VisionTransformer
from pneumoscope.training.device import Device
from pneumoscope.training.guide import load_guide
from pneumoscope.training.mixing import Mix


class Causes(NamedTuple):
    """Causes of pneumonia of a process's films (B,), and of the whole batch's.

    They are indices into ``CAUSES``, or ``NO_CAUSE``.
    """

    mine: Tensor
    whole: Tensor


class CauseTask(nn.Module):
    """A second head on the same features: what caused the pneumonia.

    The style of a film tells the two apart less well than it tells sick from healthy (AUROC .72
    and .96 by ``benchmarks/style.py``), so features that live on style pay less here.

    Source: Caruana, "Multitask Learning", Machine Learning 28 (1997) 41-75.
    """

    def __init__(
        self, num_features: int, causes: Tensor, weight: float, label_smoothing: float
    ) -> None:
        """Draws the head's weights from torch's random state.

        Args:
            num_features: width of what the network's head sees.
            causes: (N,) those of the training films, each cause present; they are balanced.
            weight: of this task's loss beside the first one's.
            label_smoothing: as of the first task.
        """
        super().__init__()
        self.head = nn.Linear(num_features, len(CAUSES))
        self.weight = weight
        self.label_smoothing = label_smoothing
        self.class_weights: Tensor
        balance = class_weights(causes[causes != NO_CAUSE], len(CAUSES))
        self.register_buffer("class_weights", balance, persistent=False)

    def forward(self, seen: Tensor, causes: Causes) -> Tensor:  # (B, num_features)
        """Returns this process's part of the weighted cross-entropy, a scalar.

        The mean is over the films of the whole batch whose cause is stated; 0 without any.
        """
        losses = F.cross_entropy(
            self.head(seen).float(),
            causes.mine,
            weight=self.class_weights,
            label_smoothing=self.label_smoothing,
            ignore_index=NO_CAUSE,
            reduction="sum",
        )
        # By a product, not by a mask: how many films a mask leaves, a GPU would have to tell first.
        is_stated = causes.whole != NO_CAUSE
        total = (self.class_weights[causes.whole.clamp(min=0)] * is_stated).sum()
        return self.weight * losses / (total + (total == 0))


class Supervised(nn.Module):
    """Weighted cross-entropy with label smoothing, and the second task where there is one.

    A module around the network, so that the distributed wrapper sees the whole step. Batches may
    be spread over processes: each returns its part of the loss, and the parts add up to what one
    process would compute on the whole batch.

    With ``focal_gamma`` a film's loss is multiplied by (1 - p)^gamma, where p is the probability
    of its own class, so that films that are already right count less.

    Source: Szegedy et al. (arXiv:1512.00567), section 7, for the smoothing; Lin et al., "Focal
    Loss for Dense Object Detection" (arXiv:1708.02002), equation 4.
    """

    def __init__(
        self,
        network: nn.Module,
        class_weights: Tensor,
        label_smoothing: float,
        focal_gamma: float = 0.0,
        cause_task: CauseTask | None = None,
    ) -> None:
        """``class_weights`` (K,); ``label_smoothing`` is spread over all classes, in [0, 1)."""
        super().__init__()
        self.network = network
        self.cause_task = cause_task
        self.label_smoothing = label_smoothing
        self.focal_gamma = focal_gamma
        self.class_weights: Tensor
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(
        self,
        x: Tensor,
        labels: Tensor,
        all_labels: Tensor,
        mix: Mix | None = None,
        causes: Causes | None = None,
    ) -> Tensor:
        """Returns this process's part of the batch's loss, a scalar.

        Args:
            x: (B, C, H, W) in [-1, 1].
            labels: (B,) class indices of ``x``.
            all_labels: class indices of the whole batch, over all processes.
            mix: what else is in the films, where they are mixed.
            causes: for the second task; needed where there is one.
        """
        if self.cause_task is None:
            return self.label_loss(self.network(x), labels, all_labels, mix)
        assert causes is not None
        network = self.network
        assert isinstance(network, ResNet | VisionTransformer)
        if isinstance(network, VisionTransformer):
            features, _ = network.encode(x, class_only=True)
        else:
            features = network.forward_features(x)
        seen = network.represent(features)
        loss = self.label_loss(network.head(seen), labels, all_labels, mix)
        part: Tensor = self.cause_task(seen, causes)
        return loss + part

    def label_loss(
        self, logits: Tensor, labels: Tensor, all_labels: Tensor, mix: Mix | None = None
    ) -> Tensor:
        """Returns this process's part of the cross-entropy with the labels, a scalar.

        Over all processes it is exactly ``F.cross_entropy(..., weight, label_smoothing)`` of the
        whole batch, whose mean is over the summed weights of its labels. Of mixed films it is the
        mean of the losses with both labels, by their shares; the partners are the same films in
        another order, so the summed weights stay.
        """
        losses = self._losses(logits.float(), labels)
        if mix is not None:
            partners = self._losses(logits.float(), mix.labels)
            losses = mix.share * losses + (1.0 - mix.share) * partners
        return losses.sum() / self.class_weights[all_labels].sum()

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Returns the weighted loss of each film (B,)."""
        losses = F.cross_entropy(
            logits,
            labels,
            weight=self.class_weights,
            label_smoothing=self.label_smoothing,
            reduction="none",
        )
        if self.focal_gamma:
            p = logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
            losses = losses * (1.0 - p) ** self.focal_gamma
        return losses


class Distilled(Supervised):
    """Labels, plus a teacher's answers and maps for a Vision Transformer that learns slowly alone.

    The class token answers for the labels and for the teacher's probabilities; the patch tokens,
    projected, match the teacher's last feature map (of a ViT, its patch tokens) at their own
    places, which gives every film hundreds of targets instead of one. The teacher sees the same
    augmented film.

    Source: Hinton et al. (arXiv:1503.02531), section 2, for the answers; Li et al., "Locality
    Guidance for Improving Vision Transformers on Tiny Datasets", ECCV 2022 (arXiv:2207.10026),
    for the maps.
    """

    def __init__(
        self,
        network: VisionTransformer,
        teacher: ResNet | VisionTransformer,
        config: DistillationConfig,
        class_weights: Tensor,
        label_smoothing: float,
        focal_gamma: float = 0.0,
        cause_task: CauseTask | None = None,
    ) -> None:
        """Draws the projection's weights from torch's random state; the teacher is frozen."""
        super().__init__(network, class_weights, label_smoothing, focal_gamma, cause_task)
        self.config = config
        self.project = nn.Linear(network.embed_dim, teacher.head.in_features)
        # In a tuple the teacher is no submodule: it is neither trained nor saved with the state.
        self._teacher = (teacher.eval().requires_grad_(False),)

    def forward(
        self,
        x: Tensor,
        labels: Tensor,
        all_labels: Tensor,
        mix: Mix | None = None,
        causes: Causes | None = None,
    ) -> Tensor:
        """Returns this process's part of the batch's loss; see :class:`Supervised`."""
        network = self.network
        assert isinstance(network, VisionTransformer)
        tokens, kept = network.encode(x)  # (B, 1 + N, D)
        seen = network.represent(tokens)
        logits = network.head(seen).float()
        teacher_logits, maps = self._ask_teacher(x)

        share = self.config.logit_weight
        loss = (1.0 - share) * self.label_loss(logits, labels, all_labels, mix)
        loss = loss + share * self._answer_loss(logits, teacher_logits) / len(all_labels)
        grid = network.img_size // network.patch_size
        feature_loss = self._feature_loss(tokens[:, 1:], kept, maps, grid)
        loss = loss + self.config.feature_weight * feature_loss / len(all_labels)
        if self.cause_task is not None:
            assert causes is not None
            loss = loss + self.cause_task(seen, causes)
        return loss

    @torch.no_grad()
    def _ask_teacher(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the teacher's logits (B, K) and last feature map (B, T, h, w).

        Of the film as it is shown: views over which the teacher averages otherwise are left out.
        """
        (teacher,) = self._teacher
        size = (teacher.img_size, teacher.img_size)
        x = F.interpolate(x[:, :1], size, mode="bilinear", antialias=True)
        features = teacher.forward_features(x.expand(-1, teacher.in_chans, -1, -1))
        logits = teacher.classify(features).float()
        if isinstance(teacher, ResNet):
            return logits, features.float()
        side = teacher.img_size // teacher.patch_size
        grid = features[:, 1:].transpose(1, 2).reshape(len(x), -1, side, side)
        return logits, grid.float()

    def _answer_loss(self, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Returns the divergence from the teacher's softened answers, summed over films."""
        t = self.config.temperature
        return t**2 * F.kl_div(
            F.log_softmax(logits / t, dim=1),
            F.log_softmax(teacher_logits / t, dim=1),
            reduction="sum",
            log_target=True,
        )

    def _feature_loss(self, tokens: Tensor, kept: Tensor | None, maps: Tensor, grid: int) -> Tensor:
        """Returns the mean squared distance to the normalised maps, summed over films."""
        maps = F.interpolate(maps, (grid, grid), mode="bilinear")  # (B, T, grid, grid)
        targets = maps.flatten(2).transpose(1, 2)  # (B, grid * grid, T)
        if kept is not None:
            targets = targets.gather(1, kept[:, :, None].expand(-1, -1, targets.shape[2]))
        targets = F.layer_norm(targets, targets.shape[-1:])  # (B, N, T)
        distance: Tensor = (self.project(tokens).float() - targets).square()
        return distance.mean(dim=(1, 2)).sum()


def class_weights(labels: Tensor, num_classes: int) -> Tensor:
    """Returns weights (K,) inverse to each class's share, averaging 1 over the films.

    Args:
        labels: (N,) class indices of the training split, each class present.
        num_classes: K.
    """
    counts = torch.bincount(labels, minlength=num_classes)
    return len(labels) / (num_classes * counts)


def make_objective(
    network: ResNet | VisionTransformer,
    recipe: Recipe,
    labels: NDArray[np.int64],
    causes: NDArray[np.int64] | None,
    device: Device,
    *,
    teacher: Bundle | None,
    split_sha256: str,
) -> Supervised:
    """Returns what a training step minimises, on the device.

    Args:
        network: on the device; new heads and projections draw from torch's random state.
        recipe: names smoothing, class weights, the second task and the distillation.
        labels: class indices (N,) of the training films, each class present.
        causes: (N,) of the training films, each cause present, where a second task asks for them.
        device: where to compute.
        teacher: the bundle that guides the network, where one does.
        split_sha256: names the split.

    Raises:
        BundleError, ModelError, TrainingError: of the teacher; see :func:`load_guide`.
    """
    config = recipe.training
    weights = torch.ones(len(CLASS_NAMES))
    if config.class_weights:
        weights = class_weights(torch.from_numpy(labels), len(CLASS_NAMES))
    task = None
    if causes is not None:
        task = CauseTask(
            network.head.in_features,
            torch.from_numpy(causes),
            config.cause_weight,
            config.label_smoothing,
        )
    rest = (weights, config.label_smoothing, config.focal_gamma, task)
    if teacher is None:
        return Supervised(network, *rest).to(device.device)
    guide = load_guide(teacher, split_sha256)
    assert isinstance(network, VisionTransformer), "the recipe says so"
    guide = guide.to(device.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Distilled(network, guide, recipe.distillation, *rest).to(device.device)
