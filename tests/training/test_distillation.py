"""The losses of a teacher against their definitions, whole and in parts."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pneumoscope.config import DistillationConfig
from pneumoscope.models.cnn import ResNet
from pneumoscope.models.ensemble import Ensemble
from pneumoscope.models.vit import VisionTransformer
from pneumoscope.training.batch import Batch
from pneumoscope.training.distillation import Distilled, Guided
from pneumoscope.training.mixing import Mix

WEIGHTS = torch.tensor([2.0, 0.7])


def batch(num_films=6, size=32):
    torch.manual_seed(0)
    return torch.randn(num_films, 3, size, size), torch.tensor([0, 1, 1, 0, 1, 1])[:num_films]


def tiny(kind, **options):
    torch.manual_seed(1)
    network = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=4, patch_drop_rate=0.5
    )
    teacher = ResNet(img_size=64, widths=(8, 8, 8, 12), depths=(1, 1, 1, 1))
    nn.init.normal_(teacher.head.weight)
    return kind(network, teacher, DistillationConfig(**options), WEIGHTS, 0.05)


@pytest.mark.parametrize("kind", [Distilled, Guided])
def test_parts_of_a_batch_add_up(kind):
    objective = tiny(kind).eval()
    x, y = batch()
    whole = objective(Batch(x, y, y))
    parts = sum(objective(Batch(x[part], y[part], y)) for part in (slice(0, 1), slice(1, 6)))
    torch.testing.assert_close(parts, whole)


@pytest.mark.parametrize("kind", [Distilled, Guided])
def test_without_teacher_weights_only_the_labels_count(kind):
    objective = tiny(kind, logit_weight=0.0, feature_weight=0.0).eval()
    x, y = batch()
    expected = F.cross_entropy(objective.network(x), y, weight=WEIGHTS, label_smoothing=0.05)
    torch.testing.assert_close(objective(Batch(x, y, y)), expected)


@pytest.mark.parametrize("kind", [Distilled, Guided])
def test_the_answer_loss_is_the_divergence_from_the_teacher(kind):
    objective = tiny(kind, logit_weight=1.0, feature_weight=0.0, temperature=2.0).eval()
    x, y = batch()
    (teacher,) = objective._teacher
    big = F.interpolate(x[:, :1], (64, 64), mode="bilinear", antialias=True)
    p = (teacher(big.expand(-1, 3, -1, -1)) / 2).softmax(1)
    q = (objective.network(x) / 2).softmax(1)
    expected = 4 * (p * (p.log() - q.log())).sum() / len(y)
    torch.testing.assert_close(objective(Batch(x, y, y)), expected)


def test_the_feature_loss_looks_at_each_tokens_own_place():
    objective = tiny(Guided)
    maps = torch.zeros(1, 12, 4, 4)
    maps[0, :, 2, 1] = torch.arange(12.0)  # only the patch in row 2, column 1 has a target
    target = F.layer_norm(torch.arange(12.0), (12,))
    with torch.no_grad():
        objective.project.weight.zero_()
        objective.project.bias.zero_()
    kept = torch.tensor([[9, 0]])
    loss = objective._feature_loss(torch.zeros(1, 2, 24), kept, maps, grid=4)
    torch.testing.assert_close(loss, target.square().mean() / 2)
    elsewhere = torch.tensor([[8, 0]])
    assert objective._feature_loss(torch.zeros(1, 2, 24), elsewhere, maps, grid=4).item() == 0.0


def test_a_vit_teaches_its_patch_tokens_at_their_places():
    torch.manual_seed(2)
    sizes = {"img_size": 32, "patch_size": 8, "depth": 1, "num_heads": 4}
    student, teacher = (VisionTransformer(embed_dim=dim, **sizes) for dim in (24, 16))
    objective = Guided(student, teacher, DistillationConfig(), WEIGHTS, 0.05)
    x = torch.randn(2, 1, 32, 32).expand(-1, 3, -1, -1)
    logits, maps = objective._ask_teacher(x)
    assert objective.project.out_features == 16
    assert maps.shape == (2, 16, 4, 4)
    tokens = teacher.forward_features(x)
    torch.testing.assert_close(maps[1, :, 2, 3], tokens[1, 1 + 2 * 4 + 3])
    torch.testing.assert_close(logits, teacher(x))


@pytest.mark.parametrize("kind", [Distilled, Guided])
def test_the_teacher_is_neither_trained_nor_saved(kind):
    objective = tiny(kind).train()
    (teacher,) = objective._teacher
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    x, y = batch()
    objective(Batch(x, y, y)).backward()
    assert not teacher.training
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    own = {"network"}
    if kind is Guided:
        own.add("project")
        assert objective.project.weight.grad.abs().sum() > 0
    assert {key.split(".")[0] for key in objective.state_dict()} == own


@pytest.mark.parametrize("kind", [Distilled, Guided])
def test_the_labels_of_mixed_films_are_mixed_and_the_answers_are_of_the_mixed_film(kind):
    x, y = batch()
    mix = Mix(y.flip(0), torch.tensor(0.7))
    half = tiny(kind, logit_weight=0.5, feature_weight=0.0).eval()
    labels, answers = (
        tiny(kind, logit_weight=share, feature_weight=0.0).eval()(Batch(x, y, y, mix))
        for share in (0.0, 1.0)
    )
    torch.testing.assert_close(half(Batch(x, y, y, mix)), (labels + answers) / 2)
    torch.testing.assert_close(labels, half.label_loss(half.network(x), Batch(x, y, y, mix)))
    alone = tiny(kind, logit_weight=1.0, feature_weight=0.0).eval()
    torch.testing.assert_close(answers, alone(Batch(x, y, y)))


@pytest.mark.parametrize("views", [{"flip_average": True}, {"zoom_average": True}])
@pytest.mark.parametrize("kind", [Distilled, Guided])
def test_a_teacher_answers_one_view(kind, views):
    torch.manual_seed(6)
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 4}
    student, teacher = VisionTransformer(**sizes), VisionTransformer(**sizes, **views)
    nn.init.normal_(teacher.head.weight)
    config = DistillationConfig(logit_weight=1.0, feature_weight=0.0)
    objective = kind(student, teacher, config, WEIGHTS, 0.05).eval()
    x, y = batch()
    x = x[:, :1].expand(-1, 3, -1, -1)
    p = teacher.classify(teacher.encode(x)[0]).softmax(1)
    expected = (p * (p.log() - student(x).log_softmax(1))).sum() / len(y)
    torch.testing.assert_close(objective(Batch(x, y, y)), expected)


def test_the_answers_of_an_ensemble_teach_a_cnn():
    torch.manual_seed(5)
    sizes = {"widths": (8, 8, 8, 12), "depths": (1, 1, 1, 1)}
    members = [ResNet(img_size=size, zoom_average=True, **sizes) for size in (32, 48)]
    for member in members:
        nn.init.normal_(member.head.weight)
    student = ResNet(img_size=64, **sizes)
    config = DistillationConfig(logit_weight=1.0)
    objective = Distilled(student, Ensemble(members), config, WEIGHTS, 0.05).eval()
    x, y = batch(size=64)
    x = x[:, :1].expand(-1, 3, -1, -1)
    one_view = [member._answer for member in members]
    large = F.interpolate(x[:, :1], (48, 48), mode="bilinear", antialias=True)
    small = F.interpolate(large, (32, 32), mode="bilinear", antialias=True)
    logits = [
        answer(film.expand(-1, 3, -1, -1))
        for answer, film in zip(one_view, (small, large), strict=True)
    ]
    odds = sum(one[:, 1] - one[:, 0] for one in logits) / 2
    p = torch.stack([-odds / 2, odds / 2], dim=1).softmax(1)
    expected = (p * (p.log() - student(x).log_softmax(1))).sum() / len(y)
    torch.testing.assert_close(objective(Batch(x, y, y)), expected)
    assert {key.split(".")[0] for key in objective.state_dict()} == {"network"}
