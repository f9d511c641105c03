"""Films of a batch in the style of one another, so that style says nothing of the class."""

import torch
from torch import Tensor, nn

NUM_BANDS = 16
"""Of spatial frequency, from coarse to fine, on a logarithmic scale."""

_LARGEST_GAIN = 1.5
"""Natural log of the most that one frequency is amplified or damped: 4.5 times."""


class RandomStyle(nn.Module):
    """Gives films some of the grey levels and of the sharpness of another film of their batch.

    In the training folder style alone foretells the class (:mod:`pneumoscope.data.style`); given
    at random it does not. First the histogram goes a random part of the way to that of the
    partner, then the power in each band of frequencies does. Nothing moves: edges stay where they
    are, and so does the mean level that the histogram has left.

    Source: Xu et al., "A Fourier-based Framework for Domain Generalization" (FACT, arXiv:2105.11182),
    equations 3 and 4, here with the amplitudes of whole bands, since a partner's own amplitudes
    bring a ghost of its shapes; Ma, "Histogram Matching Augmentation for Domain Adaptation"
    (arXiv:2012.13871), for the grey levels.
    """

    def __init__(self, prob: float, img_size: int) -> None:
        """``prob`` in [0, 1] that a film is changed; ``img_size`` is S, the side of the films."""
        super().__init__()
        self.prob = prob
        self.bands: Tensor
        self.register_buffer("bands", frequency_bands(img_size), persistent=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, 1, S, S), multiples of 1/255 in [0, 1]
        """Returns the changed films (B, 1, S, S), which may leave [0, 1] a little."""
        partner = torch.randperm(len(x)).to(x.device)
        is_changed = torch.rand(len(x), 1, device=x.device) < self.prob
        share = torch.rand(2, len(x), 1, device=x.device) * is_changed  # (2, B, 1)
        return match_power(match_levels(x, partner, share[0]), partner, share[1], self.bands)


def match_levels(x: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    """Returns films whose histograms went part of the way to their partners'.

    Args:
        x: (B, 1, S, S), multiples of 1/255 in [0, 1].
        partner: (B,) indices into ``x``.
        share: (B, 1) of the way, in [0, 1].
    """
    levels = (x * 255.0).round().long().flatten(1)  # (B, S * S)
    counts = torch.zeros(len(x), 256, device=x.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels, dtype=counts.dtype))
    rank = counts.cumsum(dim=1)  # (B, 256), how many pixels are at most so bright
    # A level stands for the middle of its pixels, and goes where the partner has that rank.
    found = torch.searchsorted(rank[partner], rank - counts / 2)
    level = torch.arange(256.0, device=x.device).expand_as(found)
    table = level.lerp(found.to(level.dtype), share) / 255.0
    return table.gather(1, levels).reshape(x.shape)


def match_power(x: Tensor, partner: Tensor, share: Tensor, bands: Tensor) -> Tensor:
    """Returns films whose power, band by band, went part of the way to their partners'.

    Args:
        x: (B, 1, S, S).
        partner: (B,) indices into ``x``.
        share: (B, 1) of the way, of log power, in [0, 1].
        bands: what `frequency_bands` gives for S.
    """
    spectrum = torch.fft.rfft2(x[:, 0])  # (B, S, S // 2 + 1)
    power = spectrum.abs().square().flatten(1) @ bands.T / bands.sum(dim=1)  # (B, NUM_BANDS)
    log_power = (power + 1e-6).log()
    log_gain = share * (log_power[partner] - log_power) / 2
    gain = log_gain.clamp(-_LARGEST_GAIN, _LARGEST_GAIN) @ bands
    # The bands leave out frequency 0, whose gain is thus exp(0): the mean stays.
    changed = torch.fft.irfft2(spectrum * gain.exp().reshape(spectrum.shape), s=x.shape[2:])
    return changed[:, None]


def frequency_bands(img_size: int) -> Tensor:
    """Returns the share (NUM_BANDS, S * (S // 2 + 1)) that each frequency has in each band.

    In the order of ``torch.fft.rfft2``. A frequency lies between the centres of two bands and
    belongs to both, the more the nearer; the first centre is one cycle a film, the last half a
    cycle a pixel, and beyond it, in the corners, all belongs to the last. Frequency 0 to none.
    """
    vertical = torch.fft.fftfreq(img_size)[:, None]
    cycles = torch.hypot(vertical, torch.fft.rfftfreq(img_size)[None]).flatten() * img_size
    octaves = torch.log2(torch.tensor(img_size / 2))
    place = cycles.clamp(1.0, img_size / 2).log2() / octaves * (NUM_BANDS - 1)
    distance = (place - torch.arange(NUM_BANDS)[:, None]).abs()
    return (1.0 - distance).clamp(min=0.0) * (cycles > 0)
