"""Steps whose figures have not been looked at: they may lie on a GPU, and asking means waiting."""

import math
from typing import Any

import torch
from torch import Tensor

from pneumoscope.errors import NonFiniteLossError
from pneumoscope.training.progress import Progress
from pneumoscope.training.recorder import Recorder


class UnseenSteps:
    """Steps in the order in which they were done, until someone looks."""

    def __init__(self) -> None:
        """Starts with none."""
        self._steps: list[tuple[dict[str, Any], Tensor]] = []

    def __len__(self) -> int:
        """Returns how many steps have not been looked at."""
        return len(self._steps)

    def add(self, done: dict[str, Any], found: Tensor) -> None:
        """Puts a step away.

        Args:
            done: what is known of it, among it ``step`` and ``epoch``.
            found: its loss and the norm of its gradient (2,), on any device.
        """
        self._steps.append((done, found))

    def look(self, progress: Progress, recorder: Recorder) -> None:
        """Counts the losses of these steps and records them; none is left.

        Raises:
            NonFiniteLossError: the loss or gradient of one of them is not finite.
        """
        if not self._steps:
            return
        found = torch.stack([figures for _, figures in self._steps]).tolist()
        for (done, _), (loss, grad_norm) in zip(self._steps, found, strict=True):
            for what, value in (("loss of", loss), ("gradient of", grad_norm)):
                if not math.isfinite(value):
                    raise not_finite(what, done["step"], value, done["epoch"])
            progress.add_loss(loss)
            recorder.step({**done, "loss": loss, "grad_norm": grad_norm})
        self._steps.clear()


def not_finite(what: str, step: int, value: float, epoch: int) -> NonFiniteLossError:
    """Returns the error that says which value of a step is not finite, and what to do."""
    return NonFiniteLossError(
        f"the {what} step {step} (epoch {epoch}) is {value}; the last checkpoint is untouched; "
        "lower training.lr or raise training.warmup_epochs, in another run folder"
    )
