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

MAX_PIXELS = 2**26
"""Most pixels that are decoded, 67 million: a 35 x 43 cm film digitised at 50 um has 60 million.

Checked against the header before any pixel is decoded, so that a few kilobytes that unpack to
gigabytes cost nothing.
"""

MAX_SIDE_PX = 2**16 - 1
"""Longest side, what JPEG and DICOM can declare; resampling costs memory for every row."""

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
        except Exception as error:
            # What is raised about DICOM quotes values, and a damaged tag may stand before a name.
            words = "" if kind == "DICOM" else str(error)
            reason = one_line(words.partition("\n")[0][:120]) or type(error).__name__
            if isinstance(error, UnidentifiedImageError):
                reason = "its header makes no sense"
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
        RadiographError: no pixels, more than :data:`MAX_PIXELS`, or a side that is longer than
            :data:`MAX_SIDE_PX`.
    """
    if height_px < 1 or width_px < 1:
        raise RadiographError(f"declares {height_px} x {width_px} pixels, expected a film")
    if height_px * width_px > MAX_PIXELS:
        raise too_many_pixels()
    if max(height_px, width_px) > MAX_SIDE_PX:
        raise RadiographError(
            f"has a side of more than the {MAX_SIDE_PX:,} pixels a film may have; is it one?"
        )


_room = threading.Condition()
_num_pixels_taken = 0
_holding = threading.local()


@contextmanager
def room_for(num_pixels: int) -> Iterator[None]:
    """Waits until films being decoded in all threads have at most :data:`MAX_PIXELS` together.

    So memory depends on the largest film, not on the number of threads. Inside the block, a
    second one of the same thread has its room already.
    """
    global _num_pixels_taken
    if getattr(_holding, "room", False):
        yield
        return
    num_pixels = min(num_pixels, MAX_PIXELS)
    with _room:
        _room.wait_for(lambda: _num_pixels_taken + num_pixels <= MAX_PIXELS)
        _num_pixels_taken += num_pixels
    _holding.room = True
    try:
        yield
    finally:
        _holding.room = False
        with _room:
            _num_pixels_taken -= num_pixels
            _room.notify_all()


def too_many_pixels() -> RadiographError:
    """Returns the error for an image larger than any film."""
    return RadiographError(f"has more than the {MAX_PIXELS:,} pixels a film may have; is it one?")


def several_frames() -> RadiographError:
    """Returns the error for a file of several frames or pages."""
    return RadiographError(
        "holds several frames or pages, expected one; save the film as a file of its own"
    )


def unusual_samples(kind: str) -> RadiographError:
    """Returns the error for samples of a kind that is not read."""
    return RadiographError(
        f"has samples of an unusual kind ({kind}), expected grey of 1 to 16 bits, or colour; "
        "export it as 8- or 16-bit grey"
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
