"""The Vision Transformer, from pixels to logits in one file that reads top to bottom.

Shapes, once for all: B batch, C channels, H height, W width, N tokens, D embed_dim,
A heads, E head_dim (D / A), K classes, P patch side.

State-dict keys follow timm (``patch_embed.proj.weight``, ``cls_token``, ``pos_embed``,
``blocks.0.attn.qkv.weight``, ``blocks.0.mlp.fc1.weight``, ``norm``, ``head``), so that
timm-format files load unchanged.

Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021 (arXiv:2010.11929),
equations 1-4; the pre-norm block is theirs.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pneumoscope.errors import ModelError
from pneumoscope.models.positions import sine_cosine_positions
from pneumoscope.models.views import mean_over_views


class PatchEmbed(nn.Module):
    """Cuts an image into P x P patches and projects each linearly (equation 1)."""

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int) -> None:
        """Makes the projection, as a convolution whose stride is its kernel."""
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_chans, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, x: Tensor, kept: Tensor | None = None) -> Tensor:  # (B, C, H, W)
        """Returns one token a patch, row by row (B, N, D), or those of the patches ``kept`` alone.

        ``kept`` has indices (B, V) into the grid, row by row; the others are then never projected.
        """
        if kept is None:
            grid: Tensor = self.proj(x)  # (B, D, H/P, W/P)
            return grid.flatten(2).transpose(1, 2)  # (B, N, D)
        (B, C, H, W), P = x.shape, self.patch_size
        patches = x.reshape(B, C, H // P, P, W // P, P).permute(0, 2, 4, 1, 3, 5)
        image, width = torch.arange(B, device=x.device)[:, None], W // P
        patches = patches[image, kept // width, kept % width]  # (B, V, C, P, P)
        return F.linear(patches.flatten(2), self.proj.weight.flatten(1), self.proj.bias)


class Attention(nn.Module):
    """Multi-head self-attention (appendix A of the paper)."""

    def __init__(self, embed_dim: int, num_heads: int, drop_rate: float) -> None:
        """Makes the merged q, k, v projection and the output projection."""
        super().__init__()
        self.num_heads = num_heads
        self.drop_rate = drop_rate
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns q, k and v of ``x`` (B, N, D), each (B, A, N, E)."""
        B, N, D = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.num_heads, D // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (3, B, A, N, E)
        return q, k, v

    def forward(self, x: Tensor, *, class_only: bool = False) -> Tensor:  # (B, N, D)
        """Returns the attended tokens (B, N, D), or that of the class token alone (B, 1, D).

        Through the fused kernel, but for training on a CPU: there its backward pass takes four
        tenths of a step of so few tokens (``benchmarks/attention.py``).
        """
        q, k, v = self._heads(x)
        if class_only:
            q = q[:, :, :1]  # Q = 1 query, else N
        drop_rate = self.drop_rate if self.training else 0.0
        if self.training and x.device.type == "cpu":
            x = F.dropout(self._weights(q, k), drop_rate).to(v.dtype) @ v  # (B, A, Q, E)
        else:
            x = F.scaled_dot_product_attention(q, k, v, dropout_p=drop_rate)
        x = self.proj(x.transpose(1, 2).flatten(2))  # (B, Q, D)
        return F.dropout(x, self.drop_rate, self.training)

    @staticmethod
    def _weights(q: Tensor, k: Tensor) -> Tensor:  # (B, A, Q, E), (B, A, N, E)
        """Returns the softmax weights (B, A, Q, N) of Q queries."""
        scale: float = q.shape[-1] ** -0.5
        return ((q * scale) @ k.transpose(-2, -1)).softmax(dim=-1)

    def attention_map(self, x: Tensor) -> Tensor:  # (B, N, D)
        """Returns the softmax weights (B, A, N, N) that :meth:`forward` applies to the values."""
        q, k, _ = self._heads(x)
        return self._weights(q, k)


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(
        self, embed_dim: int, hidden_dim: int, gelu: Literal["erf", "tanh"], drop_rate: float
    ) -> None:
        """Makes the layers; ``gelu`` is the exact function or Google's tanh approximation."""
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, hidden_dim)
        self.act = nn.GELU(approximate="tanh" if gelu == "tanh" else "none")
        self.fc2 = nn.Linear(hidden_dim, embed_dim)
        self.drop_rate = drop_rate

    def forward(self, x: Tensor) -> Tensor:  # (B, N, D)
        """Returns the transformed tokens (B, N, D)."""
        x = F.dropout(self.act(self.fc1(x)), self.drop_rate, self.training)
        return F.dropout(self.fc2(x), self.drop_rate, self.training)


class DropPath(nn.Module):
    """Stochastic depth: in training, drops a residual branch for whole samples.

    Kept branches are divided by the keep probability, so the expectation is unchanged;
    in eval mode it is the identity.

    Source: Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016 (arXiv:1603.09382).
    """

    def __init__(self, drop_prob: float) -> None:
        """``drop_prob`` in [0, 1): the share of samples whose branch is dropped."""
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:  # (B, ...)
        """Returns ``x`` with the branches of some samples zeroed and the others scaled up."""
        if self.drop_prob == 0.0 or not self.training:
            return x
        keep_prob = 1.0 - self.drop_prob
        mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep_prob)
        return x * (mask / keep_prob)


