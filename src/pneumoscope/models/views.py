"""Other views of the same images, over which a network may average its answer.

Shapes: B batch, C channels, S side in pixels.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

ZOOMS = ((1.15, 1.15), (0.87, 0.87), (0.9, 1.12), (1.12, 0.9))
"""Factors on height and width: nearer, farther, wider, taller; well within training's own."""


def mean_over_views(
    answer: Callable[[Tensor], Tensor], x: Tensor, *, flip: bool, zoom: bool
) -> Tensor:  # (B, C, S, S)
    """Returns the mean answer to images and to their other views, those that are asked for."""
    answers = [answer(x), *map(answer, other_views(x, flip=flip, zoom=zoom))]
    return answers[0] if len(answers) == 1 else torch.stack(answers).mean(dim=0)


def other_views(x: Tensor, *, flip: bool, zoom: bool) -> Iterator[Tensor]:  # (B, C, S, S)
    """Yields (B, C, S, S) each: the mirror image, and the image seen through `ZOOMS`.

    Source: Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks",
    NIPS 2012, section 4.1, for answers averaged over views; Simonyan & Zisserman
    (arXiv:1409.1556), section 3.2, for views at several scales.
    """
    if flip:
        yield x.flip(3)
    if zoom:
        for height, width in ZOOMS:
            yield zoomed(x, height, width)


def zoomed(x: Tensor, height: float, width: float) -> Tensor:  # (B, C, S, S)
    """Returns the middle of the enlarged image, or the reduced one amid its mirror images.

    Args:
        x: square images.
        height: factor by which they are stretched upwards, of .4 or more.
        width: likewise sideways.
    """
    side = x.shape[-1]
    x = F.interpolate(x, (round(side * height), round(side * width)), mode="bilinear")
    top, left = (max(0, size - side) // 2 for size in x.shape[2:])
    x = x[:, :, top : top + side, left : left + side]
    above, before = ((side - size) // 2 for size in x.shape[2:])
    beyond, below = side - x.shape[3] - before, side - x.shape[2] - above
    return F.pad(x, (before, beyond, above, below), mode="reflect")
