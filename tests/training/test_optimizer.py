"""Parameter groups and moving average."""

import pytest
import torch
from torch import nn

from pneumoscope.models.build import build_model
from pneumoscope.training.optimizer import Optimizers, WeightAverage, make_optimizer


def test_decay_is_kept_off_biases_norms_and_embeddings():
    model = build_model("vit_scratch", img_size=32)
    groups = make_optimizer(model, 0.05).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    by_decay = {group["weight_decay"]: {names[id(p)] for p in group["params"]} for group in groups}
    assert len(groups) == 2
    decayed, plain = by_decay[0.05], by_decay[0.0]
    assert decayed == {n for n in names.values() if n.endswith("weight") and "norm" not in n}
    assert {"cls_token", "pos_embed", "norm.weight", "head.bias"} <= plain
    assert len(decayed) + len(plain) == len(names)


def test_muon_takes_the_blocks_matrices_and_nothing_else():
    objective = nn.Module()
    objective.network, objective.project = build_model("vit_scratch", img_size=32), nn.Linear(2, 2)
    optimizer = make_optimizer(objective, 0.05, layer_decay=0.5, name="muon", dtype=torch.bfloat16)
    assert isinstance(optimizer, Optimizers)
    adamw, muon = optimizer.parts
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    taken = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    assert taken == {
        f"network.blocks.{block}.{name}.weight"
        for block in range(6)
        for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    }
    kept = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    assert kept == set(names.values()) - taken
    assert {group["weight_decay"] for group in muon.param_groups} == {0.05}
    assert sorted(g["lr_scale"] for g in muon.param_groups) == [0.5**n for n in range(6, 0, -1)]


def test_both_optimizers_go_on_from_a_saved_state():
    def network() -> nn.Module:
        torch.manual_seed(0)
        return build_model("vit_scratch", img_size=32)

    def train(model, optimizer, steps):
        for step in steps:
            generator = torch.Generator().manual_seed(step)
            for group in optimizer.param_groups:
                group["lr"] = 1e-2
            for parameter in model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step()

    whole = network()
    train(whole, make_optimizer(whole, 0.05, name="muon"), range(4))
    first = network()
    optimizer = make_optimizer(first, 0.05, name="muon")
    train(first, optimizer, range(2))
    second = network()
    second.load_state_dict(first.state_dict())
    resumed = make_optimizer(second, 0.05, name="muon")
    resumed.load_state_dict(optimizer.state_dict())
    train(second, resumed, range(2, 4))
    for key, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key


def test_the_average_follows_its_formula():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average = WeightAverage(model, decay=0.5)
    expected = model[0].weight.item()
    for update in range(1, 30):
        with torch.no_grad():
            model[0].weight.fill_(float(update))
        model[1].num_batches_tracked.fill_(update)
        average.update(update)
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * update
        assert average.network[0].weight.item() == pytest.approx(expected, rel=1e-5)
    assert average.network[1].num_batches_tracked.item() == 29
    assert not any(p.requires_grad for p in average.network.parameters())


def test_the_average_goes_on_after_a_state_was_loaded():
    model = nn.Linear(2, 2)
    average = WeightAverage(model, decay=0.9)
    state = {key: torch.ones_like(value) for key, value in model.state_dict().items()}
    model.load_state_dict(state)
    average.network.load_state_dict({key: 3 * value for key, value in state.items()})
    average.update(1000)
    torch.testing.assert_close(average.network.weight, torch.full((2, 2), 0.9 * 3 + 0.1))


def test_no_decay_means_the_network_itself():
    model = nn.Linear(2, 2)
    average = WeightAverage(model, decay=0.0)
    with torch.no_grad():
        model.weight.fill_(7.0)
    average.update(1)
    torch.testing.assert_close(average.network.weight, model.weight)


def test_rates_decay_layer_by_layer_from_the_head_down():
    model = build_model("vit_scratch", img_size=32)
    objective = nn.Module()
    objective.network, objective.project = model, nn.Linear(2, 2)  # as when a teacher guides
    groups = make_optimizer(objective, 0.05, layer_decay=0.5).param_groups
    scales = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    found = {name: scales[id(p)] for name, p in objective.named_parameters()}
    assert (
        found["project.weight"] == found["network.head.bias"] == found["network.norm.weight"] == 1
    )
    for block in range(6):
        in_block = {v for k, v in found.items() if k.startswith(f"network.blocks.{block}.")}
        assert in_block == {0.5 ** (6 - block)}
    for name in ("cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"):
        assert found[f"network.{name}"] == 0.5**7


def test_without_decay_all_layers_have_the_schedules_rate():
    model = build_model("cnn", img_size=32)
    groups = make_optimizer(model, 0.05).param_groups
    assert {group["lr_scale"] for group in groups} == {1.0}
    assert len(groups) == 2
