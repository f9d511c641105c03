"""DICOM radiographs as pixels: CR, DX and secondary capture, in every common encoding.

The chain is the one that a viewer follows: stored values, modality LUT (PS3.3 C.11.1), VOI LUT
or window (C.11.2), inversion of MONOCHROME1 (C.7.6.3.1.2). Everything is scaled by ranges that
the file declares, never by the values that happen to occur, so that a dark film stays dark.

Only the elements named here are parsed: names and identifiers of patients are never read.
"""

from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import (  # type: ignore[attr-defined]
    apply_color_lut,
    get_decoder,
    pixel_array,
)
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

from pneumoscope.data.apart import decode_apart
from pneumoscope.data.codestream import check_num_scans, codestream_size
from pneumoscope.data.decoding import check_num_pixels, room_for, several_frames
from pneumoscope.data.dicom_claims import (
    CLAIM_ELEMENTS,
    check_is_radiograph,
    objection_and_notes,
    registered_name,
)
from pneumoscope.data.dicom_display import render_grey
from pneumoscope.data.dicom_file import parse_dicom
from pneumoscope.data.grey import grey_of_rgb
from pneumoscope.data.radiograph import (
    COLOUR_WARNING,
    Pixels,
    Radiograph,
)
from pneumoscope.errors import RadiographError

_ELEMENTS = [
    *("SpecificCharacterSet", *CLAIM_ELEMENTS),
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *("RedPaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData"),
    *("GreenPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableData"),
    *("BluePaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableData"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelData"),
]


def decode_dicom(content: bytes) -> Radiograph:
    """Returns the film in the bytes of a DICOM file, with or without the Part 10 preamble.

    MONOCHROME1 and MONOCHROME2 come out the same way up, bone bright. Eight stored bits without
    a window stay as they are; everything else becomes 16 bits of the declared range.

    Call it through :func:`~pneumoscope.data.radiograph.read_radiograph`, which turns what the
    decoders raise on damaged bytes into one-line errors.

    Raises:
        RadiographError: no radiograph (CT, MR, reports ...), several frames, an encoding that
            cannot be decoded here, or sizes that do not agree.

    Source: DICOM PS3.3 C.7.6.3 (image pixel), C.11.1 (modality LUT), C.11.2 (VOI LUT).
    """
    with ExitStack() as room:
        dataset = parse_dicom(content, _ELEMENTS, room)
        notes = check_is_radiograph(dataset)
        objection, about_view = objection_and_notes(dataset)
        _check_layout(dataset)
        room.enter_context(room_for(dataset.Rows * dataset.Columns))
        stored = _stored_values(dataset)
        if stored.ndim == 3 or dataset.PhotometricInterpretation == "PALETTE COLOR":
            pixels, more = _render_colour(stored, dataset)
        else:
            pixels, more = render_grey(stored, dataset)
        bits = int(dataset.BitsStored)
    return Radiograph(pixels, "DICOM", bits, (*notes, *about_view, *more), objection)


def _check_layout(dataset: Dataset) -> None:
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise several_frames()
    check_num_pixels(_whole(dataset, "Rows"), _whole(dataset, "Columns"))
    bits, allocated = _whole(dataset, "BitsStored"), _whole(dataset, "BitsAllocated")
    if allocated not in (8, 16) or not 1 <= bits <= allocated:
        raise RadiographError(
            f"has {bits} bits stored in {allocated}, expected 1 to 16 stored in 8 or 16"
        )
    high_bit = _whole(dataset, "HighBit") if "HighBit" in dataset else bits - 1
    if high_bit != bits - 1:  # PS3.5 section 8.1.1
        raise RadiographError(
            f"declares high bit {high_bit} for {bits} bits stored, expected {bits - 1}; "
            "export it again"
        )


def _whole(dataset: Dataset, keyword: str) -> int:
    """Returns the value of an element of 16 bits; whatever else stands there is not quoted."""
    value = dataset[keyword].value
    if not isinstance(value, int) or not 0 <= value < 2**16:
        raise RadiographError(f"has a damaged {keyword} element; copy or export it again")
    return int(value)


def _stored_values(dataset: Dataset) -> NDArray[Any]:
    """Returns (H, W) or (H, W, 3) stored values, in native byte order.

    Unused bits are cleared, except in grey values, where padding may stand in them.
    """
    if "TransferSyntaxUID" not in dataset.file_meta:
        # Without a meta header the encoding is the one in which dcmread could parse the data set.
        implicit, _ = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        )
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        plugins = get_decoder(syntax).available_plugins if syntax.is_encapsulated else ("",)
    except (NotImplementedError, ValueError):
        plugins = ()
    if not plugins or (syntax == JPEGExtended12Bit and dataset.BitsStored != 8):
        name = registered_name(syntax)
        encoding = f"as {name[:64]!r}" if name else "in a way that is not in the standard"
        raise RadiographError(
            f"is encoded {encoding}, which cannot be decoded here; "
            "convert it to Explicit VR Little Endian (for example with gdcmconv --raw)"
        )
    if syntax.is_encapsulated and syntax != RLELossless:
        _check_codestream(dataset)
    # One decoder an encoding, so that a film has the same pixels everywhere; each refuses a
    # truncated stream. GDCM, which may end its process, is the last and has one of its own.
    first = "pyjpegls" if syntax in JPEGLSTransferSyntaxes else "pillow"
    plugin = next((name for name in (first, "pydicom", "pylibjpeg") if name in plugins), "")
    is_grey = str(dataset.PhotometricInterpretation).startswith("MONOCHROME")
    if not plugin and "gdcm" in plugins:
        return decode_apart(dataset, correct_unused_bits=not is_grey)
    try:
        values = pixel_array(
            dataset,
            index=0,
            decoding_plugin=plugin,
            correct_unused_bits=not is_grey,
            view_only=is_grey,
        )
    except RuntimeError as error:  # what pydicom makes of any failure of a plug-in
        raise RadiographError(
            f"has damaged or truncated image data ({syntax.name}); copy or export it again"
        ) from error
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _check_codestream(dataset: Dataset) -> None:
    # Decoders allocate what the code stream asks for, so it must agree with Rows and Columns.
    stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    check_num_scans(stream)
    declared = (int(dataset.Rows), int(dataset.Columns))
    if (size := codestream_size(stream)) is None:
        raise RadiographError("has image data without a readable header; copy or export it again")
    if size != declared:
        raise RadiographError(
            f"declares {declared[0]} x {declared[1]} pixels, but its image data are for "
            f"{size[0]} x {size[1]}; export it again"
        )


def _render_colour(stored: NDArray[Any], dataset: Dataset) -> tuple[Pixels, tuple[str, ...]]:
    bits = int(dataset.BitsStored)
    is_palette = dataset.PhotometricInterpretation == "PALETTE COLOR"

    def rgb_of(rows: slice) -> NDArray[np.uint8]:
        band = apply_color_lut(stored[rows], dataset) if is_palette else stored[rows]
        depth = 8 * band.dtype.itemsize if is_palette else bits
        top = 2**depth - 1
        scaled = np.rint(band * (255 / top)) if depth < 8 else band >> (depth - 8)
        return scaled.astype(np.uint8)[..., :3]

    pixels, is_colour = grey_of_rgb(rgb_of, *stored.shape[:2])
    return pixels, (COLOUR_WARNING,) if is_colour else ()
