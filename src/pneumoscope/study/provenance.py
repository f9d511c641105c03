"""Where a result comes from: the code, the versions, the machine."""

import hashlib
import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "kornia", "numpy", "scipy", "scikit-learn", "pillow", "safetensors")


def provenance() -> dict[str, Any]:
    """Returns code hash, package versions, hardware and time, as a manifest records them."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": code(),
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
        },
        "hardware": hardware(),
    }


@cache
def code() -> dict[str, str | None]:
    """Returns version, hash and commit of the code, as it lay on the disk when first asked.

    A process computes with the modules that it once imported, whatever becomes of the files.
    """
    return {"version": _version("pneumoscope"), "sha256": code_sha256(), "commit": _commit()}


def code_sha256() -> str:
    """Returns one hash over every Python file of the package, by path and content."""
    package = Path(str(files("pneumoscope")))
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def hardware() -> dict[str, Any]:
    """Returns the processor's name, the number of usable cores and the operating system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "num_cores": cores,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Returns the checkout's commit, or None for an installed package."""
    package = Path(str(files("pneumoscope")))
    try:
        answer = subprocess.run(
            ["git", "-C", str(package), "log", "-1", "--format=%H", "--", str(package)],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
