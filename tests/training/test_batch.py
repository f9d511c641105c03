import torch

from pneumoscope.training.batch import Batch, Causes
from pneumoscope.training.mixing import Mix

LABELS = torch.tensor([0, 1, 1])


def full() -> Batch:
    x = torch.rand(3, 1, 4, 4).expand(-1, 3, -1, -1)  # one channel shown three times
    mix = Mix(LABELS.flip(0), torch.tensor(0.3))
    return Batch(x, LABELS, LABELS.repeat(2), mix, Causes(LABELS - 1, LABELS.repeat(2) - 1))


def test_all_tensors_are_told():
    batch = full()
    parts = [part for field in batch for part in (field if isinstance(field, tuple) else [field])]
    assert len(parts) == 7
    assert all(a is b for a, b in zip(batch.tensors(), parts, strict=True))
    assert len(Batch(batch.x, batch.labels, batch.all_labels).tensors()) == 3


def test_a_copy_is_the_same_and_can_be_written_to():
    batch = full()
    copy = batch.copy()
    for mine, given in zip(copy.tensors(), batch.tensors(), strict=True):
        assert torch.equal(mine, given)
        assert mine.data_ptr() != given.data_ptr()
        mine.zero_()
    assert batch.x.abs().sum() > 0
    assert Batch(batch.x, batch.labels, batch.all_labels).copy().mix is None
