"""One step of the optimizer: launched piece by piece, or recorded once and replayed on a GPU."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pneumoscope.errors import RecordingError
from pneumoscope.training.batch import Batch
from pneumoscope.training.device import Device
from pneumoscope.training.distributed import Group, sum_over
from pneumoscope.training.optimizer import Optimizers

WITHOUT_GRAPHS = "PNEUMOSCOPE_NO_CUDA_GRAPHS"
"""The environment variable that keeps steps from being recorded, where it is 1."""


class _Recording(NamedTuple):
    """A recorded step: replayed, it reads ``inputs`` and writes ``found`` (2,)."""

    graph: torch.cuda.CUDAGraph
    inputs: Batch
    found: Tensor


class Step:
    """Forward, backward, clipping and update, each launched as it comes.

    Weights do not move where loss or gradient is not finite: it asks before the update, which on a
    GPU means to wait for it.
    """

    wait_every = 1
    """Steps after which a trainer may look at what they returned without holding anything up."""

    def __init__(
        self,
        objective: nn.Module,
        optimizer: torch.optim.AdamW | Optimizers,
        clip_grad_norm: float,
        device: Device,
        group: Group,
    ) -> None:
        """``objective`` takes a :class:`Batch`; it may be wrapped for processes."""
        self.objective, self.optimizer = objective, optimizer
        self.parameters = list(objective.parameters())
        self.clip_grad_norm = clip_grad_norm
        self.device, self.group = device, group

    def set_lr(self, lr: float) -> None:
        """Sets the learning rate of the next step, for each parameter group by its scale."""
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = lr * parameters["lr_scale"]

    def __call__(self, batch: Batch) -> Tensor:
        """Returns loss, over all processes, and norm of the gradient before clipping (2,)."""
        found = self._gradients(batch)
        if found.isfinite().all():
            self.optimizer.step()
        return found

    def forget(self) -> None:
        """To be called before the next step where what the network does with a batch has changed.

        A recorded step would go on as before. Also frees what a recording holds.
        """

    def _gradients(self, batch: Batch) -> Tensor:
        with self.device.autocast, self.device.attention:
            loss = self.objective(batch)
        self.optimizer.zero_grad(set_to_none=True)
        # The wrapper averages over processes; the parts must add up instead.
        (loss * self.group.world_size).backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip_grad_norm)
        return torch.stack([sum_over(self.group, loss), norm])


class GraphedStep(Step):
    """The same as one CUDA graph, so that the GPU need not wait for a thousand launches.

    The first steps are launched one by one, since libraries set themselves up in them; the next is
    recorded, and it and all later ones replay the recording on copies of their batches. Nothing
    asks whether values are finite before the update: who trains looks every `wait_every` steps, and
    at least before weights are kept.

    Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#whole-network-capture; random
    numbers in a graph follow from the seed that is set before each replay.
    """

    wait_every = 64
    _NUM_WARMUPS = 3

    def __init__(
        self,
        objective: nn.Module,
        optimizer: torch.optim.AdamW | Optimizers,
        clip_grad_norm: float,
        device: Device,
        group: Group,
    ) -> None:
        """As for :class:`Step`, on a CUDA device and for a single process."""
        super().__init__(objective, optimizer, clip_grad_norm, device, group)
        self._stream = torch.cuda.Stream(device.device)  # type: ignore[no-untyped-call]
        scales = [parameters["lr_scale"] for parameters in optimizer.param_groups]
        self._lr_scales = torch.tensor(scales, device=device.device)
        self._lrs = torch.zeros_like(self._lr_scales)
        self._num_launched = 0
        self._recording: _Recording | None = None

    def set_lr(self, lr: float) -> None:
        """Sets the learning rate of the next step, where a recording looks for it too."""
        super().set_lr(lr)
        torch.mul(self._lr_scales, lr, out=self._lrs)

    def __call__(self, batch: Batch) -> Tensor:
        """Returns loss and norm of the gradient before clipping (2,); does not wait for them."""
        if self._num_launched < self._NUM_WARMUPS:
            self._num_launched += 1
            return self._launch(batch)
        if self._recording is None:
            self._recording = self._record(batch)
        graph, inputs, found = self._recording
        for mine, given in zip(inputs.tensors(), batch.tensors(), strict=True):
            mine.copy_(given)
        graph.replay()
        return found.clone()

    def forget(self) -> None:
        """Drops the recording; the next step is launched, as the first were."""
        self._recording = None
        self._num_launched = min(self._num_launched, self._NUM_WARMUPS - 1)

    def _launch(self, batch: Batch) -> Tensor:
        """Steps on the stream on which it will be recorded."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            found = self._gradients(batch)
            self.optimizer.step()
        torch.cuda.current_stream().wait_stream(self._stream)
        return found

    def _record(self, batch: Batch) -> _Recording:
        """Returns a step that was recorded on a copy of ``batch``, and not taken.

        Raises:
            RecordingError: something in the step cannot be recorded, or memory is short.
        """
        inputs = batch.copy()
        self.optimizer.zero_grad(set_to_none=True)  # gradients of a graph lie in its own memory
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with self._lrs_on_the_gpu(), torch.cuda.graph(graph, stream=self._stream):
                found = self._gradients(inputs)
                self.optimizer.step()
        except RuntimeError as error:
            torch.cuda.set_stream(stream)  # torch does not go back to it where recording fails
            cause: BaseException = error
            while isinstance(cause.__context__, RuntimeError):  # the last only says that one failed
                cause = cause.__context__
            why = (str(cause) or type(cause).__name__).splitlines()[0]
            raise RecordingError(
                f"a training step cannot be recorded as a CUDA graph ({why}); set "
                f"{WITHOUT_GRAPHS}=1 in the environment to launch each step piece by piece"
            ) from error
        return _Recording(graph, inputs, found)

    @contextmanager
    def _lrs_on_the_gpu(self) -> Iterator[None]:
        groups = self.optimizer.param_groups
        before = [parameters["lr"] for parameters in groups]
        for parameters, lr in zip(groups, self._lrs, strict=True):
            parameters["lr"] = lr
            if "capturable" in parameters:  # AdamW's; Muon has nothing to know
                parameters["capturable"] = True
        try:
            yield
        finally:
            for parameters, lr in zip(groups, before, strict=True):
                parameters["lr"] = lr
                if "capturable" in parameters:
                    parameters["capturable"] = False


def make_step(
    objective: nn.Module,
    optimizer: torch.optim.AdamW | Optimizers,
    clip_grad_norm: float,
    device: Device,
    group: Group,
) -> Step:
    """Returns a step of the kind that suits the machine; arguments as for :class:`Step`."""
    return kind_of_step(device, group)(objective, optimizer, clip_grad_norm, device, group)


def kind_of_step(device: Device, group: Group) -> type[Step]:
    """Returns what suits the machine: a graph for one process with a CUDA GPU, if not forbidden."""
    is_alone_on_a_gpu = device.device.type == "cuda" and group.world_size == 1
    is_forbidden = os.environ.get(WITHOUT_GRAPHS) == "1"
    return GraphedStep if is_alone_on_a_gpu and not is_forbidden else Step
