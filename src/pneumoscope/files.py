"""Writing files so that nobody ever sees half of one, and hashing them."""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pneumoscope.errors import StorageError


def storage_error(path: Path, error: OSError) -> StorageError:
    """Returns the one-line :class:`StorageError` for a failed write to ``path``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "no space is left there; free some or choose another folder"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        advice = "it is not writable for this user; choose another folder"
    else:
        advice = "choose another folder"
    return StorageError(f"cannot write {path}: {error.strerror or error}; {advice}")


def make_folder(path: Path) -> Path:
    """Returns ``path``, made with its parents where it is missing.

    Raises:
        StorageError: it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        # Asking the file system beats reading mode bits: root and network mounts ignore them.
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise storage_error(path, error) from error
    return path


def check_target(path: Path) -> None:
    """Refuses a file that could not be written later, before the work for it is done.

    Raises:
        StorageError: it is a folder, a device or a pipe, or nothing can be written there.
    """
    _check_kind(path)
    make_folder(_target(path).parent)


def _check_kind(path: Path) -> None:
    try:
        if not path.name or path.is_dir():
            raise StorageError(f"cannot write {path}: it is a folder; name a file")
        if path.exists() and not path.is_file():
            raise StorageError(f"cannot write {path}: it is a device or a pipe; name a file")
    except OSError as error:
        raise storage_error(path, error) from error


def _target(path: Path) -> Path:
    """Returns the file that is meant: a link stays, and what it points to is written."""
    return path.resolve() if path.is_symlink() else path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` that takes its place when the block ends well.

    The content reaches the disk before the name does, so after a crash ``path`` holds either
    what it held before or all of the new content. On any failure the temporary is removed.

    Raises:
        StorageError: the file cannot be written (no space, no permission, no file).
    """
    _check_kind(path)
    path = _target(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        with suppress(OSError):  # it may not exist, nor even its folder
            temporary.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """Writes ``content`` to ``path`` atomically (see :func:`atomic_path`)."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Writes ``text`` to ``path`` atomically, as UTF-8 with ``\\n`` line ends.

    What is not text (bytes of a file name that is not UTF-8) is written as an escape.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` to ``path`` atomically as indented JSON; NaN is refused by ``json``."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, in lower-case hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
