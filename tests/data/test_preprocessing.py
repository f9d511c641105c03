"""The one preprocessing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pneumoscope.data.preprocessing import prepare, scale_pixels
from pneumoscope.data.radiograph import Radiograph, read_radiograph


def film(pixels: np.ndarray) -> Radiograph:
    return Radiograph(pixels, "PNG", 8 * pixels.dtype.itemsize)


def test_a_film_of_the_right_size_is_left_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8)
    prepared = prepare(film(pixels), 32)
    np.testing.assert_array_equal(prepared, pixels)
    assert not np.shares_memory(prepared, pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(32, 32), (100, 37), (7, 300), (1, 1)])
def test_shape_and_type(dtype: type, shape: tuple[int, int]) -> None:
    full = np.full(shape, np.iinfo(dtype).max, dtype)
    prepared = prepare(film(full), 32)
    assert (prepared.shape, prepared.dtype) == ((32, 32), np.uint8)
    assert (prepared == 255).all()
    assert (prepare(film(full * 0), 32) == 0).all()


def test_16_bits_give_what_8_bits_give() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 110), np.uint8)
    narrow = prepare(film(pixels), 32).astype(int)
    wide = prepare(film(pixels.astype(np.uint16) * 257), 32).astype(int)
    assert np.abs(narrow - wide).max() <= 1
    assert np.mean(narrow == wide) > 0.85


def test_16_bits_at_the_right_size_are_rounded() -> None:
    levels = np.array([[0, 128], [129, 65535]], np.uint16)
    assert prepare(film(levels), 2).tolist() == [[0, 0], [1, 255]]


def test_resampling_averages_and_does_not_pick() -> None:
    chequered = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    inner = prepare(film(chequered), 32)[1:-1, 1:-1]
    assert np.abs(inner.astype(int) - 127).max() <= 1


def test_rows_stay_rows() -> None:
    pixels = np.zeros((100, 60), np.uint8)
    pixels[:50] = 200  # the upper half
    prepared = prepare(film(pixels), 10)
    assert (prepared[:4] == 200).all()
    assert (prepared[6:] == 0).all()


def test_scale_pixels_for_arrays_and_tensors() -> None:
    levels = np.array([0, 51, 255], np.uint8)
    np.testing.assert_allclose(scale_pixels(levels), [-1, -0.6, 1], atol=1e-12)
    scaled = scale_pixels(torch.from_numpy(levels))
    assert scaled.dtype == torch.float32
    np.testing.assert_allclose(scaled, [-1, -0.6, 1], atol=1e-6)


def differences(shared_dir: Path, resample: Image.Resampling | None) -> float:
    """Mean absolute difference from the published copies; ``None`` is our own filter."""
    found = []
    for path in sorted((shared_dir / "data/original_resolution").glob("*/*.jpeg")):
        published = read_radiograph(
            shared_dir / "data/chest_xray/train" / path.parent.name / path.name
        )
        original = read_radiograph(path)
        if resample is None:
            ours = prepare(original, 224)
        else:
            ours = np.asarray(Image.fromarray(original.pixels).resize((224, 224), resample))
        found.append(np.abs(ours.astype(int) - published.pixels).mean())
    assert len(found) == 30
    return float(np.mean(found))


def test_our_copies_are_close_to_the_published_ones(shared_dir: Path) -> None:
    # JPEG compression of the published copies alone accounts for 1.6 of it.
    assert differences(shared_dir, None) == pytest.approx(2.155, abs=0.01)


def test_no_other_filter_comes_closer(shared_dir: Path) -> None:
    ours = differences(shared_dir, None)
    others = set(Image.Resampling) - {Image.Resampling.BILINEAR}
    assert all(differences(shared_dir, other) > ours for other in others)
