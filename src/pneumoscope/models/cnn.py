"""The baseline: a compact ResNet for films, trained from scratch.

It standardises every film by itself before it looks.

Shapes: B batch, C channels, H height, W width, D width of a stage, K classes.

Source: He et al., "Deep Residual Learning", CVPR 2016 (arXiv:1512.03385), basic block;
the stem of 3x3 convolutions and the pooled shortcut follow "Bag of Tricks", CVPR 2019
(arXiv:1812.01187), models ResNet-C and ResNet-D.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from pneumoscope.errors import ModelError
from pneumoscope.models.views import mean_over_views


def conv_bn(in_chans: int, out_chans: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """Returns a convolution that keeps the size (but for the stride), then BatchNorm."""
    return nn.Sequential(
        nn.Conv2d(in_chans, out_chans, kernel_size, stride, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_chans),
    )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, in_chans: int, out_chans: int, stride: int) -> None:
        """Makes the block; the shortcut is pooled and projected where the size changes."""
        super().__init__()
        self.conv1 = conv_bn(in_chans, out_chans, 3, stride)
        self.conv2 = conv_bn(out_chans, out_chans, 3)
        # A zero gain makes every block start as the identity, which steadies the first steps.
        bn = self.conv2[1]
        assert isinstance(bn, nn.BatchNorm2d)
        nn.init.zeros_(bn.weight)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_chans != out_chans:
            pool = nn.AvgPool2d(stride, ceil_mode=True) if stride != 1 else nn.Identity()
            self.shortcut = nn.Sequential(pool, conv_bn(in_chans, out_chans, 1))

    def forward(self, x: Tensor) -> Tensor:  # (B, in, H, W)
        """Returns (B, out, ceil(H / stride), ceil(W / stride))."""
        y = self.conv2(F.relu(self.conv1(x)))
        return F.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """Stem, four stages of residual blocks, global average pooling, linear head.

    Args:
        img_size: side of the square input in pixels; kept for callers, any size from 32 works.
        in_chans: C.
        num_classes: K.
        widths: D of each stage.
        depths: blocks of each stage.
        drop_rate: dropout before the head.
        flip_average: out of training, answer the mean of the logits of an image and its mirror
            image.
        zoom_average: out of training, answer the mean over the image and four zooms of it
            (:data:`~pneumoscope.models.views.ZOOMS`), or over all six where both are asked for.

    Raises:
        ModelError: ``img_size`` is too small to be halved by every stage.
    """

    def __init__(
        self,
        *,
        img_size: int = 224,
        in_chans: int = 3,
        num_classes: int = 2,
        widths: tuple[int, ...] = (32, 64, 96, 160),
        depths: tuple[int, ...] = (2, 2, 2, 2),
        drop_rate: float = 0.0,
        flip_average: bool = False,
        zoom_average: bool = False,
    ) -> None:
        """Makes the network and draws its initial weights from torch's random state."""
        super().__init__()
        if img_size < 32:
            raise ModelError(f"img_size {img_size} is too small for the CNN; use 32 or more")
        self.img_size = img_size
        self.in_chans = in_chans
        self.num_classes = num_classes
        self.drop_rate = drop_rate
        self.flip_average = flip_average
        self.zoom_average = zoom_average
        stem = widths[0]
        self.stem = nn.Sequential(
            conv_bn(in_chans, stem // 2, 3, 2), nn.ReLU(), conv_bn(stem // 2, stem, 3), nn.ReLU()
        )
        stages, previous = [], stem
        for width, depth in zip(widths, depths, strict=True):
            for index in range(depth):
                stages.append(ResidualBlock(previous, width, stride=2 if index == 0 else 1))
                previous = width
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(previous, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        """Returns the last stage's maps (B, D, H/32, W/32), rounded up."""
        # Each film is brought to mean 0 and deviation 1, so exposure cannot sway the answer.
        maps: Tensor = self.stages(self.stem(F.instance_norm(x)))
        return maps

    def represent(self, maps: Tensor) -> Tensor:  # (B, D, H/32, W/32)
        """Returns what the head sees (B, D) of the maps of :meth:`forward_features`."""
        return F.dropout(maps.mean(dim=(2, 3)), self.drop_rate, self.training)

    def classify(self, maps: Tensor) -> Tensor:  # (B, D, H/32, W/32)
        """Returns logits (B, K) from the maps of :meth:`forward_features`."""
        logits: Tensor = self.head(self.represent(maps))
        return logits

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        """Returns logits (B, K)."""
        if self.training:
            return self._answer(x)
        return mean_over_views(self._answer, x, flip=self.flip_average, zoom=self.zoom_average)

    def _answer(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        """Returns logits (B, K) of the one view."""
        return self.classify(self.forward_features(x))
