"""A model soup: one network whose weights are the mean of several networks' weights."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import nn

from pneumoscope.errors import ModelError


def average_weights(networks: Sequence[nn.Module]) -> nn.Module:
    """Returns a network of the same kind and cost whose floating-point weights are the mean.

    It answers sensibly only where the networks were fine-tuned from one checkpoint, so that they
    lie in one basin of the loss.

    Source: Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves
    accuracy without increasing inference time", ICML 2022 (arXiv:2203.05482), the uniform soup.

    Raises:
        ModelError: fewer than two networks, or weights of other names or shapes.
    """
    states = [network.state_dict() for network in networks]
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    if len(states) < 2 or any(other != shapes[0] for other in shapes):
        raise ModelError("weights are averaged of two or more networks of one architecture")
    mean = {
        name: torch.stack([state[name].double() for state in states]).mean(dim=0).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in states[0].items()
    }
    soup = deepcopy(networks[0])
    soup.load_state_dict(mean)
    return soup
