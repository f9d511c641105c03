"""The trainer's state on disk."""

import pickle

import pytest
import torch

from pneumoscope.errors import RunFolderError
from pneumoscope.training.checkpoint import load_state, save_state, taking_up

IDENTITY = {"recipe": "a", "split": "b"}


def test_a_state_comes_back_as_it_was(tmp_path):
    path = tmp_path / "state.pt"
    state = {**IDENTITY, "step": 3, "weights": {"w": torch.arange(4.0)}, "history": [{"x": 0.1}]}
    save_state(path, state)
    found = load_state(path, IDENTITY)
    assert found["history"] == [{"x": 0.1}]
    torch.testing.assert_close(found["weights"]["w"], torch.arange(4.0))
    assert [p.name for p in tmp_path.iterdir()] == ["state.pt"]


def test_no_state_is_none(tmp_path):
    assert load_state(tmp_path / "state.pt", IDENTITY) is None


def test_a_state_of_another_run_is_refused(tmp_path):
    path = tmp_path / "state.pt"
    save_state(path, {**IDENTITY, "step": 3})
    with pytest.raises(RunFolderError, match="belongs to a run with another split"):
        load_state(path, {**IDENTITY, "split": "other"})


class Boom:
    ran = False

    def __reduce__(self):
        return (setattr, (Boom, "ran", True))


@pytest.mark.parametrize("kind", ["truncated", "text", "pickle", "torch pickle"])
def test_what_is_no_state_is_refused_and_never_executed(tmp_path, kind):
    path = tmp_path / "state.pt"
    if kind == "truncated":
        save_state(path, {**IDENTITY, "w": torch.zeros(1000)})
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "text":
        path.write_text("hello")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Boom()))
    else:
        torch.save({**IDENTITY, "x": Boom()}, path)
    with pytest.raises(RunFolderError, match="cannot be read as a training state"):
        load_state(path, IDENTITY)
    assert not Boom.ran


def test_a_state_of_another_form_is_one_line(tmp_path):
    with pytest.raises(RunFolderError) as caught, taking_up(tmp_path / "mae.pt"):
        raise KeyError("losses")
    assert str(caught.value) == (
        f"{tmp_path / 'mae.pt'} was written by another version, whose state has another form; go "
        "on with that version, or choose another run folder"
    )


def test_memory_that_runs_out_is_no_fault_of_the_state(tmp_path):
    with pytest.raises(torch.OutOfMemoryError), taking_up(tmp_path / "state.pt"):
        raise torch.OutOfMemoryError("none is left")
