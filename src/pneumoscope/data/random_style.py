"""Films of a batch in the style of one another, so that style says less of the class."""

import torch
from torch import Tensor, nn

NUM_DETAIL_BANDS = 12
"""Of spatial frequency, from coarse to fine, on a logarithmic scale."""

COARSEST = 4.0
"""Cycles a film at the centre of the first band; what is coarser is anatomy and stays."""

_LARGEST_GAIN = 1.5
"""Natural log of the most that a frequency is amplified or damped: 4.5 times."""


class RandomStyle(nn.Module):
    """Gives films some of the grey levels and of the sharpness of another film of their batch.

    In the training folder style alone foretells the class (:mod:`pneumoscope.data.style`); the more
    of it comes from films at random, the less it does. First the histogram goes a random part of
    the way to that of the partner, then the power of fine detail, band by band. Nothing moves:
    edges stay where they are. Borders blend with opposite ones over a few pixels. On average one
    film a batch is its own partner, and stays.

    Source: Ma, "Histogram Matching Augmentation for Domain Adaptation" (arXiv:2012.13871), for the
    grey levels; Xu et al., "A Fourier-based Framework for Domain Generalization"
    (arXiv:2105.11182), equations 3 and 4, for the detail: here logarithms are mixed, and of whole
    bands, since a partner's own amplitudes bring a ghost of its shapes.
    """

    def __init__(self, prob: float, img_size: int) -> None:
        """``prob`` in [0, 1] that a film is changed; ``img_size`` is S, the side of the films."""
        super().__init__()
        self.prob = prob
        self.bands = detail_bands(img_size)

    def forward(self, x: Tensor) -> Tensor:  # (B, 1, S, S), multiples of 1/255 in [0, 1]
        """Returns the changed films (B, 1, S, S), in [0, 1]."""
        self.bands = self.bands.to(x.device)
        partner = torch.randperm(len(x)).to(x.device)
        is_changed = torch.rand(len(x), 1, device=x.device) < self.prob
        share = torch.rand(2, len(x), 1, device=x.device) * is_changed  # (2, B, 1)
        matched = match_levels(x, x[partner], share[0])
        return match_detail(matched, x[partner], share[1], self.bands).clamp(0.0, 1.0)


def match_levels(x: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    """Returns films whose histograms went part of the way to their partners'.

    Args:
        x: (B, 1, S, S), multiples of 1/255 in [0, 1].
        partner: the same, of the partners.
        share: (B, 1) of the way, in [0, 1].
    """
    levels, theirs = _levels(x), _levels(partner)  # (B, S * S)
    counts = _histogram(levels)  # (B, 256)
    # A level stands for the middle of its pixels, and goes where the partner has that rank.
    middle = counts.cumsum(dim=1) - counts / 2
    found = torch.searchsorted(_histogram(theirs).cumsum(dim=1), middle)
    level = torch.arange(256.0, device=x.device).expand_as(middle)
    table = level.lerp(found.to(level.dtype), share) / 255.0
    return table.gather(1, levels).reshape(x.shape)


def match_detail(x: Tensor, partner: Tensor, share: Tensor, bands: Tensor) -> Tensor:
    """Returns films whose power went part of the way to their partners', band by band.

    Args:
        x: (B, 1, S, S).
        partner: the same, of the partners.
        share: (B, 1) of the way, of log power, in [0, 1].
        bands: what `detail_bands` gives for S.
    """
    spectrum = torch.fft.rfft2(x[:, 0])  # (B, S, S // 2 + 1)
    change = _log_power(torch.fft.rfft2(partner[:, 0]), bands) - _log_power(spectrum, bands)
    gain = (share * change / 2).clamp(-_LARGEST_GAIN, _LARGEST_GAIN) @ bands
    changed: Tensor = torch.fft.irfft2(spectrum * gain.exp().reshape(spectrum.shape), s=x.shape[2:])
    return changed[:, None]


def detail_bands(img_size: int) -> Tensor:
    """Returns the share (NUM_DETAIL_BANDS, S * (S // 2 + 1)) of each frequency in each band.

    In the order of ``torch.fft.rfft2``. A frequency lies between the centres of two bands and
    belongs to both, the more the nearer. The first centre is `COARSEST`, below which the first band
    fades out, the last half a cycle a pixel, and what is finer still, in the corners, is its own.
    """
    vertical = torch.fft.fftfreq(img_size)[:, None]
    cycles = torch.hypot(vertical, torch.fft.rfftfreq(img_size)[None]).flatten() * img_size
    finest = img_size / 2
    octaves = torch.tensor(finest / COARSEST).log2()
    place = (cycles.clamp(0.5, finest) / COARSEST).log2() / octaves * (NUM_DETAIL_BANDS - 1)
    distance = (place - torch.arange(NUM_DETAIL_BANDS)[:, None]).abs()
    bands: Tensor = (1.0 - distance).clamp(min=0.0)
    return bands


def _levels(x: Tensor) -> Tensor:
    return (x * 255.0).round().long().flatten(1)


def _histogram(levels: Tensor) -> Tensor:
    """Returns how many of the pixels (B, P) have each level (B, 256)."""
    counts = torch.zeros(len(levels), 256, device=levels.device)
    return counts.scatter_add_(1, levels, torch.ones_like(levels, dtype=counts.dtype))


def _log_power(spectrum: Tensor, bands: Tensor) -> Tensor:
    """Returns the log of the mean power in each band (B, NUM_DETAIL_BANDS)."""
    # Columns within the half spectrum stand for their mirror images too.
    times = torch.full(spectrum.shape[1:], 2.0, device=spectrum.device)
    times[:, 0] = 1.0
    weights = bands * times.flatten()
    power = spectrum.abs().square().flatten(1) @ weights.T / weights.sum(dim=1)
    log_power: Tensor = (power + 1e-6).log()
    return log_power
