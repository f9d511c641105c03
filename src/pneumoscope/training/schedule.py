"""What changes in the course of a training: the learning rate, the share of patches left out."""

import math


def lr_at(step: int, *, peak: float, num_steps: int, warmup_steps: int, min_ratio: float) -> float:
    """Returns the learning rate of step ``step``, counted from 0.

    Linear from ``peak / warmup_steps`` to ``peak`` over the warm-up, then half a cosine down to
    ``min_ratio * peak`` at the last step.

    Source: Loshchilov & Hutter, "SGDR" (arXiv:1608.03983), equation 5, without restarts.

    >>> [round(lr_at(s, peak=1, num_steps=6, warmup_steps=2, min_ratio=0), 2) for s in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.25, 0.0]
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, num_steps - 1 - warmup_steps)
    return peak * (min_ratio + (1 - min_ratio) * 0.5 * (1 + math.cos(math.pi * progress)))


def patch_drop_rate_at(epoch: int, *, first: float, last: float, num_epochs: int) -> float:
    """Returns the share of patches that epoch ``epoch``, counted from 1, leaves out.

    In equal steps from ``first`` to ``last``, both in [0, 1); a single epoch has ``first``. Early
    epochs are cheap, late ones see more of what is answered by: the whole film. It is the same
    throughout an epoch, so that tensors keep their sizes.

    Source: Li et al., "Scaling Language-Image Pre-training via Masking" (arXiv:2212.00794), who
    train on few patches and tune on whole images last ("unmasking"); here it goes by degrees.

    >>> [round(patch_drop_rate_at(e, first=0.75, last=0.25, num_epochs=3), 2) for e in (1, 2, 3)]
    [0.75, 0.5, 0.25]
    """
    return first + (last - first) * (epoch - 1) / max(1, num_epochs - 1)
