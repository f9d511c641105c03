"""What every step of the optimizer is fed: films, augmented and mixed, with their labels."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pneumoscope.config import Recipe
from pneumoscope.data.augmentation import Augmenter
from pneumoscope.models.scoring import network_input
from pneumoscope.training.batch import Batch, Causes
from pneumoscope.training.device import Device, send
from pneumoscope.training.distributed import Group
from pneumoscope.training.films import LabelledFilms
from pneumoscope.training.mixing import mix_films
from pneumoscope.training.randomness import seed_augmentation, seed_step

_PIXELS_AT_ONCE = 2**25
"""As many as a GPU augments at once: enough to be kept busy, and with all that is made of them some
1 to 2 GiB."""


class Feed:
    """Gives each step its batch, on the device.

    Batches are augmented one by one, but many at once on a CUDA GPU, which a batch alone keeps
    waiting for launches; every other device than a CPU holds the whole data set. Either way what a
    batch holds follows from its place in the run, so a resumed run is fed as it would have been.
    """

    def __init__(
        self,
        recipe: Recipe,
        films: LabelledFilms,
        causes: NDArray[np.int64] | None,
        batch_size: int,
        device: Device,
        group: Group,
    ) -> None:
        """Moves the films to the device, where that is no CPU.

        Args:
            recipe: names augmentation and seed.
            films: the training films.
            causes: (N,) of the films, where a second task asks for them.
            batch_size: of the whole batch, over all processes.
            device: where the network lives.
            group: this process among its peers.
        """
        self.recipe, self.device, self.group = recipe, device.device, group
        self.batch_size = batch_size
        self.augment = Augmenter(recipe.augmentation, recipe.model.img_size)
        self._pixels = films.pixels
        self._labels = torch.from_numpy(films.labels).to(self.device)
        self._causes = None if causes is None else torch.from_numpy(causes).to(self.device)
        self._resident: Tensor | None = None
        if self.device.type != "cpu":
            self._resident = torch.from_numpy(np.array(films.pixels)).to(self.device)
        self.batches_at_once = 1
        if self.device.type == "cuda":
            mine = -(-batch_size // group.world_size)
            self.batches_at_once = max(1, _PIXELS_AT_ONCE // (recipe.model.img_size**2 * mine))
        self._block: tuple[int, Tensor] | None = None

    def batch(self, step: int, place: int, order: NDArray[np.int64]) -> Batch:
        """Returns this process's part of a batch, and seeds torch for the rest of the step.

        Args:
            step: of the run, from 0.
            place: of the batch in its epoch, from 0.
            order: of the films in that epoch (N,), the same on every process.
        """
        seed, rank = self.recipe.training.seed, self.group.rank
        index = order[place * self.batch_size : (place + 1) * self.batch_size]
        if self.batches_at_once > 1:
            films = self._from_block(step, place, order)
            seed_step(seed, step, rank)
        else:
            seed_step(seed, step, rank)
            films = self.augmented(self._mine(index))
        whole = send(torch.from_numpy(index), self.device)
        part = whole[rank :: self.group.world_size]
        labels = self._labels[part]
        x, mix = mix_films(
            network_input(films, self.recipe.model.in_chans), labels, self.recipe.augmentation
        )
        causes = None
        if self._causes is not None:
            causes = Causes(self._causes[part], self._causes[whole])
        return Batch(x, labels, self._labels[whole], mix, causes)

    def augmented(self, index: NDArray[np.int64]) -> Tensor:
        """Returns films (B, S, S) float32 on the scale 0-255; draws from torch's random state."""
        films: Tensor = self.augment(self._films(index))
        return films

    def forget(self) -> None:
        """Frees what was augmented ahead."""
        self._block = None

    def _films(self, index: NDArray[np.int64]) -> Tensor:
        if self._resident is not None:
            return self._resident[send(torch.from_numpy(index), self.device)]
        return torch.from_numpy(self._pixels[index])

    def _mine(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        return index[self.group.rank :: self.group.world_size]

    def _from_block(self, step: int, place: int, order: NDArray[np.int64]) -> Tensor:
        """Returns the augmented films of a batch, of which neighbours are augmented with it."""
        first = place - place % self.batches_at_once
        started_at = step - (place - first)
        if self._block is None or self._block[0] != started_at:
            num_batches = min(self.batches_at_once, len(order) // self.batch_size - first)
            batches = order[first * self.batch_size :][: num_batches * self.batch_size]
            mine = np.concatenate(
                [self._mine(batch) for batch in batches.reshape(num_batches, self.batch_size)]
            )
            self._block = None  # its memory serves the next
            seed_augmentation(self.recipe.training.seed, started_at, self.group.rank)
            self._block = started_at, self.augmented(mine)
        size = len(self._mine(np.arange(self.batch_size)))
        start = (place - first) * size
        return self._block[1][start : start + size]
