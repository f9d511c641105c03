"""Several processes as one: started by torchrun, invisible without it.

Every function also works in a single process that never heard of torchrun, so the loop has no
second version.
"""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pneumoscope.models.scoring import score_pixels
from pneumoscope.training.device import Device

T = TypeVar("T")
F = TypeVar("F", np.float32, np.float64)

SCORING_BATCH = 64
"""Films a forward pass when scoring; also the unit that is dealt out to processes."""


@dataclass(frozen=True)
class Group:
    """This process's place among its peers."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """True for the one process that writes files and talks to the user."""
        return self.rank == 0


@contextmanager
def process_group(device_kind: str = "auto") -> Iterator[Group]:
    """Yields this process's place; joins the others first where torchrun started several."""
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        yield Group()
        return
    use_cuda = device_kind in ("auto", "cuda") and torch.cuda.is_available()
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if use_cuda:
        torch.cuda.set_device(local_rank)
    dist.init_process_group("nccl" if use_cuda else "gloo")
    try:
        yield Group(dist.get_rank(), dist.get_world_size(), local_rank)
    finally:
        # The gradient wrapper must be collected before the group goes, or gloo may abort at exit.
        gc.collect()
        dist.destroy_process_group()


def parallel(network: nn.Module, group: Group, device: Device) -> nn.Module:
    """Returns ``network``, wrapped where gradients must be averaged over processes."""
    if group.world_size == 1:
        return network
    ids = [device.device.index] if device.device.type == "cuda" else None
    return DistributedDataParallel(network, device_ids=ids)


def barrier(group: Group) -> None:
    """Waits until every process is here."""
    if group.world_size > 1:
        dist.barrier()


def from_main(group: Group, value: T) -> T:
    """Returns what the main process passed, on every process."""
    if group.world_size == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def sum_over(group: Group, value: torch.Tensor) -> torch.Tensor:
    """Returns the sum of every process's scalar ``value``, a scalar on the same device."""
    value = value.detach().clone()
    if group.world_size > 1:
        dist.all_reduce(value)
    return value


def share_state(network: nn.Module, group: Group) -> None:
    """Gives every process the main one's weights and buffers.

    Gradients are shared at every step, but BatchNorm's running statistics are not.
    """
    if group.world_size > 1:
        for value in network.state_dict().values():
            dist.broadcast(value, src=0)


def score_together(
    network: nn.Module,
    pixels: NDArray[np.uint8],
    device: Device,
    group: Group,
    *,
    dtype: torch.dtype = torch.float32,
) -> NDArray[np.float64]:
    """Returns logits (N, K) of ``pixels`` (N, S, S) on every process, each film scored once.

    A batch holds the same films whatever the number of processes, so the scores are the same too.
    ``dtype`` is as for :func:`~pneumoscope.models.scoring.score_pixels`.
    """

    def score(batch: slice) -> NDArray[np.float64]:
        return score_pixels(
            network, pixels[batch], batch_size=SCORING_BATCH, device=device.device, dtype=dtype
        )

    if len(pixels) == 0:
        return np.empty((0, int(network.num_classes)))  # type: ignore[arg-type]
    return in_batches_together(len(pixels), score, group)


def in_batches_together(
    num_films: int, compute: Callable[[slice], NDArray[F]], group: Group
) -> NDArray[F]:
    """Returns what ``compute`` gives for each batch of films, in their order, on every process.

    Whole batches are dealt out in turn, and put back by number. Nothing is padded or dropped.

    Args:
        num_films: at least one.
        compute: gives one row a film; called with the places of a batch.
        group: this process among its peers.
    """
    starts = range(0, num_films, SCORING_BATCH)[group.rank :: group.world_size]
    parts = {start: compute(slice(start, start + SCORING_BATCH)) for start in starts}
    if group.world_size > 1:
        gathered: list[dict[int, NDArray[F]]] = [{} for _ in range(group.world_size)]
        dist.all_gather_object(gathered, parts)
        parts = {start: rows for part in gathered for start, rows in part.items()}
    return np.concatenate([parts[start] for start in sorted(parts)])
