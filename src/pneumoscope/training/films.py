"""The films of one side of a split, as training takes them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pneumoscope.data.patients import CAUSES, NO_CAUSE


@dataclass(frozen=True)
class LabelledFilms:
    """Decoded films (N, S, S) uint8 with class indices (N,).

    ``causes`` (N,) are indices into ``CAUSES`` or ``NO_CAUSE``, where they are known at all.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    causes: NDArray[np.int64] | None = None

    def causes_to_tell_apart(self) -> NDArray[np.int64] | None:
        """Returns the causes (N,), or None where not each of them occurs."""
        if self.causes is None:
            return None
        stated = np.unique(self.causes[self.causes != NO_CAUSE])
        return self.causes if len(stated) == len(CAUSES) else None
