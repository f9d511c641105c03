"""The bundle: a folder with everything needed to predict, to judge, and to trace a result.

::

    model.safetensors     weights
    config.json           network, preprocessing, labels
    operating_point.json  the frozen threshold: its value, rule and realised recall
    metrics.json          results at 0.5 and at the threshold, on validation and test
    predictions.csv       every validation and test score behind those results
    history.csv           the training curves
    MODEL_CARD.md         for people
    DATA_CARD.md          for people: the films
    training_films.csv    names and hashes of the films it was trained on
    int8.json             how far 8-bit arithmetic moves the scores of validation films
    manifest.json         hashes of all the above, of data, split and code; seeds, versions, time

Bundles of older versions lack the last three; so do those whose weights come from elsewhere, as
to the training films, and networks that are not run in 8 bits, as to ``int8.json``.

Reading a bundle needs no torch. Its hashes are checked every time: a changed byte is refused.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from pneumoscope.errors import BundleError
from pneumoscope.files import make_folder, sha256_of, write_json

FORMAT_VERSION = 1
"""Changes when a bundle's files change in a way that readers must know."""

CONTENT = (
    "model.safetensors",
    "config.json",
    "operating_point.json",
    "metrics.json",
    "predictions.csv",
    "history.csv",
    "MODEL_CARD.md",
)
"""The files that ``manifest.json`` vouches for."""

OPTIONAL_CONTENT = ("DATA_CARD.md", "training_films.csv", "int8.json")
"""Files that it vouches for where they are there."""

_STUDY_ORDER = ("cnn", "scratch", "pretrained_ti16")

DEFAULT_BUNDLE = "cnn"
"""The shipped bundle that screening uses when none is named."""


@dataclass(frozen=True)
class Bundle:
    """A bundle whose hashes were found right."""

    path: Path
    manifest: dict[str, Any]

    @cached_property
    def config(self) -> dict[str, Any]:
        """Network, preprocessing and labels."""
        return _read_json(self.path / "config.json")

    @cached_property
    def operating_point(self) -> dict[str, Any]:
        """Threshold, target, rule, and what it reached on validation."""
        return _read_json(self.path / "operating_point.json")

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Results on validation and test."""
        return _read_json(self.path / "metrics.json")

    @property
    def name(self) -> str:
        """The recipe's name."""
        return str(self.manifest["name"])

    @property
    def model_id(self) -> str:
        """Names exactly these weights: recipe, seed (if known) and the start of their hash."""
        digest = self.manifest["files"]["model.safetensors"][:12]
        seed = self.manifest["seed"]
        return f"{self.name}-{digest}" if seed is None else f"{self.name}-s{seed}-{digest}"

    @property
    def threshold(self) -> float:
        """The frozen threshold: ``p_pneumonia >= threshold`` is a positive."""
        return float(self.operating_point["threshold"])


def open_bundle(path: str | Path) -> Bundle:
    """Returns the bundle in a folder, or the shipped one of that name.

    Raises:
        BundleError: no bundle is there, a file is missing or changed, or the format is newer.
    """
    folder = Path(path)
    if not folder.is_dir():
        shipped = shipped_bundles()
        if str(path) not in shipped:
            known = f"shipped: {', '.join(shipped)}" if shipped else "none is shipped"
            raise BundleError(f"no bundle {path}: not a folder, and not a shipped name; {known}")
        folder = shipped[str(path)]
    if not (folder / "manifest.json").is_file() and (folder / "bundle").is_dir():
        folder = folder / "bundle"  # a run folder was named
    if not (folder / "manifest.json").is_file():
        raise BundleError(f"{folder} is not a bundle: it has no manifest.json")
    manifest = _read_json(folder / "manifest.json")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise BundleError(
            f"{folder} has bundle format {manifest.get('format_version')}; this version reads "
            f"{FORMAT_VERSION}; use the version of pneumoscope that wrote it, or train again"
        )
    if manifest.get("sha256") != _manifest_sha256(manifest):
        raise BundleError(
            f"{folder / 'manifest.json'} was changed after the bundle was written; copy the whole "
            "bundle again"
        )
    hashes = manifest["files"]
    for name in CONTENT:
        _check_hash(folder / name, hashes.get(name))
    for name in OPTIONAL_CONTENT:
        if (folder / name).exists() or name in hashes:
            _check_hash(folder / name, hashes.get(name))
    return Bundle(folder, manifest)


def seal_bundle(folder: Path, manifest: Mapping[str, Any]) -> Bundle:
    """Returns the bundle in ``folder`` after writing its manifest, which makes it one.

    The manifest comes last, so a folder without it is never taken for a bundle.

    Args:
        folder: holds every file of :data:`CONTENT`.
        manifest: what to record besides the hashes of the files.

    Raises:
        BundleError: a file is missing.
        StorageError: the manifest cannot be written.
    """
    missing = [name for name in CONTENT if not (folder / name).is_file()]
    if missing:
        raise BundleError(f"{folder} lacks {', '.join(missing)}; write them before sealing")
    make_folder(folder)
    optional = [name for name in OPTIONAL_CONTENT if (folder / name).is_file()]
    hashes = {name: sha256_of(folder / name) for name in (*CONTENT, *optional)}
    sealed: dict[str, Any] = {"format_version": FORMAT_VERSION, **manifest, "files": hashes}
    sealed["sha256"] = _manifest_sha256(sealed)
    write_json(folder / "manifest.json", sealed)
    return Bundle(folder, sealed)


def _check_hash(path: Path, sha256: str | None) -> None:
    """Raises BundleError where a file is not there or not what the manifest vouches for."""
    if not path.is_file():
        raise BundleError(f"{path.parent} lacks {path.name}; copy the whole bundle again")
    if sha256_of(path) != sha256:
        raise BundleError(
            f"{path} was changed after the bundle was written (its SHA-256 is not the manifest's); "
            "copy the whole bundle again"
        )


def _manifest_sha256(manifest: Mapping[str, Any]) -> str:
    """Returns the hash of everything in a manifest but its own hash, whatever its layout."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def shipped_bundles() -> dict[str, Path]:
    """Returns the bundles that come with the package, by name, in the order of the study."""
    folder = Path(str(files("pneumoscope"))) / "bundles"
    if not folder.is_dir():
        return {}
    names = sorted(path.parent.name for path in folder.glob("*/manifest.json"))
    in_study = [name for name in _STUDY_ORDER if name in names]
    others = [name for name in names if name not in _STUDY_ORDER]
    return {name: folder / name for name in (*in_study, *others)}


def default_bundle() -> Bundle:
    """Returns the shipped bundle that screening uses when none is named.

    Raises:
        BundleError: it is missing or was changed.
    """
    # By path, since a folder of that name may lie in the current one.
    shipped = shipped_bundles()
    if DEFAULT_BUNDLE not in shipped:
        raise BundleError("no bundle is shipped with this copy; name one with --bundle")
    return open_bundle(shipped[DEFAULT_BUNDLE])


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise BundleError(f"{path} holds no JSON object; copy the whole bundle again")
    return value
