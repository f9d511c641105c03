"""How far a training has come, apart from its networks and its optimizer."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from torch import Tensor

from pneumoscope.training.masked_pretraining import Pretraining


@dataclass
class Best:
    """The validation of the highest AUROC so far; ``weights`` is a copy, None before the first."""

    auroc: float = -1.0
    epoch: int = 0
    weights: dict[str, Tensor] | None = None


@dataclass
class Progress:
    """What a training has done and seen; part of the state from which a stopped one goes on.

    Attributes:
        step: optimizer steps done.
        loss_sum: summed losses of the steps since the last validation, in nats.
        loss_count: number of those steps.
        history: a row of figures for every validation.
        best: the best of them.
        elapsed_s: seconds of training, masked autoencoding included.
        pretraining: what masked autoencoding did, once it is done.
    """

    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: Best = field(default_factory=Best)
    elapsed_s: float = 0.0
    pretraining: Pretraining | None = None

    def add_loss(self, loss: float) -> None:
        """Counts the loss of one more step; the step itself was counted when it was done."""
        self.loss_sum += loss
        self.loss_count += 1

    def take_mean_loss(self) -> float:
        """Returns the mean loss of the steps since this was last asked, in nats.

        Raises:
            ZeroDivisionError: there was no step.
        """
        mean = self.loss_sum / self.loss_count
        self.loss_sum, self.loss_count = 0.0, 0
        return mean

    def is_patience_lost(self, patience: int) -> bool:
        """Returns whether as many validations have passed since the best one."""
        return sum(row["epoch"] > self.best.epoch for row in self.history) >= patience

    def to_dict(self) -> dict[str, Any]:
        """Returns all of it as plain values and tensors, none of them copied."""
        pretraining = asdict(self.pretraining) if self.pretraining else None
        return {**vars(self), "best": vars(self.best), "pretraining": pretraining}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """Returns what :meth:`to_dict` gave; other entries of ``state`` are left alone."""
        mine = {key.name: state[key.name] for key in fields(cls)}
        mine["best"] = Best(**mine["best"])
        if mine["pretraining"]:
            mine["pretraining"] = Pretraining(**mine["pretraining"])
        return cls(**mine)
