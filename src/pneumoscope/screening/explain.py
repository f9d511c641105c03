"""Heat maps of screened films, as pictures and as raw arrays. Needs torch."""

import hashlib
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from pneumoscope.bundle import Bundle
from pneumoscope.files import atomic_path, make_folder, storage_error
from pneumoscope.models.bundles import load_network
from pneumoscope.models.heatmap import Heatmap, attention_rollout, class_heatmap, overlay
from pneumoscope.models.scoring import score_pixels
from pneumoscope.models.vit import VisionTransformer
from pneumoscope.screening.output import csv_record

_NAME_CHARACTERS = 80
_NUM_PLACES = 8


class Explainer:
    """Paints what a bundle's network hung its answers on, one picture and one array a film."""

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        """Opens the network; ``folder`` is made where it is missing."""
        self._network = load_network(bundle)
        self._folder = make_folder(folder)

    def write(self, path: str, view: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns the overlay (S, S, 3) of one film after writing it and its map.

        ``NAME-HASH.png`` is the overlay, ``NAME-HASH.npy`` the map, float32 (S, S) in [0, 1];
        for a Vision Transformer also ``NAME-HASH.rollout.npy``. The hash is that of the path, so
        films of one name do not replace one another; ``index.csv`` says which film is which.

        Args:
            path: names the film; only letters, digits, dot, dash and underscore are kept.
            view: what the network saw, (S, S).
        """
        name = re.sub(r"[^\w.-]+", "_", Path(path).stem, flags=re.ASCII)[:_NAME_CHARACTERS]
        digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()
        stem = f"{name}-{digest[:8]}"
        self._enter(path, stem)
        heatmap = class_heatmap(self._network, view[None])[0]
        painted = overlay(view, heatmap)
        with atomic_path(self._folder / f"{stem}.png") as temporary:
            Image.fromarray(painted).save(temporary, "PNG")
        self._save(f"{stem}.npy", heatmap)
        if isinstance(self._network, VisionTransformer):
            self._save(f"{stem}.rollout.npy", attention_rollout(self._network, view[None])[0])
        return painted

    def _enter(self, path: str, stem: str) -> None:
        """Adds a film to the index, unless an earlier run did."""
        index = self._folder / "index.csv"
        try:
            if (self._folder / f"{stem}.png").exists():
                return
            is_new = not index.exists()
            with index.open("a", encoding="utf-8", newline="") as stream:
                stream.write("path,overlay\n" if is_new else "")
                stream.write(csv_record([path, f"{stem}.png"]) + "\n")
        except OSError as error:
            raise storage_error(index, error) from error

    def deletion(self, view: NDArray[np.uint8]) -> tuple[float, float]:
        """Returns by how much the log-odds fall where the hottest fifth of a film is blurred.

        And by how much on average where the same shape is blurred in other places. Where the
        first is not clearly larger the map says little about this film. The map is of the film
        as it is; the log odds are the network's, over views where it averages over them.
        """
        heatmap = class_heatmap(self._network, view[None])[0]
        rng = np.random.default_rng(0)
        shifts = rng.integers(0, len(view), (_NUM_PLACES, 2))
        maps = [heatmap, *(np.roll(heatmap, shift, (0, 1)) for shift in shifts)]
        blurred = gaussian_filter(view, len(view) / 12)
        films = [np.where(heat >= np.quantile(heat, 0.8), blurred, view) for heat in maps]
        logits = score_pixels(self._network, np.stack([view, *films]))
        falls = (logits[0, 1] - logits[0, 0]) - (logits[1:, 1] - logits[1:, 0])
        return float(falls[0]), float(falls[1:].mean())

    def _save(self, name: str, heatmap: Heatmap) -> None:
        with atomic_path(self._folder / name) as temporary, temporary.open("wb") as stream:
            np.save(stream, heatmap, allow_pickle=False)
