"""DICOM's greyscale chain: from stored values to what a viewer would show.

Source: DICOM PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT), C.7.6.3.1.2 (photometric
interpretation), C.7.5.1.1.2 (pixel padding).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import apply_rescale, apply_windowing  # type: ignore[attr-defined]
from pydicom.uid import ExplicitVRBigEndian

from pneumoscope.data.grey import looked_up, row_bands
from pneumoscope.data.radiograph import Pixels
from pneumoscope.errors import RadiographError

_COLOURS = (  # PS3.3 C.7.6.3.1.2; nothing else is quoted, it might be a name
    *("PALETTE COLOR", "RGB", "HSV", "ARGB", "CMYK", "YBR_FULL", "YBR_FULL_422"),
    *("YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT", "XYB"),
)


@dataclass
class _Values:
    """Grey values and the range that they may take."""

    array: NDArray[Any]
    low: float
    high: float

    def stretched(self, top: int) -> NDArray[Any]:
        """The array with ``low`` at 0 and ``high`` at ``top``, clipped and rounded."""
        scaled = (self.array - self.low) * (top / (self.high - self.low))
        return np.rint(np.clip(scaled, 0, top))


def render_grey(stored: NDArray[Any], dataset: Dataset) -> tuple[Pixels, tuple[str, ...]]:
    """Returns pixels (H, W), 0 black, and warnings, for stored grey values (H, W).

    Modality LUT, then VOI LUT or window, then the inversion of MONOCHROME1; padding is black.
    Values of at most 8 bits that nothing transforms stay 8 bits; all others become 16.

    Raises:
        RadiographError: the photometric interpretation is none of grey.
    """
    photometric = str(dataset.PhotometricInterpretation)
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        called = f"called {photometric!r}" if photometric in _COLOURS else "not called grey"
        raise RadiographError(
            f"has one grey channel but is {called}, expected MONOCHROME1 or MONOCHROME2"
        )
    bits = int(dataset.BitsStored)
    signed = stored.dtype.kind == "i"
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    # A pixel depends on its stored value alone, so the chain runs once for each of them.
    patterns = stored.view(f"u{stored.dtype.itemsize}")
    every = np.arange(2 ** (8 * stored.dtype.itemsize)).astype(patterns.dtype).view(stored.dtype)
    unused_bits = 8 * stored.dtype.itemsize - bits
    values = _Values(((every << unused_bits) >> unused_bits).astype(np.int32), low, high)
    occurs = np.zeros(every.size, np.bool_)
    for rows in row_bands(*patterns.shape):
        occurs[patterns[rows]] = True
    shown, notes = _apply_voi(_apply_modality(values, dataset), dataset, bits, occurs)
    levels: Pixels
    if bits <= 8 and shown is values:
        levels = shown.stretched(255).astype(np.uint8)
    else:
        levels = shown.stretched(65535).astype(np.uint16)
    if photometric == "MONOCHROME1":  # PS3.3 C.7.6.3.1.2: the lowest value is white, after VOI
        levels = np.iinfo(levels.dtype).max - levels
    levels[_is_padding(every, values.array, dataset)] = 0
    return looked_up(levels, patterns), notes


def _is_padding(
    every: NDArray[Any], values: NDArray[np.int32], dataset: Dataset
) -> NDArray[np.bool_]:
    # PS3.3 C.7.5.1.1.2: padding is no part of the film, whatever its value would look like. It
    # may use bits that pixels do not, so both the bare and the cleared values are compared.
    if (value := dataset.get("PixelPaddingValue")) is None:
        return np.zeros(values.shape, np.bool_)
    limit = dataset.get("PixelPaddingRangeLimit")
    first, last = sorted(
        _as_stored(int(v), every.dtype) for v in (value, value if limit is None else limit)
    )
    bare = every.astype(np.int32)
    return ((values >= first) & (values <= last)) | ((bare >= first) & (bare <= last))


def _as_stored(value: int, dtype: np.dtype[Any]) -> int:
    # Some writers give a negative value as unsigned, or the reverse.
    span = 2 ** (8 * dtype.itemsize)
    info = np.iinfo(dtype)
    other = value - span if value > info.max else value + span if value < info.min else value
    return other if info.min <= other <= info.max else value


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


def _apply_voi(
    values: _Values, dataset: Dataset, bits: int, occurs: NDArray[np.bool_]
) -> tuple[_Values, tuple[str, ...]]:
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
        shown = _Values(apply_windowing(values.array, view), 0, 65535)
    if np.ptp(shown.array[occurs]) == 0 < np.ptp(values.array[occurs]):
        return values, ("declares a display window that shows nothing; its full range was used",)
    return shown, ()


def _look_up(values: _Values, item: Dataset, dataset: Dataset) -> _Values:
    # PS3.3 C.11.1.1.1 and C.11.2.1.1. Not pydicom's apply_voi: it indexes in the type of the
    # table's entries, so 12-bit values wrap around in an 8-bit table.
    num_entries, first, depth = (int(v) for v in item.LUTDescriptor)
    if not 8 <= depth <= 16:
        raise RadiographError(f"has a lookup table of {depth} bits, expected 8 to 16")
    num_entries = num_entries or 2**16
    # The first value mapped has the sign of what is mapped, not of what is stored.
    for shift in (0, -(2**16), 2**16):
        if first + shift <= values.high and first + shift + num_entries > values.low:
            first += shift
            break
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
