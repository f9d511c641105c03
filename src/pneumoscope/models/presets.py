"""The sizes of the named networks, and nothing else.

Source of the Google sizes: Dosovitskiy et al. (arXiv:2010.11929), table 1, and Steiner et al.,
"How to train your ViT?" (arXiv:2106.10270), table 2, which added Ti and S.
"""

from typing import Any

_SIZES: dict[str, dict[str, Any]] = {
    "ti": {"embed_dim": 192, "depth": 12, "num_heads": 3},
    "s": {"embed_dim": 384, "depth": 12, "num_heads": 6},
    "b": {"embed_dim": 768, "depth": 12, "num_heads": 12},
    "l": {"embed_dim": 1024, "depth": 24, "num_heads": 16},
}

VIT_PRESETS: dict[str, dict[str, Any]] = {
    "vit_scratch": {
        "patch_size": 16, "embed_dim": 256, "depth": 6, "num_heads": 8, "gelu": "erf",
    },
    **{
        f"vit_{size}{patch}": {"patch_size": patch, "gelu": "tanh", **sizes}
        for size, sizes in _SIZES.items()
        for patch in (16, 32)
    },
}  # fmt: skip
"""Constructor arguments of :class:`~pneumoscope.models.vit.VisionTransformer` by name."""

CNN_PRESETS: dict[str, dict[str, Any]] = {
    "cnn": {"widths": (32, 64, 96, 160), "depths": (2, 2, 2, 2)},
}
"""Constructor arguments of :class:`~pneumoscope.models.cnn.ResNet` by name."""

MODEL_NAMES: tuple[str, ...] = (*CNN_PRESETS, *VIT_PRESETS)
"""Every name that :func:`pneumoscope.build_model` knows."""
