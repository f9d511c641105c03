"""Which films an epoch draws, and in which order."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pneumoscope.config import TrainingConfig
from pneumoscope.training.distributed import Group, from_main
from pneumoscope.training.films import LabelledFilms
from pneumoscope.training.randomness import balanced_order, epoch_order, weighted_order
from pneumoscope.training.style_balance import style_weights


@dataclass(frozen=True)
class Sampler:
    """Draws the films of an epoch: each once, the classes equally often, or by weights.

    The same on every process, and after a resume, as the order follows from seed and epoch.

    Attributes:
        seed: of the run.
        labels: class indices (N,) of the training films.
        is_balanced: draw the classes equally often.
        film_weights: (N,), how often each film is drawn beside the others, whatever ``is_balanced``
            says; or None.
    """

    seed: int
    labels: NDArray[np.int64]
    is_balanced: bool = False
    film_weights: NDArray[np.float64] | None = None

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Returns the places (N,) of the films that an epoch, counted from 0, draws in turn."""
        if self.film_weights is not None:
            return weighted_order(self.seed, epoch, self.film_weights)
        if self.is_balanced:
            return balanced_order(self.seed, epoch, self.labels)
        return epoch_order(self.seed, epoch, len(self.labels))

    def state(self) -> Tensor | None:
        """Returns what a resumed run takes up: the films' weights (N,), or None without."""
        return None if self.film_weights is None else torch.from_numpy(self.film_weights)


def make_sampler(
    config: TrainingConfig,
    films: LabelledFilms,
    group: Group,
    state: Tensor | None = None,
) -> Sampler:
    """Returns the sampler that a recipe asks for.

    Where films are weighed by their style one process computes the weights, and a resumed run
    takes them up: the last digits of such a fit differ between machines, and with them the order
    of the films would.

    Args:
        config: of the recipe.
        films: the training films.
        group: this process among its peers.
        state: that of the run that is resumed, where one is.
    """
    weights = None
    if config.style_sampler:
        if state is not None:
            weights = state.numpy()
        else:
            weights = style_weights(films.pixels, films.labels) if group.is_main else None
            weights = from_main(group, weights)
    return Sampler(config.seed, films.labels, config.balanced_sampler, weights)
