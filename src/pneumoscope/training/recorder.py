"""What a run says while it works: a live display, one JSON line a step, TensorBoard if asked."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pneumoscope.errors import ConfigError
from pneumoscope.files import storage_error


class Recorder:
    """Takes no note of anything: what every process but the main one has. Closes as a context."""

    def start(self, step: int, num_steps: int) -> None:
        """The run begins, or goes on, after ``step`` of ``num_steps``."""

    def pretraining(self, epoch: int, loss: float, time_s: float) -> None:
        """An epoch of masked autoencoding is done, before the run begins."""

    def step(self, record: dict[str, Any]) -> None:
        """One optimizer step is done; ``record`` has step, epoch, loss, lr, grad_norm, time_s."""

    def epoch(self, record: dict[str, Any]) -> None:
        """A validation is done; ``record`` is the step and a row of the history."""

    def close(self) -> None:
        """The run ended, well or not."""

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes, whatever happened."""
        self.close()


class RunRecorder(Recorder):
    """Writes ``log.jsonl`` (and TensorBoard files) in the run folder and shows the progress."""

    def __init__(self, folder: Path, name: str, *, tensorboard: bool, console: Console) -> None:
        """Opens nothing yet.

        Raises:
            ConfigError: TensorBoard is asked for and not installed.
        """
        self._log_path = folder / "log.jsonl"
        self._console = console
        self._name = name
        self._stream: Any = None
        self._task: Any = None
        self._open_writer = _tensorboard(folder) if tensorboard else None
        self._writer: Any = None
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def start(self, step: int, num_steps: int) -> None:
        """Opens the log, without the lines of steps that a killed run did after its checkpoint."""
        try:
            keep_until(self._log_path, step)
            self._stream = self._log_path.open("a", encoding="utf-8")
        except OSError as error:
            raise storage_error(self._log_path, error) from error
        if self._open_writer:
            self._writer = self._open_writer(purge_step=step + 1)
        self._progress.start()
        self._task = self._progress.add_task(self._name, total=num_steps, completed=step, status="")

    def pretraining(self, epoch: int, loss: float, time_s: float) -> None:
        """Prints a line that stays; the losses are kept with the training state."""
        self._progress.console.print(
            f"{self._name}: masked autoencoding, epoch {epoch}  loss {loss:.4f}  "
            f"{time_s / 60:.1f} min",
            markup=False,
            soft_wrap=True,
        )

    def step(self, record: dict[str, Any]) -> None:
        """Logs the step and moves the bar."""
        self._write({"kind": "step", **record})
        status = f"epoch {record['epoch']}  loss {record['loss']:.3f}"
        self._progress.update(self._task, completed=record["step"], status=status)
        if self._writer:
            for key in ("loss", "lr", "grad_norm"):
                self._writer.add_scalar(f"train/{key}", record[key], record["step"])

    def epoch(self, record: dict[str, Any]) -> None:
        """Logs the validation and prints a line that stays."""
        self._write({"kind": "epoch", **record})
        self._progress.console.print(
            f"{self._name}: epoch {record['epoch']}  train loss {record['train_loss']:.4f}  "
            f"val loss {record['val_loss']:.4f}  val AUROC {record['val_auroc']:.4f}  "
            f"{record['time_s'] / 60:.1f} min",
            markup=False,
            soft_wrap=True,
        )
        if self._writer:
            for key in ("val_loss", "val_auroc"):
                self._writer.add_scalar(key.replace("_", "/"), record[key], record["step"])

    def close(self) -> None:
        """Closes log and display."""
        self._progress.stop()
        for stream in (self._stream, self._writer):
            if stream is not None:
                with suppress(OSError):  # the write that failed has said so
                    stream.close()

    def _write(self, record: dict[str, Any]) -> None:
        try:
            self._stream.write(json.dumps(record) + "\n")
            self._stream.flush()
        except OSError as error:
            raise storage_error(self._log_path, error) from error


def keep_until(path: Path, step: int) -> None:
    """Cuts a log after the last whole line of a step up to ``step``; no log is no error."""
    if not path.exists():
        return
    end = 0
    with path.open("rb+") as stream:
        for line in stream:
            try:
                if json.loads(line)["step"] > step or not line.endswith(b"\n"):
                    break
            except (ValueError, KeyError):
                break
            end += len(line)
        os.ftruncate(stream.fileno(), end)


def _tensorboard(folder: Path) -> Callable[..., Any]:
    """Returns what opens TensorBoard's writer in ``folder``."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "training.tensorboard = true, but TensorBoard is not installed; "
            "pip install 'pneumoscope[tensorboard]'"
        ) from error
    return partial(SummaryWriter, str(folder / "tensorboard"))
