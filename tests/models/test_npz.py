import functools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from pneumoscope.errors import WeightsError
from pneumoscope.models.build import build_model
from pneumoscope.models.npz import load_npz, resample_pos_embed
from pneumoscope.models.vit import VisionTransformer

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
TINY = GOLDEN / "tiny_in21k_checkpoint.npz"
TINY_LINEN = GOLDEN / "tiny_linen_checkpoint.npz"


def tiny_vit(**options: Any) -> VisionTransformer:
    sizes = {
        "img_size": 64, "num_classes": 21, "embed_dim": 48, "depth": 2, "num_heads": 3,
        "mlp_ratio": 2.0, "gelu": "tanh", "representation_size": 48,
    }  # fmt: skip
    return VisionTransformer(**{**sizes, **options}).eval()


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def equal_states(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def changed_file(path: Path, **changes: Any) -> Path:
    """The tiny checkpoint with some arrays replaced, or left out where the value is None."""
    with np.load(TINY) as tiny:
        arrays = dict(tiny)
    arrays.update(changes)
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


# --- against Google's own answers ---------------------------------------------------------


@pytest.mark.parametrize("path", [TINY, TINY_LINEN])
@torch.no_grad()
def test_tiny_answers_as_googles_model_does(path):
    expected = np.load(GOLDEN / "tiny_expected.npz")
    model = tiny_vit()
    report = load_npz(model, path)
    x = torch.from_numpy(expected["images"]).permute(0, 3, 1, 2)
    cls = model.forward_features(x)[:, 0]
    np.testing.assert_allclose(cls, expected["cls_features"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(model.pre_logits(cls), expected["pre_logits"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(model(x), expected["logits"], atol=1e-4, rtol=0)
    assert set(report.loaded) == set(model.state_dict())
    assert report.resampled == report.left_out == report.kept == ()


@pytest.fixture(scope="module")
def ti16(shared_dir) -> tuple[Path, dict[str, np.ndarray]]:
    """The ImageNet checkpoint, and what Google's model answers with it."""
    weights = shared_dir / "weights" / "ViT-Ti_16.npz"
    golden = shared_dir / "golden" / "ti16_imagenet.npz"
    if not (weights.is_file() and golden.is_file()):
        pytest.skip(f"{weights} or {golden} is not here")
    with np.load(golden) as arrays:
        return weights, dict(arrays)


@pytest.mark.parametrize("in_chans", [3, 1])
@torch.no_grad()
def test_imagenet_at_224_answers_as_googles_model_does(ti16, in_chans):
    path, expected = ti16
    model = build_model("vit_ti16", 1000, 224, in_chans).eval()
    report = load_npz(model, path)
    x = torch.from_numpy(expected["images"]).float()[:, None].expand(-1, in_chans, -1, -1)
    x = x / 127.5 - 1
    cls = model.forward_features(x)[:, 0]
    np.testing.assert_allclose(cls, expected["cls_features"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(model(x), expected["logits"], atol=1e-4, rtol=0)
    assert len(report.loaded) == 152
    assert bool(report.resampled) is (in_chans == 1)


@pytest.mark.parametrize("in_chans", [3, 1])
@torch.no_grad()
def test_imagenet_at_384_answers_as_googles_model_does(ti16, in_chans):
    path, expected = ti16
    model = build_model("vit_ti16", 1000, 384, in_chans).eval()
    report = load_npz(model, path)
    np.testing.assert_allclose(model.pos_embed, expected["posemb_24x24"], atol=1e-6, rtol=0)
    x = torch.from_numpy(expected["images_384"]).float()[:, None].expand(-1, in_chans, -1, -1)
    np.testing.assert_allclose(model(x / 127.5 - 1), expected["logits_384"], atol=1e-4, rtol=0)
    assert report.resampled[0] == "pos_embed from 14 x 14 to 24 x 24"


def test_imagenet_into_two_classes_keeps_the_new_head(ti16):
    path, _ = ti16
    model = build_model("vit_ti16")
    head = model.head.weight.clone()
    report = load_npz(model, path)
    assert torch.equal(model.head.weight, head)
    assert report.left_out == ("head/kernel", "head/bias")
    assert report.kept == ("head.weight", "head.bias")
    assert str(report) == (
        "ViT-Ti/16 at 224 px from ViT-Ti_16.npz: 150 parameters loaded; "
        "left out: head/kernel, head/bias; kept as they were: head.weight, head.bias"
    )


# --- what goes where ----------------------------------------------------------------------


@pytest.mark.parametrize("linen", [False, True])
@pytest.mark.parametrize("representation_size", [None, 20])
def test_round_trip_restores_every_parameter(save_as_google, tmp_path, linen, representation_size):
    sizes = {
        "img_size": 24, "patch_size": 8, "embed_dim": 12, "depth": 3, "num_heads": 2,
        "mlp_ratio": 3.0, "num_classes": 5, "representation_size": representation_size,
    }  # fmt: skip
    original, loaded = tiny_vit(**sizes), tiny_vit(**sizes)
    for parameter in original.parameters():
        nn.init.normal_(parameter)
    save_as_google(original, tmp_path / "x.npz", linen=linen)
    parameters = dict(loaded.named_parameters())
    load_npz(loaded, tmp_path / "x.npz", head=True)
    assert equal_states(original.state_dict(), loaded.state_dict())
    # In place: an optimizer that holds the parameters goes on holding them.
    assert all(value is parameters[key] for key, value in loaded.named_parameters())


@torch.no_grad()
def test_one_channel_answers_as_three_equal_ones():
    colour, grey = tiny_vit(), tiny_vit(in_chans=1)
    load_npz(colour, TINY)
    report = load_npz(grey, TINY)
    assert report.resampled == ("patch_embed.proj.weight from 3 channels to their sum",)
    x = torch.rand(4, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(grey(x), colour(x.expand(-1, 3, -1, -1)), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("options", "head", "takes_pre_logits", "takes_head"),
    [
        ({}, None, True, True),
        ({}, True, True, True),
        ({}, False, True, False),
        ({"num_classes": 2}, None, True, False),
        ({"representation_size": 32}, None, False, False),
        ({"representation_size": None}, None, False, False),
    ],
)
def test_which_head_is_taken(options, head, takes_pre_logits, takes_head):
    model = tiny_vit(**options)
    before = state_of(model)
    report = load_npz(model, TINY, head=head)
    after = model.state_dict()
    assert ("pre_logits.fc.weight" in report.loaded) is takes_pre_logits
    assert ("pre_logits/kernel" in report.left_out) is not takes_pre_logits
    assert ("head.weight" in report.loaded) is takes_head
    assert ("head.weight" in report.kept) is not takes_head
    assert set(report.loaded) | set(report.kept) == set(after)
    for key in after:
        assert torch.equal(after[key], before[key]) is (key in report.kept), key


@pytest.mark.parametrize("options", [{"num_classes": 2}, {"representation_size": None}])
def test_a_head_asked_for_must_fit(options):
    model = tiny_vit(**options)
    before = state_of(model)
    with pytest.raises(WeightsError, match="21 classes and representation_size 48"):
        load_npz(model, TINY, head=True)
    assert equal_states(before, model.state_dict())


# --- position embeddings ------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new"), [(4, 7), (7, 4), (14, 24), (8, 26), (3, 1)])
def test_resampling_is_linear_between_fixed_corners(old, new):
    """Against numpy's own interpolation, along one axis after the other."""
    rng = np.random.default_rng(0)
    pos_embed = rng.normal(size=(1, 1 + old**2, 2)).astype(np.float32)
    resampled = resample_pos_embed(pos_embed, new)
    assert (resampled.shape, resampled.dtype) == ((1, 1 + new**2, 2), np.float32)
    np.testing.assert_array_equal(resampled[:, 0], pos_embed[:, 0])
    places = np.linspace(0, old - 1, new)

    def along(axis: int, grid: np.ndarray) -> np.ndarray:
        return np.apply_along_axis(lambda v: np.interp(places, np.arange(old), v), axis, grid)

    expected = along(1, along(0, pos_embed[0, 1:].reshape(old, old, 2)))
    np.testing.assert_allclose(resampled[0, 1:].reshape(new, new, 2), expected, atol=1e-5)


def test_the_same_grid_is_taken_as_it_is():
    pos_embed = np.random.default_rng(0).normal(size=(1, 17, 3)).astype(np.float32)
    assert resample_pos_embed(pos_embed, 4) is pos_embed


# --- files and networks that do not fit ---------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"embed_dim": 96}, "embed_dim 48 in the file and 96 in the network, mlp_dim"),
        ({"depth": 3}, "depth 2 in the file and 3 in the network"),
        ({"num_heads": 4}, "num_heads 3 in the file and 4 in the network"),
        ({"mlp_ratio": 4.0}, "mlp_dim 96 in the file and 192 in the network"),
        ({"patch_size": 32}, "patch_size 16 in the file and 32 in the network"),
        ({"in_chans": 2}, "in_chans 3 in the file and 2 in the network"),
        ({"gelu": "erf"}, "tanh GELU in the file and exact GELU in the network"),
        ({"norm_eps": 1e-5}, "norm_eps 1e-06 in the file and 1e-05 in the network"),
    ],
)
def test_a_network_that_would_compute_something_else_is_refused(options, words):
    model = tiny_vit(**options)
    before = state_of(model)
    with pytest.raises(WeightsError, match=words):
        load_npz(model, TINY)
    assert equal_states(before, model.state_dict())


def test_the_right_size_is_named(ti16):
    with pytest.raises(WeightsError, match=r"\(ViT-Ti/16\) does not fit.*build_model\('vit_ti16'"):
        load_npz(build_model("vit_scratch"), ti16[0])


def test_other_networks_are_refused():
    with pytest.raises(WeightsError, match="the network is a Linear"):
        load_npz(nn.Linear(2, 2), TINY)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cls": None}, "'cls' is missing"),
        ({"opt/step": np.ones(1, np.float32)}, "'opt/step' is no part of it"),
        ({"cls": np.zeros((1, 1, 47), np.float32)}, "'cls' has shape"),
        ({"cls": np.zeros((1, 1, 48), np.int32)}, "'cls' is int32"),
        ({"cls": np.array([[[None] * 48]])}, "'cls' holds pickled Python objects"),
        ({"cls": np.full((1, 1, 48), np.nan, np.float32)}, "not finite"),
        ({"head/bias": np.full(21, np.inf, np.float32)}, "not finite"),
    ],
)
def test_a_refused_file_changes_nothing(tmp_path, changes, words):
    path = changed_file(tmp_path / "x.npz", **changes)
    model = tiny_vit()
    before = state_of(model)
    with pytest.raises(WeightsError, match=words) as caught:
        load_npz(model, path)
    assert "\n" not in str(caught.value)
    assert equal_states(before, model.state_dict())


def test_half_precision_and_big_endian_files_load(tmp_path):
    with np.load(TINY) as tiny:
        cls = tiny["cls"]
    path = changed_file(tmp_path / "x.npz", cls=cls.astype(">f8"))
    model = tiny_vit()
    load_npz(model, path)
    np.testing.assert_array_equal(model.state_dict()["cls_token"], cls)
    load_npz(model, changed_file(path, cls=cls.astype("<f2")))
    np.testing.assert_array_equal(model.state_dict()["cls_token"], cls.astype("<f2"))


SIZE_BYTES = TINY.stat().st_size


@functools.cache
def whole_state() -> dict[str, torch.Tensor]:
    """What the undamaged file makes of a network."""
    model = tiny_vit()
    load_npz(model, TINY)
    return state_of(model)


@given(
    position=st.one_of(st.integers(0, SIZE_BYTES - 1), st.integers(1, 8000).map(lambda n: -n)),
    flip=st.integers(1, 255),
)
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_changed_byte_is_refused_or_without_effect(tmp_path, position, flip):
    """The table of contents at the end is where most of the structure is, hence the bias."""
    content = bytearray(TINY.read_bytes())
    content[position] ^= flip
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    model = tiny_vit()
    before = state_of(model)
    try:
        load_npz(model, path)
        expected = whole_state()
    except WeightsError:
        expected = before
    assert equal_states(expected, model.state_dict())


def test_arrays_are_read_one_at_a_time(save_as_google, tmp_path):
    sizes = {
        "img_size": 32, "embed_dim": 96, "depth": 10, "num_heads": 2, "mlp_ratio": 6.0,
        "representation_size": None, "num_classes": 2,
    }  # fmt: skip
    path = tmp_path / "x.npz"
    save_as_google(tiny_vit(**sizes), path)
    model = tiny_vit(**sizes)
    load_npz(model, path)  # what is imported on the first use does not count
    tracemalloc.start()
    try:
        load_npz(model, path)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    largest_bytes = 16 * 16 * 3 * 96 * 4
    assert path.stat().st_size > 20 * largest_bytes
    assert peak_bytes < 4 * largest_bytes
