"""The shapes that the page of models states are those of the networks."""

import re

import pytest
import torch
from pages import ROOT

import pneumoscope as ps
from pneumoscope.models.presets import MODEL_NAMES


@pytest.fixture(scope="module")
def page():
    return (ROOT / "docs" / "models.md").read_text(encoding="utf-8")


def stated(section: str) -> list[tuple[int, ...]]:
    """The shapes of a section's first table, of one film and two classes."""
    cells = re.findall(r"\((B, [\w, ]+)\) \|$", section, re.M)
    return [tuple(int(n) for n in c.replace("B", "1").replace("K", "2").split(",")) for c in cells]


def test_the_cnn(page):
    section = page.split("## CNN")[1].split("## ")[0]
    network = ps.build_model("cnn", img_size=128).eval()
    shapes = [(1, 3, 128, 128)]
    with torch.inference_mode():
        x = network.stem(torch.zeros(1, 3, 128, 128))
        shapes.append(tuple(x.shape))
        for index, block in enumerate(network.stages):
            x = block(x)
            if index % 2:
                shapes.append(tuple(x.shape))
        shapes += [tuple(x.mean((2, 3)).shape), tuple(network.classify(x).shape)]
    assert stated(section) == shapes
    assert f"{sum(p.numel() for p in network.parameters()):,} parameters" in section


@pytest.mark.parametrize("name", ["vit_scratch", "vit_ti16", "vit_s16"])
def test_the_parameters_of_a_vit(page, name):
    network = ps.build_model(name)
    number = f"{sum(p.numel() for p in network.parameters()):,}"
    (row,) = re.findall(rf"^\| `{name}` .*$", page, re.M)
    assert row.endswith(f"| {number} |")
    cells = [network.embed_dim, len(network.blocks), network.num_heads]
    assert [int(cell) for cell in row.split(" | ")[1:4]] == cells


def test_every_name_is_there(page):
    for name in MODEL_NAMES:
        assert f"`{name}`" in page, name
