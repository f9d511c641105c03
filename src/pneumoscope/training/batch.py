"""A batch of films, as an objective of labels takes it.

Shapes: B films of this process, A of all processes, C channels, S side.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pneumoscope.training.mixing import Mix


class Causes(NamedTuple):
    """Causes of pneumonia: of this process's films (B,), and of all of the batch (A,).

    They are indices into ``CAUSES`` of :mod:`pneumoscope.data.patients`, or its ``NO_CAUSE``.
    """

    mine: Tensor
    whole: Tensor


class Batch(NamedTuple):
    """Films of this process, and what is known of them.

    Attributes:
        x: films (B, C, S, S), about in [-1, 1].
        labels: their class indices (B,).
        all_labels: class indices of the whole batch (A,), over all processes.
        mix: what else is in the films, where they are mixed.
        causes: for the second task; needed where there is one.
    """

    x: Tensor
    labels: Tensor
    all_labels: Tensor
    mix: Mix | None = None
    causes: Causes | None = None

    def tensors(self) -> list[Tensor]:
        """Returns all tensors of the batch, in one order."""
        return [self.x, self.labels, self.all_labels, *(self.mix or ()), *(self.causes or ())]

    def copy(self) -> "Batch":
        """Returns a batch that shares no memory with this one."""
        return Batch(
            # A channel that is shown several times shares its memory, which cannot be written to.
            self.x.clone(memory_format=torch.contiguous_format),
            self.labels.clone(),
            self.all_labels.clone(),
            Mix(*(part.clone() for part in self.mix)) if self.mix else None,
            Causes(*(part.clone() for part in self.causes)) if self.causes else None,
        )
