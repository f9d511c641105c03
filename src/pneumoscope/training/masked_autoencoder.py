"""Masked autoencoding: most of a film is hidden, and what is hidden must be told from the rest.

It needs no label. The encoder is the Vision Transformer itself and runs on the visible patches
alone, which makes a step cheap; the decoder is small and thrown away afterwards.

Shapes: B films, N patches, V visible ones, M = N - V hidden ones, D embed_dim, d = D / 2 width
of the decoder, P patch side.

Source: He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022
(arXiv:2111.06377): section 3 and, for the position embeddings of sines and cosines, appendix A.1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pneumoscope.config import MaskedAutoencodingConfig
from pneumoscope.models.positions import sine_cosine_positions
from pneumoscope.models.vit import Block, VisionTransformer


class MaskedAutoencoder(nn.Module):
    """A Vision Transformer as encoder, a small decoder, and the loss of their completions.

    Films are grey, so of the C equal channels one is predicted. Targets are the hidden patches,
    each normalised by its own mean and deviation, so that exposure and contrast do not count.
    """

    def __init__(self, network: VisionTransformer, config: MaskedAutoencodingConfig) -> None:
        """Draws the decoder from torch's random state; ``network`` is trained in place.

        Its position embeddings start anew, as sines and cosines of the places; as parameters
        they are learned on.
        """
        super().__init__()
        self.network = network
        self.mask_rate = config.mask_rate
        dim = network.embed_dim // 2
        grid = network.img_size // network.patch_size
        with torch.no_grad():
            network.pos_embed.copy_(sine_cosine_positions(grid, network.embed_dim))
        self.embed = nn.Linear(network.embed_dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.positions: Tensor
        self.register_buffer("positions", sine_cosine_positions(grid, dim), persistent=False)
        self.decoder = nn.Sequential(
            *(
                Block(dim, max(1, dim // 32), 4.0, "erf", 1e-6, 0.0, 0.0)
                for _ in range(config.decoder_depth)
            ),
            nn.LayerNorm(dim, eps=1e-6),
        )
        self.predict = nn.Linear(dim, network.patch_size**2)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        for module in (self.embed, self.predict, *self.decoder.modules()):
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, num_films: int) -> Tensor:  # (B, C, H, W)
        """Returns this process's part of the mean squared error on hidden patches, a scalar.

        Args:
            x: (B, C, H, W), the channels equal.
            num_films: films of the whole batch, over all processes.
        """
        tokens, visible = self.network.encode(x, patch_drop_rate=self.mask_rate)  # (B, 1 + V, D)
        assert visible is not None, "masking happens in training mode"
        hidden = hidden_places(visible, self.positions.shape[1] - 1)  # (B, M)
        predicted = self.predict(_at(self._decode(tokens, visible), hidden)).float()
        targets = _at(normalized_patches(x[:, :1], self.network.patch_size), hidden)
        errors: Tensor = (predicted - targets).square()
        return errors.mean(dim=(1, 2)).sum() / num_films

    def _decode(self, tokens: Tensor, visible: Tensor) -> Tensor:
        """Returns (B, N, d) of all patches, from tokens (B, 1 + V, D) at places (B, V)."""
        y = self.embed(tokens)  # (B, 1 + V, d)
        B, _, d = y.shape
        num_patches = self.positions.shape[1] - 1
        everywhere = self.mask_token.to(y.dtype).expand(B, num_patches, d)
        filled = everywhere.scatter(1, visible[:, :, None].expand(-1, -1, d), y[:, 1:])
        decoded: Tensor = self.decoder(torch.cat([y[:, :1], filled], dim=1) + self.positions)
        return decoded[:, 1:]


def hidden_places(visible: Tensor, num_patches: int) -> Tensor:  # (B, V)
    """Returns the places (B, M) that are not in ``visible``, ascending."""
    is_hidden = torch.ones(len(visible), num_patches, device=visible.device)
    is_hidden.scatter_(1, visible, 0.0)
    order = is_hidden.argsort(dim=1, descending=True, stable=True)
    return order[:, : num_patches - visible.shape[1]]


def normalized_patches(films: Tensor, patch_size: int) -> Tensor:  # (B, 1, H, W)
    """Returns the patches (B, N, P * P), row by row, each with mean 0 and deviation 1."""
    patches = F.unfold(films.float(), patch_size, stride=patch_size).transpose(1, 2)
    return F.layer_norm(patches, patches.shape[-1:], eps=1e-6)


def _at(values: Tensor, places: Tensor) -> Tensor:  # (B, N, d), (B, M)
    """Returns the rows of each film at its places: (B, M, d)."""
    return values.gather(1, places[:, :, None].expand(-1, -1, values.shape[2]))
