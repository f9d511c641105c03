"""DICOM's greyscale chain: from stored values to what a viewer would show.

Source: DICOM PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT), C.7.6.3.1.2 (photometric
interpretation), C.7.5.1.1.2 (pixel padding).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import apply_rescale, apply_windowing  # type: ignore[attr-defined]
from pydicom.uid import ExplicitVRBigEndian

from pneumoscope.data.radiograph import Pixels
from pneumoscope.errors import RadiographError

_ROWS = 256


@dataclass
class _Values:
    """Grey values and the range that they may take."""

    array: NDArray[Any]
    low: float
    high: float

    def stretched(self, kind: type[np.uint8] | type[np.uint16]) -> Any:
        """The array with ``low`` at 0 and ``high`` at the type's largest value, rounded."""
        top = np.iinfo(kind).max

        def scaled(rows: NDArray[Any]) -> NDArray[Any]:
            return np.clip((rows - self.low) * (top / (self.high - self.low)), 0, top)

        return _by_rows(self.array, scaled, kind)


def _by_rows(
    array: NDArray[Any],
    function: Callable[[NDArray[Any]], NDArray[Any]],
    kind: type[np.uint8] | type[np.uint16] = np.uint16,
) -> Any:
    """Returns what ``function`` gives for each value, rounded.

    A few rows at a time: in float64 a large film would need half a gigabyte, several times.
    """
    rounded = np.empty(array.shape, kind)
    for start in range(0, len(array), _ROWS):
        rows = slice(start, start + _ROWS)
        rounded[rows] = np.rint(function(array[rows]))
    return rounded


def render_grey(stored: NDArray[Any], dataset: Dataset) -> tuple[Pixels, tuple[str, ...]]:
    """Returns pixels (H, W), 0 black, and warnings, for stored grey values (H, W).

    Modality LUT, then VOI LUT or window, then the inversion of MONOCHROME1; padding is black.
    Values of at most 8 bits that nothing transforms stay 8 bits; all others become 16.

    Raises:
        RadiographError: the photometric interpretation is none of grey.
    """
    photometric = str(dataset.PhotometricInterpretation)
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise RadiographError(
            f"has one grey channel but is called {photometric[:16]!r}, "
            "expected MONOCHROME1 or MONOCHROME2"
        )
    bits = int(dataset.BitsStored)
    signed = stored.dtype.kind == "i"
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    values = _Values(stored.astype(np.int32), low, high)
    shown, notes = _apply_voi(_apply_modality(values, dataset), dataset, bits)
    pixels = shown.stretched(np.uint8 if bits <= 8 and shown is values else np.uint16)
    if photometric == "MONOCHROME1":  # PS3.3 C.7.6.3.1.2: the lowest value is white, after VOI
        pixels = np.iinfo(pixels.dtype).max - pixels
    pixels[_is_padding(values, dataset)] = 0
    return pixels, notes


def _is_padding(stored: _Values, dataset: Dataset) -> NDArray[np.bool_]:
    # PS3.3 C.7.5.1.1.2: padding is no part of the film, whatever its value would look like.
    if (value := dataset.get("PixelPaddingValue")) is None:
        return np.zeros(stored.array.shape, np.bool_)
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = [int(value), int(value if limit is None else limit)]
    # Some machines fill all allocated bits, of which those that are not stored were cleared.
    num_values = int(stored.high - stored.low) + 1
    first, last = sorted(int((end - stored.low) % num_values + stored.low) for end in ends)
    return (stored.array >= first) & (stored.array <= last)


def _apply_modality(values: _Values, dataset: Dataset) -> _Values:
    # PS3.3 C.11.1.1: a table or a line, never both.
    if sequence := dataset.get("ModalityLUTSequence"):
        return _look_up(values, sequence[0], dataset)
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope is None or intercept is None or not _finite(slope, intercept) or slope == 0:
        return values
    if (slope, intercept) == (1, 0):
        return values
    ends = [end * float(slope) + float(intercept) for end in (values.low, values.high)]
    return _Values(apply_rescale(values.array, dataset), min(ends), max(ends))


def _apply_voi(values: _Values, dataset: Dataset, bits: int) -> tuple[_Values, tuple[str, ...]]:
    # PS3.3 C.11.2.1: several tables or windows are alternatives; the first is shown.
    centre, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    if sequence := dataset.get("VOILUTSequence"):
        shown = _look_up(values, sequence[0], dataset)
    elif centre is None or width is None:
        if bits <= 8:
            return values, ()
        return values, (f"declares no display window; its full range of {bits} bits was used",)
    elif (
        not _finite(centre, width)
        or width < (1 if function == "LINEAR" else 1e-6)
        or function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID")
    ):
        return values, ("declares a display window that means nothing; its full range was used",)
    else:
        # A view of its own, so that the window's output range is known to be 0 to 65535.
        view = Dataset()
        view.PhotometricInterpretation = "MONOCHROME2"
        view.BitsStored, view.PixelRepresentation = 16, 0
        view.WindowCenter, view.WindowWidth, view.VOILUTFunction = centre, width, function
        shown = _Values(_by_rows(values.array, lambda rows: apply_windowing(rows, view)), 0, 65535)
    if np.ptp(shown.array) == 0 < np.ptp(values.array):
        return values, ("declares a display window that shows nothing; its full range was used",)
    return shown, ()


def _look_up(values: _Values, item: Dataset, dataset: Dataset) -> _Values:
    # PS3.3 C.11.1.1.1 and C.11.2.1.1. Not pydicom's apply_voi: it indexes in the type of the
    # table's entries, so 12-bit values wrap around in an 8-bit table.
    num_entries, first, depth = (int(v) for v in item.LUTDescriptor)
    if not 8 <= depth <= 16:
        raise RadiographError(f"has a lookup table of {depth} bits, expected 8 to 16")
    num_entries = num_entries or 2**16
    # It has the sign of what is looked up (C.11.2.1.1), and is read with that of stored values.
    if first >= 2**15 and first > values.high and values.low < 0:
        first -= 2**16
    data = item.LUTData
    if isinstance(data, bytes):
        order = ">" if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<"
        data = np.frombuffer(data, f"{order}u2" if len(data) >= 2 * num_entries else "u1")
    table = np.atleast_1d(np.asarray(data))[:num_entries].astype(np.int32)
    index = np.clip(np.rint(values.array).astype(np.int64) - first, 0, len(table) - 1)
    return _Values(table[index], 0, 2**depth - 1)


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    # A value of multiplicity one is a number, of several a sequence.
    number = value if isinstance(value, int | float) else next(iter(value), None)
    return None if number is None else float(number)


def _finite(*numbers: float) -> bool:
    return all(math.isfinite(number) for number in numbers)
