"""The losses against torch's own, whole and in parts."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pneumoscope.config import DistillationConfig
from pneumoscope.models.cnn import ResNet
from pneumoscope.models.vit import VisionTransformer
from pneumoscope.training.batch import Batch, Causes
from pneumoscope.training.distillation import Distilled, Guided
from pneumoscope.training.mixing import Mix
from pneumoscope.training.supervised import CauseTask, Supervised, class_weights

WEIGHTS = torch.tensor([2.0, 0.7])


def batch(num_films=6, size=32):
    torch.manual_seed(0)
    return torch.randn(num_films, 3, size, size), torch.tensor([0, 1, 1, 0, 1, 1])[:num_films]


def test_class_weights_balance_the_classes():
    weights = class_weights(torch.tensor([0, 1, 1, 1]), 2)
    torch.testing.assert_close(weights, torch.tensor([2.0, 2 / 3]))
    assert weights[torch.tensor([0, 1, 1, 1])].mean().item() == pytest.approx(1.0)


@pytest.mark.parametrize("smoothing", [0.0, 0.05])
def test_supervised_is_torchs_weighted_cross_entropy(smoothing):
    network = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    x, y = batch()
    loss = Supervised(network, WEIGHTS, smoothing)(Batch(x, y, y))
    expected = F.cross_entropy(network(x), y, weight=WEIGHTS, label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected)


def test_the_loss_of_mixed_films_is_that_of_soft_labels():
    network = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    x, y = batch()
    partners, share = y.roll(1), torch.tensor(0.7)
    loss = Supervised(network, WEIGHTS, 0.05)(Batch(x, y, y, Mix(partners, share)))
    one_hot = 0.7 * F.one_hot(y, 2) + 0.3 * F.one_hot(partners, 2)
    soft = 0.95 * one_hot + 0.05 / 2
    # Torch weighs soft labels class by class and divides by the number of films.
    expected = F.cross_entropy(network(x), soft, weight=WEIGHTS) * len(y) / WEIGHTS[y].sum()
    torch.testing.assert_close(loss, expected)


def test_focal_loss_counts_films_that_are_right_less():
    logits = torch.tensor([[3.0, -1.0], [0.2, 0.1], [-2.0, 2.0]])
    y = torch.tensor([0, 1, 0])  # surely right, undecided, surely wrong
    found = Supervised(nn.Identity(), torch.ones(2), 0.0, 2.0)._losses(logits, y)
    p = logits.softmax(1)[torch.arange(3), y]
    torch.testing.assert_close(found, -((1 - p) ** 2) * p.log())  # equation 4
    plain = Supervised(nn.Identity(), torch.ones(2), 0.0)._losses(logits, y)
    shares = found / plain
    assert shares[0] < 0.01 < 0.2 < shares[1] < 0.3 < 0.9 < shares[2]


def test_parts_of_a_batch_add_up():
    objective = Supervised(nn.Flatten(), WEIGHTS, 0.05)
    x, y = batch()
    x = x[:, 0, 0, :2]
    whole = objective(Batch(x, y, y))
    parts = sum(objective(Batch(x[part], y[part], y)) for part in (slice(0, 1), slice(1, 6)))
    torch.testing.assert_close(parts, whole)


CAUSES = torch.tensor([-1, 0, 1, -1, 0, 0])
"""Of the films of :func:`batch`: three bacterial, one viral, two healthy."""


def test_the_second_task_is_the_weighted_cross_entropy_of_the_stated_causes():
    torch.manual_seed(3)
    task = CauseTask(5, CAUSES, weight=0.5, label_smoothing=0.05)
    torch.testing.assert_close(task.class_weights, torch.tensor([2 / 3, 2.0]))
    seen = torch.randn(6, 5)
    stated = CAUSES >= 0
    expected = F.cross_entropy(
        task.head(seen[stated]), CAUSES[stated], weight=task.class_weights, label_smoothing=0.05
    )
    torch.testing.assert_close(task(seen, Causes(CAUSES, CAUSES)), 0.5 * expected)
    parts = (slice(0, 1), slice(1, 6))  # the first process has no film with a cause
    found = sum(task(seen[part], Causes(CAUSES[part], CAUSES)) for part in parts)
    torch.testing.assert_close(found, 0.5 * expected)


def test_a_batch_without_causes_teaches_the_second_task_nothing():
    task = CauseTask(5, CAUSES, weight=0.5, label_smoothing=0.0)
    none = torch.full((3,), -1)
    loss = task(torch.randn(3, 5), Causes(none, none))
    loss.backward()
    assert loss.item() == 0.0
    assert task.head.weight.grad.abs().max() == 0.0  # finite, and there for a distributed wrapper


@pytest.mark.parametrize("kind", ["cnn", "vit", "distilled", "guided"])
def test_the_second_task_adds_its_loss_and_reaches_the_network(kind):
    torch.manual_seed(4)
    if kind == "cnn":
        network = ResNet(img_size=32, widths=(8, 8, 8, 12), depths=(1, 1, 1, 1))
    else:
        network = VisionTransformer(
            img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=4, patch_drop_rate=0.5
        )
    task = CauseTask(network.head.in_features, CAUSES, 0.5, 0.05)
    rest = (WEIGHTS, 0.05, 0.0, task)
    if kind in ("distilled", "guided"):
        teacher = ResNet(img_size=64, widths=(8, 8, 8, 12), depths=(1, 1, 1, 1))
        made = Guided if kind == "guided" else Distilled
        objective = made(network, teacher, DistillationConfig(), *rest)
    else:
        objective = Supervised(network, *rest)
    objective.eval()
    x, y = batch()
    task, objective.cause_task = objective.cause_task, None
    plain = objective(Batch(x, y, y))
    objective.cause_task = task
    both = objective(Batch(x, y, y, causes=Causes(CAUSES, CAUSES)))
    seen = network.represent(network.forward_features(x))
    torch.testing.assert_close(network.head(seen), network(x))
    torch.testing.assert_close(both - plain, objective.cause_task(seen, Causes(CAUSES, CAUSES)))
    if isinstance(network, VisionTransformer) and kind != "guided":  # a guide asks for all
        shapes = []
        network.blocks[-1].mlp.register_forward_hook(lambda *call: shapes.append(call[2].shape))
        objective.train()(Batch(x, y, y, causes=Causes(CAUSES, CAUSES)))
        assert [shape[1] for shape in shapes] == [1]
    (both - plain).backward()
    assert network.head.weight.grad.abs().max() < 1e-6  # the first head is not concerned
    first = next(network.parameters())
    assert first.grad.abs().max() > 1e-6
