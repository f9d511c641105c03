"""Several networks that answer as one: the mean of their log odds.

Shapes: B batch, C channels, S side of the ensemble's input, K = 2 classes, M members.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pneumoscope.errors import ModelError


class Ensemble(nn.Module):
    """Shows each film to every member, at that member's size, and averages their log odds.

    The input is as large as that of the largest member; for smaller ones it is reduced with an
    antialiased triangle filter, as preprocessing does.

    Source: log odds are averaged rather than probabilities, which is the logarithmic opinion
    pool: Genest & Zidek, Statistical Science 1 (1986) 114-135, section 3.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        """Takes the members as they are.

        Raises:
            ModelError: fewer than two, or not all of two classes and equally many channels.
        """
        super().__init__()
        if len(members) < 2:
            raise ModelError(f"an ensemble of {len(members)} members; expected two or more")
        in_chans = {int(member.in_chans) for member in members}  # type: ignore[arg-type]
        if len(in_chans) > 1 or any(member.num_classes != 2 for member in members):
            raise ModelError("the members of an ensemble need two classes and equal in_chans")
        self.members = nn.ModuleList(members)
        self.sizes = [int(member.img_size) for member in members]  # type: ignore[arg-type]
        self.img_size = max(self.sizes)
        self.in_chans = in_chans.pop()
        self.num_classes = 2

    def forward(self, x: Tensor) -> Tensor:  # (B, C, S, S)
        """Returns logits (B, 2) whose difference is the mean of the members' differences."""
        odds = torch.stack([self._log_odds(i, x) for i in range(len(self.members))])  # (M, B)
        half = odds.mean(dim=0) / 2
        return torch.stack([-half, half], dim=1)

    def _log_odds(self, index: int, x: Tensor) -> Tensor:
        size = self.sizes[index]
        if size != x.shape[-1]:
            # One channel is reduced and shown again: they are equal, and it is the costly part.
            x = F.interpolate(x[:, :1], (size, size), mode="bilinear", antialias=True)
            x = x.expand(-1, self.in_chans, -1, -1)
        logits: Tensor = self.members[index](x)
        return logits[:, 1] - logits[:, 0]
