"""What a run keeps on disk, damaged or cut short: noticed, said in one line, never used."""

import io
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from rich.console import Console

from pneumoscope.errors import RunFolderError, StorageError
from pneumoscope.training.checkpoint import load_state, save_state
from pneumoscope.training.recorder import RunRecorder

STEP = {"epoch": 1, "loss": 0.5, "lr": 0.1, "grad_norm": 1.0, "time_s": 0.1}


def test_a_changed_bit_of_the_state_never_changes_the_training(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    state = {"recipe": "a", "step": 3, "weights": {"w": torch.arange(200.0)}, "loss": 0.5}
    save_state(path, state)
    content = path.read_bytes()
    complaints: list[str] = []
    places = range(0, len(content), 7)
    for place in places:
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        try:
            found = load_state(path, {"recipe": "a"})
        except RunFolderError as error:
            complaints.append(str(error))
            continue
        assert found is not None  # the bit was in the padding
        assert torch.equal(found["weights"]["w"], state["weights"]["w"])
        assert (found["step"], found["loss"]) == (3, 0.5)
    expected = f"{path} cannot be read as a training state; remove it to start again"
    assert set(complaints) == {expected}
    assert len(complaints) > len(places) / 2


@contextmanager
def four_kilobytes() -> Iterator[None]:
    """No file of this process grows beyond 4096 bytes; not even pytest's own output."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_log_that_cannot_grow_is_one_line_and_closing_adds_nothing(tmp_path: Path) -> None:
    console = Console(file=io.StringIO())
    recorder = RunRecorder(tmp_path, "demo", tensorboard=False, console=console)

    def train() -> None:
        with recorder:
            recorder.start(0, 1000)
            for step in range(1, 1000):
                recorder.step({"step": step, **STEP})

    with pytest.raises(StorageError) as caught, four_kilobytes():
        train()
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'log.jsonl'}: File too large; choose another folder"
    )
    assert 3900 < (tmp_path / "log.jsonl").stat().st_size <= 4096
