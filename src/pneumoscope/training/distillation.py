"""The losses of a teacher: its answers for any network, and its maps for a Vision Transformer.

Shapes: B films of this process, N patches, D embed_dim, T the teacher's channels, K classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pneumoscope.config import DistillationConfig
from pneumoscope.models.cnn import ResNet
from pneumoscope.models.ensemble import Ensemble
from pneumoscope.models.vit import VisionTransformer
from pneumoscope.training.batch import Batch
from pneumoscope.training.supervised import CauseTask, Supervised


class Distilled(Supervised):
    """Labels, plus the answers of a teacher that sees the same augmented film.

    Source: Hinton et al. (arXiv:1503.02531), section 2.
    """

    def __init__(
        self,
        network: nn.Module,
        teacher: ResNet | VisionTransformer | Ensemble,
        config: DistillationConfig,
        class_weights: Tensor,
        label_smoothing: float,
        focal_gamma: float = 0.0,
        cause_task: CauseTask | None = None,
    ) -> None:
        """Takes the teacher over: it is frozen, and answers one view of a film from then on."""
        super().__init__(network, class_weights, label_smoothing, focal_gamma, cause_task)
        self.config = config
        for module in teacher.modules():
            if isinstance(module, ResNet | VisionTransformer):
                module.flip_average = module.zoom_average = False
        # In a tuple the teacher is no submodule: it is neither trained nor saved with the state.
        self._teacher = (teacher.eval().requires_grad_(False),)

    def forward(self, batch: Batch) -> Tensor:
        """Returns this process's part of the batch's loss, a scalar."""
        with torch.no_grad():
            answers = self._teacher[0](self._as_the_teacher_sees(batch.x)).float()
        seen, logits = self._answer(batch.x)
        return self._class_loss(logits.float(), answers, batch) + self._cause_loss(seen, batch)

    def _as_the_teacher_sees(self, x: Tensor) -> Tensor:
        """Returns films (B, C, S, S) at the teacher's side S."""
        (teacher,) = self._teacher
        size = (teacher.img_size, teacher.img_size)
        x = F.interpolate(x[:, :1], size, mode="bilinear", antialias=True)
        return x.expand(-1, teacher.in_chans, -1, -1)

    def _class_loss(self, logits: Tensor, answers: Tensor, batch: Batch) -> Tensor:
        """Returns this process's part of the loss of labels and answers, by their shares.

        Args:
            logits: (B, K) of the network.
            answers: (B, K), the teacher's logits.
            batch: with its labels.
        """
        share = self.config.logit_weight
        loss = (1.0 - share) * self.label_loss(logits, batch)
        return loss + share * self._divergence(logits, answers) / len(batch.all_labels)

    def _divergence(self, logits: Tensor, answers: Tensor) -> Tensor:
        """Returns the divergence from the teacher's softened answers, summed over films."""
        t = self.config.temperature
        return t**2 * F.kl_div(
            F.log_softmax(logits / t, dim=1),
            F.log_softmax(answers / t, dim=1),
            reduction="sum",
            log_target=True,
        )


class Guided(Distilled):
    """A teacher's maps too, for a Vision Transformer, which learns slowly alone.

    The patch tokens, projected, match the teacher's last feature map (of a ViT, its patch tokens)
    at their own places, which gives every film hundreds of targets instead of one.

    Source: Li et al., "Locality Guidance for Improving Vision Transformers on Tiny Datasets",
    ECCV 2022 (arXiv:2207.10026).
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
        """Draws the projection's weights from torch's random state."""
        super().__init__(
            network, teacher, config, class_weights, label_smoothing, focal_gamma, cause_task
        )
        self.project = nn.Linear(network.embed_dim, teacher.head.in_features)

    def forward(self, batch: Batch) -> Tensor:
        """Returns this process's part of the batch's loss, a scalar."""
        network = self.network
        assert isinstance(network, VisionTransformer)
        tokens, kept = network.encode(batch.x)  # (B, 1 + N, D)
        seen = network.represent(tokens)
        logits = network.head(seen).float()
        answers, maps = self._ask_teacher(batch.x)
        loss = self._class_loss(logits, answers, batch)
        grid = network.img_size // network.patch_size
        feature_loss = self._feature_loss(tokens[:, 1:], kept, maps, grid)
        loss = loss + self.config.feature_weight * feature_loss / len(batch.all_labels)
        return loss + self._cause_loss(seen, batch)

    @torch.no_grad()
    def _ask_teacher(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the teacher's logits (B, K) and last feature map (B, T, h, w)."""
        (teacher,) = self._teacher
        assert isinstance(teacher, ResNet | VisionTransformer)
        features = teacher.forward_features(self._as_the_teacher_sees(x))
        logits = teacher.classify(features).float()
        if isinstance(teacher, ResNet):
            return logits, features.float()
        side = teacher.img_size // teacher.patch_size
        grid = features[:, 1:].transpose(1, 2).reshape(len(x), -1, side, side)
        return logits, grid.float()

    def _feature_loss(self, tokens: Tensor, kept: Tensor | None, maps: Tensor, grid: int) -> Tensor:
        """Returns the mean squared distance to the normalised maps, summed over films."""
        maps = F.interpolate(maps, (grid, grid), mode="bilinear")  # (B, T, grid, grid)
        targets = maps.flatten(2).transpose(1, 2)  # (B, grid * grid, T)
        if kept is not None:
            targets = targets.gather(1, kept[:, :, None].expand(-1, -1, targets.shape[2]))
        targets = F.layer_norm(targets, targets.shape[-1:])  # (B, N, T)
        distance: Tensor = (self.project(tokens).float() - targets).square()
        return distance.mean(dim=(1, 2)).sum()
