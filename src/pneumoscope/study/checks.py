"""The checks behind ``pneumoscope doctor``; each says what it found and what to do."""

import importlib.util
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from pneumoscope.bundle import open_bundle, shipped_bundles
from pneumoscope.data.scan import DEFAULT_DATA, scan_folder
from pneumoscope.errors import PneumoscopeError
from pneumoscope.files import make_folder
from pneumoscope.models.weights import WEIGHTS_DIRS

_MIN_FREE_BYTES = 2 * 2**30  # a full study with its checkpoints and caches takes about 1 GiB


@dataclass(frozen=True)
class Check:
    """One finding: ``missing`` is needed, ``note`` is worth knowing."""

    state: Literal["ok", "note", "missing"]
    what: str
    found: str
    advice: str = ""


def run_checks() -> list[Check]:
    """Returns every finding; none of the checks uses the network."""
    checks: tuple[Callable[[], Check], ...] = (
        _python,
        _device,
        _decoders,
        _films,
        _bundles,
        _weights,
        _cache,
        _disk,
        _kaggle,
        _tensorboard,
        _network,
    )
    return [_guarded(check) for check in checks]


def _guarded(check: Callable[[], Check]) -> Check:
    """Returns the finding of ``check``, also where a package it needs is not there."""
    try:
        return check()
    except ImportError as error:
        what = check.__name__.removeprefix("_")
        return Check("missing", what, str(error), "install pneumoscope again")


def _python() -> Check:
    return Check("ok", "Python, pneumoscope", f"{platform.python_version()}, {_version()}")


def _version() -> str:
    try:
        return version("pneumoscope")
    except PackageNotFoundError:
        return "not installed (run from a folder)"


def _device() -> Check:
    import torch

    from pneumoscope.training.device import choose_device

    return Check("ok", "torch", f"{torch.__version__}; {choose_device().reason}")


def _decoders() -> Check:
    needed = {"gdcm": "python-gdcm", "openjpeg": "pylibjpeg-openjpeg", "jpeg_ls": "pyjpegls"}
    absent = [pip for module, pip in needed.items() if importlib.util.find_spec(module) is None]
    if absent:
        return Check("missing", "DICOM decoders", f"no {', '.join(absent)}", "pip install them")
    return Check("ok", "DICOM decoders", ", ".join(needed.values()))


def _films() -> Check:
    if not DEFAULT_DATA.is_dir():
        return Check(
            "note",
            "films",
            f"none in {DEFAULT_DATA}; studies run on phantoms",
            "pneumoscope data fetch",
        )
    try:
        folder = scan_folder(DEFAULT_DATA)
    except PneumoscopeError as error:
        return Check("missing", "films", str(error), "pneumoscope data fetch")
    return Check("ok", "films", f"{len(folder.films):,} in {folder.root}")


def _bundles() -> Check:
    shipped = shipped_bundles()
    if not shipped:
        return Check(
            "missing", "bundles", "none shipped", "install the package again, or train one"
        )
    try:
        found = [open_bundle(path).model_id for path in shipped.values()]
    except PneumoscopeError as error:
        return Check("missing", "bundles", str(error), "install the package again")
    return Check("ok", "bundles", ", ".join(found))


def _weights() -> Check:
    found = [path.as_posix() for folder in WEIGHTS_DIRS for path in sorted(folder.glob("*.npz"))]
    if found:
        return Check("ok", "pretrained weights", ", ".join(found))
    return Check(
        "note",
        "pretrained weights",
        f"none in {' or '.join(folder.as_posix() for folder in WEIGHTS_DIRS)}",
        "to fine-tune: pneumoscope weights fetch ViT-Ti_16",
    )


def _cache() -> Check:
    from pneumoscope.data.cache import default_cache_dir

    folder = default_cache_dir()
    try:
        make_folder(folder)
    except PneumoscopeError as error:
        return Check("missing", "cache", str(error), "set PNEUMOSCOPE_CACHE to another folder")
    return Check("ok", "cache", str(folder))


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    found = f"{free / 2**30:.1f} GiB free here"
    if free < _MIN_FREE_BYTES:
        return Check("note", "disk", found, "a full study needs about 2 GiB")
    return Check("ok", "disk", found)


def _kaggle() -> Check:
    if importlib.util.find_spec("kagglehub") or shutil.which("kaggle"):
        return Check("ok", "Kaggle client", "installed")
    return Check(
        "note",
        "Kaggle client",
        "not installed; data fetch tries the authors' archive",
        "pip install 'pneumoscope[kaggle]'",
    )


def _tensorboard() -> Check:
    if importlib.util.find_spec("tensorboard"):
        return Check("ok", "TensorBoard", "installed")
    return Check("note", "TensorBoard", "not installed", "pip install 'pneumoscope[tensorboard]'")


def _network() -> Check:
    names = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    known = {n: os.environ.get(n) or os.environ.get(n.lower()) for n in names}
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        value = known[name]
        if value and not Path(value).exists():
            return Check(
                "missing", "network", f"{name} names {value}, which is not there", "fix it"
            )
    # Values may hold passwords, so only the names are shown.
    present = [name for name, value in known.items() if value]
    return Check("ok", "network", f"{', '.join(present)} set" if present else "no proxy set")