class Block(nn.Module):
    """Pre-norm transformer block: attention, then MLP, each on a residual (equations 2, 3)."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        mlp_ratio: float,
        gelu: Literal["erf", "tanh"],
        norm_eps: float,
        drop_rate: float,
        drop_path: float,
    ) -> None:
        """Makes one block; ``drop_path`` is this block's own drop probability."""
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dim, eps=norm_eps)
        self.attn = Attention(embed_dim, num_heads, drop_rate)
        self.norm2 = nn.LayerNorm(embed_dim, eps=norm_eps)
        self.mlp = Mlp(embed_dim, round(embed_dim * mlp_ratio), gelu, drop_rate)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, *, class_only: bool = False) -> Tensor:  # (B, N, D)
        """Returns the next tokens (B, N, D), or the class token alone (B, 1, D)."""
        attended = self.attn(self.norm1(x), class_only=class_only)
        x = (x[:, :1] if class_only else x) + self.drop_path(attended)
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x


class PreLogits(nn.Module):
    """The tanh layer between class token and head that the in21k checkpoints carry."""

    def __init__(self, embed_dim: int, representation_size: int) -> None:
        """Makes the layer."""
        super().__init__()
        self.fc = nn.Linear(embed_dim, representation_size)

    def forward(self, x: Tensor) -> Tensor:  # (B, D)
        """Returns the representation (B, representation_size), each value in (-1, 1)."""
        return torch.tanh(self.fc(x))


