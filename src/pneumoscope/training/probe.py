"""Linear probing: a pretrained network's new head is fitted before any other layer moves.

A random head would send large gradients through good features in the first steps and distort
them; a head that already fits does not.

Source: Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform
Out-of-Distribution", ICLR 2022 (arXiv:2202.10054), section 3.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from pneumoscope.config import Recipe
from pneumoscope.models.scoring import network_input
from pneumoscope.models.vit import VisionTransformer
from pneumoscope.training.device import Device
from pneumoscope.training.distributed import Group, from_main, in_batches_together, share_state
from pneumoscope.training.films import LabelledFilms
from pneumoscope.training.randomness import epoch_order, seed_probe

C_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse strengths of the L2 penalty that are tried, on standardised features."""


def fit_probe(
    network: VisionTransformer,
    recipe: Recipe,
    train: LabelledFilms,
    val: LabelledFilms,
    *,
    augment: Callable[[Tensor], Tensor],
    film_weights: NDArray[np.float64] | None,
    device: Device,
    group: Group,
) -> float:
    """Returns the cross-entropy of the head, after fitting it to views of the training films.

    Args:
        network: on the device; its head is changed, on every process alike.
        recipe: names the seed, the number of views (at least 1), how the classes are balanced, and
            whether films are to meet others of both classes in a batch (``style_prob``).
        train: the training films; both classes.
        val: the validation films, by which the strength of the penalty is chosen; both classes.
        augment: changes a batch (B, S, S), drawing from torch's random state.
        film_weights: (N,), how much each training film counts beside that; equal if None.
        device: where ``network`` lives, and its arithmetic.
        group: this process among its peers, who share the work.
    """
    seed, views = recipe.training.seed, recipe.pretrained.probe_views

    def view_features(view: int) -> NDArray[np.float32]:
        def seeded(pixels: Tensor, start: int) -> Tensor:
            seed_probe(seed, view, start)
            return augment(pixels)

        order = None
        if recipe.augmentation.style_prob:
            # In file order a batch holds one class, and no film would meet the other's style.
            order = epoch_order(seed, view, len(train.labels))
        return frozen_features(network, train.pixels, device, group, seeded, order)

    features = np.concatenate([view_features(view) for view in range(views)])
    val_features = frozen_features(network, val.pixels, device, group)
    loss = 0.0
    if group.is_main:
        loss = fit_head(
            network,
            (features, np.tile(train.labels, views)),
            (val_features, val.labels),
            balanced=recipe.training.class_weights or recipe.training.balanced_sampler,
            film_weights=None if film_weights is None else np.tile(film_weights, views),
        )
    share_state(network, group)
    return from_main(group, loss)


def frozen_features(
    network: VisionTransformer,
    pixels: NDArray[np.uint8],
    device: Device,
    group: Group,
    augment: Callable[[Tensor, int], Tensor] | None = None,
    order: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """Returns what the head reads (N, D) of grey ``pixels`` (N, S, S) uint8, on every process.

    Args:
        network: left in eval mode; nothing of it is changed.
        pixels: an array or memory map; read a batch at a time.
        device: where ``network`` lives, and its arithmetic.
        group: this process among its peers, who share the work.
        augment: changes a batch (B, S, S) first, given the place of its first film in ``order``.
        order: a permutation (N,) in which films are put into batches; that of ``pixels`` if not
            given, which is also the order of what is returned.
    """
    network.eval()
    order = np.arange(len(pixels)) if order is None else order

    def features(batch: slice) -> NDArray[np.float32]:
        x = torch.from_numpy(pixels[order[batch]]).to(device.device)
        # As in training, films are augmented in their own precision.
        x = network_input(augment(x, batch.start) if augment else x, network.in_chans)
        with device.autocast:
            tokens = network.forward_features(x)
            read: Tensor = network.pre_logits(tokens[:, 0])
        return read.float().cpu().numpy()

    with torch.inference_mode():
        found = in_batches_together(len(pixels), features, group)
    return found[order.argsort()]


def fit_head(
    network: VisionTransformer,
    train: tuple[NDArray[np.float32], NDArray[np.int64]],
    val: tuple[NDArray[np.float32], NDArray[np.int64]],
    *,
    balanced: bool,
    film_weights: NDArray[np.float64] | None = None,
) -> float:
    """Returns the head's cross-entropy on ``train``, after fitting it by logistic regression.

    The strength of the penalty is the one of :data:`C_GRID` with the lowest cross-entropy on
    ``val``; both cross-entropies are plain means over films, whatever ``balanced``. The head is
    changed in place; its two logits are the log odds, halved, with either sign.

    Args:
        network: with two classes.
        train: features (N, D) and class indices (N,); both classes.
        val: the same of the validation films.
        balanced: weigh the classes inversely to their share in the fit.
        film_weights: (N,), how much each training film counts beside that; equal if not given.
    """
    features, labels = train
    scaler = StandardScaler().fit(features)
    scaled, scaled_val = scaler.transform(features), scaler.transform(val[0])
    weight = "balanced" if balanced else None
    if film_weights is not None:  # in the mean 1, as the penalty expects
        film_weights = film_weights / film_weights.mean()
    fits = [
        LogisticRegression(C=C, class_weight=weight, max_iter=1000).fit(
            scaled, labels, film_weights
        )
        for C in C_GRID
    ]
    best = min(fits, key=lambda fit: float(log_loss(val[1], fit.predict_proba(scaled_val))))
    # The scaler goes into the head: w . (x - m) / s + b = (w / s) . x + (b - (w / s) . m).
    weights = best.coef_[0] / scaler.scale_
    bias = best.intercept_[0] - weights @ scaler.mean_
    with torch.no_grad():
        network.head.weight.copy_(torch.from_numpy(np.stack([-weights, weights]) / 2))
        network.head.bias.copy_(torch.from_numpy(np.array([-bias, bias]) / 2))
    return float(log_loss(labels, best.predict_proba(scaled)))
