"""The gate's small copies: frames come off, and descriptions keep what they promise."""

import numpy as np

from pneumoscope.data.quality import VIEW_PX
from pneumoscope.screening.altered import framed
from pneumoscope.screening.thumbnail import NUM_FEATURES, describe, inner_box, mirrored, thumbnail

X = np.linspace(-4, 4, VIEW_PX)
WAVES = (128 + 90 * np.sin(X[:, None]) * np.cos(0.7 * X + 0.4)).astype(np.uint8)


def test_the_box_is_what_lies_within_the_frame() -> None:
    for level in (0, 7, 255):
        box = inner_box(framed(WAVES, 0.1, 0.25, 0.05, 0.15, level))
        assert box == (11, 22, 190, 168)
    assert inner_box(WAVES) == (0, 0, VIEW_PX, VIEW_PX)


def test_where_all_is_frame_it_is_the_whole() -> None:
    assert inner_box(np.zeros((VIEW_PX, VIEW_PX), np.uint8)) == (0, 0, VIEW_PX, VIEW_PX)


def test_a_frame_changes_little() -> None:
    plain, inside = (
        describe(thumbnail(view)[None]) for view in (WAVES, framed(WAVES, 0.1, 0.1, 0.1, 0.1))
    )
    assert np.abs(plain - inside).mean() < 0.05


def test_description() -> None:
    small = thumbnail(WAVES)[None]
    features = describe(small)
    assert features.shape == (1, NUM_FEATURES)
    np.testing.assert_allclose(mirrored(features), describe(small[:, :, ::-1]), atol=1e-3)
    assert np.abs(features - describe(small // 2)).mean() < 0.05  # alike at half the contrast
    assert np.abs(features - describe(255 - small)).mean() > 0.5


def test_brighter_to_the_right_and_to_the_left_differ() -> None:
    ramp = np.broadcast_to(np.linspace(0, 252, 64).astype(np.uint8), (1, 64, 64))
    rightward, leftward = describe(ramp), describe(ramp[:, :, ::-1])
    assert rightward[0, :64].min() > 10 * rightward[0, 4 * 64 : 5 * 64].max()
    np.testing.assert_allclose(leftward, mirrored(rightward), atol=1e-3)
