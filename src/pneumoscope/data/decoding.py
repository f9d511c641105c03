"""Keeping third-party decoders in check: their exceptions and their warnings.

On damaged bytes decoders raise anything and warn of everything, in words that may quote the
file. Inside :func:`decoding` both stay within the project's own terms.
"""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from PIL import Image, UnidentifiedImageError

from pneumoscope.errors import RadiographError

MAX_FILE_BYTES = 256 * 2**20
"""Largest file that is opened, 256 MiB: 40 megapixels of uncompressed 16-bit RGB fit."""

MAX_PIXELS = 2**26
"""Most pixels that are decoded, 67 million: a 35 x 43 cm film digitised at 50 um has 60 million.

Checked against the header before any pixel is decoded, so that a few kilobytes that unpack to
gigabytes cost nothing.
"""

_NOTEWORTHY = (
    ("truncated file read", "has metadata that are cut short"),
    ("corrupt exif", "has damaged EXIF data; its orientation may be wrong"),
    ("bytes of excess padding", "has more bytes of pixel data than pixels"),
    ("indicates it should be", "declares a colour space that its image data contradict"),
)
"""Parts of decoders' warnings that say something about the pixels, and how we put it."""


@contextmanager
def decoding(kind: str) -> Iterator[list[str]]:
    """Yields the list in which noteworthy warnings stand when the block has ended.

    Safe in several threads at once.

    Raises:
        RadiographError: whatever else the block raises becomes one; one line.
    """
    notes: list[str] = []
    with _warnings_kept() as caught:
        try:
            yield notes
        except RadiographError:
            raise
        except Image.DecompressionBombError:
            raise too_many_pixels() from None
        except UnidentifiedImageError as error:
            raise RadiographError(
                f"is a {kind} file that is damaged or of a kind that is not read here; copy it "
                "again, or save it as 8- or 16-bit grey PNG"
            ) from error
        except Exception as error:
            reason = one_line(str(error).partition("\n")[0][:120])
            if kind == "DICOM" or not reason:  # its readers quote values, which may be names
                reason = type(error).__name__
            raise RadiographError(
                f"is a damaged or truncated {kind} file ({reason}); copy or export it again"
            ) from error
    notes += (ours for theirs, ours in _NOTEWORTHY if any(theirs in text for text in caught))


def one_line(text: str) -> str:
    r"""Returns the text with control characters and line ends as escapes.

    >>> print(one_line("a\nb.png"))
    a\nb.png
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def check_num_pixels(height_px: int, width_px: int) -> None:
    """Refuses sizes that no film has, before anything is decoded.

    Raises:
        RadiographError: no pixels, or more than :data:`MAX_PIXELS`.
    """
    if height_px < 1 or width_px < 1:
        raise RadiographError(f"declares {height_px} x {width_px} pixels, expected a film")
    if height_px * width_px > MAX_PIXELS:
        raise too_many_pixels()


def too_many_pixels() -> RadiographError:
    """Returns the error for an image larger than any film."""
    return RadiographError(f"has more than the {MAX_PIXELS:,} pixels a film may have; is it one?")


def several_frames(num_frames: int | None = None) -> RadiographError:
    """Returns the error for a file of several frames or pages, ``None`` where nobody counted."""
    number = num_frames or "several"
    return RadiographError(
        f"holds {number} frames or pages, expected one; save the film as a file of its own"
    )


_MANY_PIXELS = 2**23
_one_large_film = threading.Lock()


@contextmanager
def room_for(height_px: int, width_px: int) -> Iterator[None]:
    """Lets large films through one at a time: what they need while they are decoded adds up."""
    if height_px * width_px <= _MANY_PIXELS:
        yield
        return
    with _one_large_film:
        yield


_MAX_SCANS = 100
"""Most scans of a JPEG stream; progressive films have about ten, and each costs a decoding."""


def check_num_scans(stream: bytes) -> None:
    """Refuses JPEG streams that a decoder would go over again and again.

    A marker cannot occur in the compressed data themselves (ISO 10918-1 B.1.1.5).

    Raises:
        RadiographError: more than a hundred scans.
    """
    num_scans = stream.count(b"\xff\xda") if stream.startswith(b"\xff\xd8") else 0
    if num_scans > _MAX_SCANS:
        raise RadiographError(
            f"is a JPEG image of {num_scans:,} scans, expected at most {_MAX_SCANS}; is it a film?"
        )


# Python's warning filters belong to the process. So the first thread to decode redirects them
# and the last one puts them back; in between, each decoding thread keeps its own warnings, and
# those of all other threads are shown as before.
_lock = threading.Lock()
_num_decoding = 0
_before = warnings.catch_warnings()
_show_before: Any = warnings.showwarning
_kept = threading.local()


@contextmanager
def _warnings_kept() -> Iterator[list[str]]:
    global _num_decoding, _before, _show_before
    with _lock:
        if _num_decoding == 0:
            _before, _show_before = warnings.catch_warnings(), warnings.showwarning
            _before.__enter__()
            warnings.simplefilter("always")
            warnings.showwarning = _keep_warning
        _num_decoding += 1
    caught: list[str] = []
    _kept.texts = caught
    try:
        yield caught
    finally:
        del _kept.texts
        with _lock:
            _num_decoding -= 1
            if _num_decoding == 0:
                _before.__exit__(None, None, None)


def _keep_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if hasattr(_kept, "texts"):
        _kept.texts.append(str(message).lower())
    else:
        _show_before(message, category, filename, lineno, file, line)
