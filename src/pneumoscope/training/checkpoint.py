"""The trainer's state on disk: enough to go on as if nothing had happened.

Apart from the bundle, and never needed to predict. Tensors and plain values only, so it is read
with ``weights_only=True``: no pickle is ever executed.
"""

import io
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pneumoscope.errors import RunFolderError
from pneumoscope.files import write_bytes


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes ``state`` (tensors, numbers, text, lists and dicts of them) atomically.

    Raises:
        StorageError: it cannot be written; the previous state stays as it was.
    """
    stream = io.BytesIO()
    torch.save(state, stream)
    write_bytes(path, stream.getvalue())


def load_state(path: Path, identity: dict[str, str]) -> dict[str, Any] | None:
    """Returns the state at ``path``, or None where there is none yet.

    Args:
        path: the state's file.
        identity: entries that the state must have, such as the hash of its recipe.

    Raises:
        RunFolderError: it is damaged, or belongs to another run.
    """
    if not path.is_file():
        return None
    try:
        state = _read(path)
    except Exception as error:  # damaged archives raise anything
        raise RunFolderError(
            f"{path} cannot be read as a training state; remove it to start again"
        ) from error
    differing = [key for key, value in identity.items() if state.get(key) != value]
    if differing:
        raise RunFolderError(
            f"{path} belongs to a run with another {' and '.join(differing)}; choose another run "
            "folder, or remove this one to start again"
        )
    return state


@contextmanager
def taking_up(path: Path) -> Iterator[None]:
    """Around what is done with a loaded state: another version's may lack parts or have others.

    Raises:
        RunFolderError: it does not fit the networks, the optimizer or the progress of this version.
    """
    try:
        yield
    except torch.OutOfMemoryError:  # a RuntimeError too, and no fault of the state
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunFolderError(
            f"{path} was written by another version, whose state has another form; go on with that "
            "version, or choose another run folder"
        ) from error


def _read(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:  # torch writes checksums but does not look at them
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(damaged)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about formats; what cannot be read raises
        return dict(torch.load(path, map_location="cpu", weights_only=True))
