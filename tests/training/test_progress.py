"""What of a training survives a stop, besides its networks."""

import pytest
import torch

from pneumoscope.training.masked_pretraining import Pretraining
from pneumoscope.training.progress import Best, Progress


def test_it_is_read_from_a_state_as_runs_have_always_written_it():
    weights = {"head.bias": torch.tensor([1.0, 2.0])}
    state = {
        "recipe": "of another room",
        "step": 7,
        "loss_sum": 1.5,
        "loss_count": 3,
        "history": [{"epoch": 1, "val_auroc": 0.9}],
        "best": {"auroc": 0.9, "epoch": 1, "weights": weights},
        "elapsed_s": 12.5,
        "pretraining": {"losses": [0.5, 0.25], "time_s": 3.0},
    }
    found = Progress.from_dict(state)
    assert found == Progress(
        7,
        1.5,
        3,
        [{"epoch": 1, "val_auroc": 0.9}],
        Best(0.9, 1, weights),
        12.5,
        Pretraining([0.5, 0.25], 3.0),
    )
    state.pop("recipe")
    assert found.to_dict() == state


def test_a_new_training_has_done_nothing():
    assert Progress.from_dict(Progress().to_dict()) == Progress()
    assert not Progress().is_patience_lost(1)


def test_the_mean_loss_is_that_of_the_steps_since_it_was_taken():
    progress = Progress()
    for loss in (1.0, 2.0):
        progress.add_loss(loss)
    assert progress.take_mean_loss() == 1.5
    progress.add_loss(5.0)
    assert progress.take_mean_loss() == 5.0
    with pytest.raises(ZeroDivisionError):
        progress.take_mean_loss()


@pytest.mark.parametrize(("patience", "lost"), [(1, True), (2, True), (3, False)])
def test_patience_counts_validations_since_the_best(patience, lost):
    rows = [{"epoch": epoch} for epoch in (0, 4, 8, 12)]
    progress = Progress(history=rows, best=Best(0.9, 4, {}))
    assert progress.is_patience_lost(patience) is lost
