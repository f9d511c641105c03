"""The loss of the labels, and that of a second task.

Shapes: B films of this process, D width of what a head sees, K classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pneumoscope.data.patients import CAUSES, NO_CAUSE
from pneumoscope.models.cnn import ResNet
from pneumoscope.models.vit import VisionTransformer
from pneumoscope.training.batch import Batch, Causes


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

    def forward(self, batch: Batch) -> Tensor:
        """Returns this process's part of the batch's loss, a scalar."""
        if self.cause_task is None:
            return self.label_loss(self.network(batch.x), batch)
        seen, logits = self._answer(batch.x)
        return self.label_loss(logits, batch) + self._cause_loss(seen, batch)

    def _cause_loss(self, seen: Tensor, batch: Batch) -> Tensor | float:
        """Returns this process's part of the second task's loss, where there is one."""
        if self.cause_task is None:
            return 0.0
        assert batch.causes is not None, "the second task needs them"
        part: Tensor = self.cause_task(seen, batch.causes)
        return part

    def _answer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what the network's head sees (B, D), and its logits (B, K)."""
        network = self.network
        assert isinstance(network, ResNet | VisionTransformer)
        if isinstance(network, VisionTransformer):
            features, _ = network.encode(x, class_only=True)
        else:
            features = network.forward_features(x)
        seen = network.represent(features)
        return seen, network.head(seen)

    def label_loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Returns this process's part of the cross-entropy of logits (B, K) with the labels.

        Over all processes it is exactly ``F.cross_entropy(..., weight, label_smoothing)`` of the
        whole batch, whose mean is over the summed weights of its labels. Of mixed films it is the
        mean of the losses with both labels, by their shares; the partners are the same films in
        another order, so the summed weights stay.
        """
        losses = self._losses(logits.float(), batch.labels)
        if batch.mix is not None:
            share, partners = batch.mix.share, self._losses(logits.float(), batch.mix.labels)
            losses = share * losses + (1.0 - share) * partners
        return losses.sum() / self.class_weights[batch.all_labels].sum()

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


def class_weights(labels: Tensor, num_classes: int) -> Tensor:
    """Returns weights (K,) inverse to each class's share, averaging 1 over the films.

    Args:
        labels: (N,) class indices of the training split, each class present.
        num_classes: K.
    """
    counts = torch.bincount(labels, minlength=num_classes)
    return len(labels) / (num_classes * counts)