class VisionTransformer(nn.Module):
    """Image in, logits out.

    Args:
        img_size: side of the square input, in pixels; a multiple of ``patch_size``.
        patch_size: P.
        in_chans: C.
        num_classes: K.
        embed_dim: D.
        depth: number of blocks.
        num_heads: A; divides ``embed_dim``.
        mlp_ratio: width of the MLP's hidden layer over ``embed_dim``.
        gelu: ``"erf"`` (exact) or ``"tanh"`` (what Google's networks were trained with).
        norm_eps: epsilon of every LayerNorm.
        representation_size: width of a ``pre_logits`` layer, or None for none.
        drop_rate: dropout after embedding, attention and MLP layers.
        drop_path_rate: DropPath of the last block; it grows linearly from 0 at the first.
        patch_drop_rate: share of the patches left out of each training image.
        standardize: give each image mean 0 and standard deviation 0.5 first, so that exposure
            and contrast say nothing. The published weights were trained without.
        flip_average: out of training, answer the mean of the logits of an image and its mirror
            image.
        zoom_average: out of training, answer the mean over the image and four zooms of it
            (:data:`~pneumoscope.models.views.ZOOMS`), or over all six where both are asked for.
        pos_embed_init: what position embeddings start from before they are learned: ``"normal"``
            (small and random) or ``"sine_cosine"``.

    Raises:
        ModelError: the sizes do not fit one another, or ``pos_embed_init`` is not known.
    """

    def __init__(
        self,
        *,
        img_size: int = 224,
        patch_size: int = 16,
        in_chans: int = 3,
        num_classes: int = 2,
        embed_dim: int = 256,
        depth: int = 6,
        num_heads: int = 8,
        mlp_ratio: float = 4.0,
        gelu: Literal["erf", "tanh"] = "erf",
        norm_eps: float = 1e-6,
        representation_size: int | None = None,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        patch_drop_rate: float = 0.0,
        standardize: bool = False,
        flip_average: bool = False,
        zoom_average: bool = False,
        pos_embed_init: Literal["normal", "sine_cosine"] = "normal",
    ) -> None:
        """Makes the network and draws its initial weights from torch's random state."""
        super().__init__()
        if img_size <= 0 or img_size % patch_size:
            raise ModelError(
                f"img_size {img_size} is not a multiple of the patch size {patch_size}; "
                f"choose a multiple of {patch_size}"
            )
        if depth < 1:
            raise ModelError(f"depth {depth} leaves no block; choose 1 or more")
        if embed_dim % num_heads:
            raise ModelError(f"embed_dim {embed_dim} does not divide into {num_heads} heads")
        if pos_embed_init not in ("normal", "sine_cosine"):
            raise ModelError(
                f"pos_embed_init {pos_embed_init!r} is not known; choose 'normal' or 'sine_cosine'"
            )
        self.img_size = img_size
        self.patch_size = patch_size
        self.in_chans = in_chans
        self.num_classes = num_classes
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.drop_rate = drop_rate
        self.patch_drop_rate = patch_drop_rate
        self.standardize = standardize
        self.flip_average = flip_average
        self.zoom_average = zoom_average

        num_patches = (img_size // patch_size) ** 2
        self.patch_embed = PatchEmbed(patch_size, in_chans, embed_dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + num_patches, embed_dim))
        drop_paths = [drop_path_rate * index / max(1, depth - 1) for index in range(depth)]
        self.blocks = nn.ModuleList(
            Block(embed_dim, num_heads, mlp_ratio, gelu, norm_eps, drop_rate, drop_path)
            for drop_path in drop_paths
        )
        self.norm = nn.LayerNorm(embed_dim, eps=norm_eps)
        self.pre_logits = (
            nn.Identity()
            if representation_size is None
            else PreLogits(embed_dim, representation_size)
        )
        self.head = nn.Linear(representation_size or embed_dim, num_classes)
        self._init_weights()
        if pos_embed_init == "sine_cosine":
            with torch.no_grad():
                self.pos_embed.copy_(sine_cosine_positions(img_size // patch_size, embed_dim))

    def _init_weights(self) -> None:
        """Draws truncated normals (std 0.02) for weights and embeddings; biases are zero."""
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def _embed(
        self, x: Tensor, patch_drop_rate: float | None = None
    ) -> tuple[Tensor, Tensor | None]:  # (B, C, H, W)
        """Returns class and patch tokens with positions (B, 1 + N, D), and which were kept."""
        B, C, H, W = x.shape
        if (self.in_chans, self.img_size, self.img_size) != (C, H, W):
            raise ModelError(
                f"input is {C} x {H} x {W} (channels, height, width); this network takes "
                f"{self.in_chans} x {self.img_size} x {self.img_size}"
            )
        if self.standardize:
            x = 0.5 * F.layer_norm(x, x.shape[1:])  # one mean and deviation over C, H and W
        kept = self._draw_patches(x, patch_drop_rate)
        positions = self.pos_embed[:, 1:]  # (1, N, D)
        if kept is not None:
            positions = F.embedding(kept, positions[0])  # (B, N, D)
        x = self.patch_embed(x, kept) + positions
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(B, -1, -1)  # (B, 1, D)
        return F.dropout(torch.cat([cls, x], dim=1), self.drop_rate, self.training), kept

    def _draw_patches(self, x: Tensor, rate: float | None) -> Tensor | None:  # (B, C, H, W)
        """Returns indices (B, V) of the patches to keep in training, in random order; None for all.

        ``rate`` is the share left out, None for the network's own. It regularises and cuts the cost
        of a step about in proportion.
        Source: Liu et al., "PatchDropout", WACV 2023 (arXiv:2208.07220).
        """
        rate = self.patch_drop_rate if rate is None else rate
        if rate == 0.0 or not self.training:
            return None
        num_patches = self.pos_embed.shape[1] - 1
        num_keep = max(1, round(num_patches * (1.0 - rate)))
        order = torch.rand(len(x), num_patches, device=x.device).argsort(dim=1)
        return order[:, :num_keep]

    def encode(
        self, x: Tensor, patch_drop_rate: float | None = None, *, class_only: bool = False
    ) -> tuple[Tensor, Tensor | None]:  # (B, C, H, W)
        """Returns the tokens after the last norm (B, 1 + N, D), and the patches they stand for.

        The class token is first. The patches are indices (B, N) into the grid, row by row,
        where patch dropout left some out, and None where all are there.

        Args:
            x: (B, C, H, W).
            patch_drop_rate: in training, instead of the network's own.
            class_only: return the class token alone (B, 1, D), and do not compute what the others
                become in the last block; the patches are then those that it has seen.
        """
        x, kept = self._embed(x, patch_drop_rate)
        *blocks, last = self.blocks
        for block in blocks:
            x = block(x)
        return self.norm(last(x, class_only=class_only)), kept

    def represent(self, tokens: Tensor) -> Tensor:  # (B, 1 + N, D)
        """Returns what the head sees of the class token of :meth:`encode`.

        That is (B, D), or (B, ``representation_size``) where the network has one.
        """
        seen: Tensor = self.pre_logits(tokens[:, 0])
        return seen

    def classify(self, tokens: Tensor) -> Tensor:  # (B, 1 + N, D)
        """Returns logits (B, K) from the class token of :meth:`encode`."""
        logits: Tensor = self.head(self.represent(tokens))
        return logits

    def forward_features(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        """Returns the tokens after the last norm (B, 1 + N, D); the class token is first."""
        return self.encode(x)[0]

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        """Returns logits (B, K)."""
        if self.training:
            return self.classify(self.encode(x, class_only=True)[0])
        return mean_over_views(self._answer, x, flip=self.flip_average, zoom=self.zoom_average)

    def _answer(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        """Returns logits (B, K) of the one view."""
        return self.classify(self.forward_features(x))

    def attention_maps(self, x: Tensor) -> list[Tensor]:  # (B, C, H, W)
        """Returns every block's attention weights, each (B, A, 1 + N, 1 + N), rows sum to 1."""
        maps = []
        x, _ = self._embed(x)
        for block in self.blocks:
            assert isinstance(block, Block)
            maps.append(block.attn.attention_map(block.norm1(x)))
            x = block(x)
        return maps
