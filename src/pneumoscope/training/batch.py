"""What an objective takes in a step."""

from typing import NamedTuple

from torch import Tensor

from pneumoscope.training.mixing import Mix


class Causes(NamedTuple):
    """Causes of pneumonia of a process's films (B,), and of the whole batch's.

    They are indices into ``CAUSES``, or ``NO_CAUSE``.
    """

    mine: Tensor
    whole: Tensor


class Batch(NamedTuple):
    """B films of this process, and what is known of them.

    Attributes:
        x: films (B, C, S, S), about in [-1, 1].
        labels: their class indices (B,).
        all_labels: class indices of the whole batch, over all processes.
        mix: what else is in the films, where they are mixed.
        causes: for the second task, where there is one.
    """

    x: Tensor
    labels: Tensor
    all_labels: Tensor
    mix: Mix | None = None
    causes: Causes | None = None
