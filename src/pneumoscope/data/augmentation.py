"""Random changes of a batch of films, drawn anew every step, on whatever device it lies.

Style first, then intensity, geometry (crop, then affine map), sharpness, noise and erasing. What
comes into view beside a turned film is its mirror image: black corners would teach the network's
normalisation a grey level that whole films do not have.
"""

from typing import Any

import torch
from kornia import augmentation as K
from torch import Tensor, nn

from pneumoscope.config import AugmentationConfig
from pneumoscope.data.random_style import RandomStyle


class RandomIntensity(nn.Module):
    """Random contrast about each film's own mean, and random brightness of that mean.

    Written here because kornia scales contrast about black and clips to [0, 1]: on films, whose
    mean is near one half, that whites out whole lungs. Nothing is clipped here.
    """

    def __init__(self, brightness: float, contrast: float) -> None:
        """Largest relative changes, each in [0, 1)."""
        super().__init__()
        self.brightness = brightness
        self.contrast = contrast

    def forward(self, x: Tensor) -> Tensor:  # (B, 1, S, S)
        """Returns the changed films (B, 1, S, S)."""
        change = 2.0 * torch.rand(2, len(x), 1, 1, 1, device=x.device) - 1.0
        contrast = 1.0 + self.contrast * change[0]
        brightness = 1.0 + self.brightness * change[1]
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        return (x - mean) * contrast + mean * brightness


class RandAugment(nn.Module):
    """A few changes in turn for each film, drawn anew from a list that is safe for films.

    Of the published list, those are left out that make a film what no film is: posterise and
    solarise (they invent edges and turn grey levels round), colour, and equalise (it lifts noise
    in the lungs to the contrast of disease). "Leave it as it is" is on the list, as there.

    Source: Cubuk et al., "RandAugment" (arXiv:1909.13719), section 3.
    """

    def __init__(self, num_ops: int, magnitude: float) -> None:
        """``num_ops`` changes a film; each goes up to ``magnitude`` (0, 1] of its widest range."""
        super().__init__()
        self.num_ops = num_ops
        m = magnitude
        moves: list[dict[str, Any]] = [
            {"degrees": 30.0 * m},
            {"degrees": 0.0, "translate": (0.3 * m, 0.0)},
            {"degrees": 0.0, "translate": (0.0, 0.3 * m)},
            {"degrees": 0.0, "shear": (-17.0 * m, 17.0 * m, 0.0, 0.0)},
            {"degrees": 0.0, "shear": (0.0, 0.0, -17.0 * m, 17.0 * m)},
        ]
        self.ops = nn.ModuleList(
            [
                nn.Identity(),
                *(K.RandomAffine(**move, padding_mode="reflection", p=1.0) for move in moves),
                RandomIntensity(0.9 * m, 0.0),
                RandomIntensity(0.0, 0.9 * m),
                K.RandomGamma((1.0 - 0.9 * m, 1.0 + 0.9 * m), p=1.0),
                K.RandomSharpness(2.0 * m, p=1.0),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:  # (B, 1, S, S), about [0, 1]
        """Returns the changed films (B, 1, S, S)."""
        for _ in range(self.num_ops):
            chosen = torch.randint(len(self.ops), (len(x),), device=x.device)
            changed = x.clone()
            for index, op in enumerate(self.ops):
                films = (chosen == index).nonzero()[:, 0]
                if len(films):
                    changed[films] = op(x[films])
            x = changed
        return x


class Augmenter(nn.Module):
    """Augments grey films (B, S, S) uint8 into (B, S, S) float32 on the scale 0-255.

    Draws from torch's global random state; a recipe of zeros is the identity. Values may leave
    [0, 255] a little, since contrast is not clipped.
    """

    def __init__(self, config: AugmentationConfig, img_size: int) -> None:
        """Makes the list of changes that ``config`` asks for; ``img_size`` is S."""
        super().__init__()
        steps: list[nn.Module] = []
        if config.style_prob:
            steps.append(RandomStyle(config.style_prob, img_size))
        if config.gamma:
            steps.append(K.RandomGamma((1.0 - config.gamma, 1.0 + config.gamma), p=1.0))
        if config.brightness or config.contrast:
            steps.append(RandomIntensity(config.brightness, config.contrast))
        if config.hflip_prob:
            steps.append(K.RandomHorizontalFlip(p=config.hflip_prob))
        if config.crop_min < 1.0:
            steps.append(K.RandomResizedCrop((img_size, img_size), (config.crop_min, 1.0)))
        zoom = (config.scale_min, config.scale_max)
        if config.rotate_deg or config.translate or config.shear_deg or zoom != (1.0, 1.0):
            steps.append(
                K.RandomAffine(
                    degrees=config.rotate_deg,
                    translate=(config.translate, config.translate),
                    scale=(*zoom, *zoom),
                    shear=config.shear_deg or None,
                    padding_mode="reflection",
                    p=1.0,
                )
            )
        if config.randaugment_ops:
            steps.append(RandAugment(config.randaugment_ops, config.randaugment_magnitude))
        if config.blur_prob:
            steps.append(K.RandomGaussianBlur((7, 7), (0.1, 2.0), p=config.blur_prob))
        if config.noise_prob:
            steps.append(K.RandomGaussianNoise(std=0.03, p=config.noise_prob))
        if config.erase_prob:
            steps.append(K.RandomErasing(scale=(0.02, 0.2), p=config.erase_prob))
        self.steps = nn.Sequential(*steps)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:  # (B, S, S) uint8
        """Returns the changed films (B, S, S) float32, about on the scale 0-255."""
        x = pixels.float()
        if len(self.steps) == 0:
            return x
        changed: Tensor = self.steps(x.unsqueeze(1) / 255.0)  # (B, 1, S, S), about [0, 1]
        return changed.squeeze(1) * 255.0
