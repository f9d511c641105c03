"""DICOM radiographs as pixels: CR, DX and secondary capture, in every common encoding.

The chain is the one that a viewer follows: stored values, modality LUT (PS3.3 C.11.1), VOI LUT
or window (C.11.2), inversion of MONOCHROME1 (C.7.6.3.1.2). Everything is scaled by ranges that
the file declares, never by the values that happen to occur, so that a dark film stays dark.

Only the elements named here are parsed: names and identifiers of patients are never read.
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import get_frame
from pydicom.pixels import (  # type: ignore[attr-defined]
    apply_color_lut,
    get_decoder,
    pixel_array,
)
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

from pneumoscope.data.decoding import (
    check_num_pixels,
    check_num_scans,
    room_for,
    several_frames,
)
from pneumoscope.data.dicom_display import render_grey
from pneumoscope.data.dicom_header import (
    inflated,
    modality_in_words,
    uid_in_words,
    view_objection,
)
from pneumoscope.data.radiograph import (
    COLOUR_WARNING,
    Pixels,
    Radiograph,
    has_colour,
    luma,
)
from pneumoscope.errors import RadiographError

_ELEMENTS = [
    *("SpecificCharacterSet", "SOPClassUID", "Modality", "PresentationIntentType"),
    *("BodyPartExamined", "ViewPosition", "ViewCodeSequence", "PatientOrientation"),
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

_RADIOGRAPHY = ("CR", "DX", "RG")
_UNSPECIFIC = ("", "OT", "SC")
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


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
    dataset = dcmread(io.BytesIO(inflated(content)), force=True, specific_tags=_ELEMENTS)
    notes = _check_is_radiograph(dataset)
    _check_layout(dataset)
    objection, note = view_objection(dataset)
    notes += (note,) if note else ()
    with room_for(int(dataset.Rows), int(dataset.Columns)):
        return _decoded(dataset, notes, objection)


def _decoded(dataset: Dataset, notes: tuple[str, ...], objection: str | None) -> Radiograph:
    stored = _stored_values(dataset)
    if stored.ndim == 3 or dataset.PhotometricInterpretation == "PALETTE COLOR":
        pixels, more = _render_colour(stored, dataset)
    else:
        pixels, more = render_grey(stored, dataset)
    bits = int(dataset.BitsStored)
    return Radiograph(pixels, "DICOM", bits, (*notes, *more), objection)


def _check_is_radiograph(dataset: Dataset) -> tuple[str, ...]:
    modality = str(dataset.get("Modality") or "").strip()
    sop_class = UID(dataset.get("SOPClassUID") or "")
    if modality not in (*_RADIOGRAPHY, *_UNSPECIFIC):
        raise RadiographError(
            f"is a DICOM object of {modality_in_words(modality)}, "
            "expected a radiograph (CR, DX or a secondary capture of one)"
        )
    if modality in _UNSPECIFIC and sop_class and not sop_class.startswith(_SECONDARY_CAPTURE):
        raise RadiographError(
            f"is a DICOM object of the class {uid_in_words(sop_class)}, "
            "expected a radiograph (CR, DX or a secondary capture of one)"
        )
    if "PixelData" not in dataset or "Rows" not in dataset:
        raise RadiographError(
            "is a DICOM object without an image, expected a radiograph; "
            "if it is one, the file is truncated: copy it again"
        )
    notes = []
    if modality in _UNSPECIFIC:
        notes.append("does not say that it is a radiograph (secondary capture)")
    if dataset.get("PresentationIntentType") == "FOR PROCESSING":
        notes.append("holds raw detector values (FOR PROCESSING), not a film as it is read")
    return tuple(notes)


def _check_layout(dataset: Dataset) -> None:
    num_frames = int(dataset.get("NumberOfFrames") or 1)
    if num_frames > 1:
        raise several_frames(num_frames)
    check_num_pixels(int(dataset.Rows), int(dataset.Columns))
    bits, allocated = int(dataset.BitsStored), int(dataset.BitsAllocated)
    if allocated not in (8, 16) or not 1 <= bits <= allocated:
        raise RadiographError(
            f"has {bits} bits stored in {allocated}, expected 1 to 16 stored in 8 or 16"
        )
    if int(dataset.get("HighBit", bits - 1)) != bits - 1:  # PS3.5 section 8.1.1
        raise RadiographError(
            f"declares high bit {dataset.HighBit} for {bits} bits stored, expected {bits - 1}; "
            "export it again"
        )


def _stored_values(dataset: Dataset) -> NDArray[Any]:
    """Returns (H, W) or (H, W, 3) stored values, in native byte order, unused bits cleared."""
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
        raise RadiographError(
            f"is encoded as {uid_in_words(syntax)}, which cannot be decoded here; "
            "convert it to Explicit VR Little Endian (for example with gdcmconv --raw)"
        )
    if syntax.is_encapsulated and syntax != RLELossless:
        _check_codestream_size(dataset)
    # One decoder an encoding, so that a film has the same pixels everywhere; each refuses a
    # truncated stream. GDCM, pydicom's first choice, writes to the screen about damaged ones.
    preferred = "pyjpegls" if syntax in JPEGLSTransferSyntaxes else "pillow"
    try:
        values = pixel_array(
            dataset, index=0, decoding_plugin=preferred if preferred in plugins else ""
        )
    except RuntimeError as error:  # what pydicom makes of any failure of a plug-in
        raise RadiographError(
            f"has damaged or truncated image data ({uid_in_words(syntax)}); copy or export it again"
        ) from error
    return values.astype(values.dtype.newbyteorder("="), copy=False)


_SOF_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
"""Start of frame in JPEG (ISO 10918-1 table B.1) and JPEG-LS (ISO 14495-1)."""


def _check_codestream_size(dataset: Dataset) -> None:
    # Decoders allocate what the code stream asks for, so it must agree with Rows and Columns.
    stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    declared = (int(dataset.Rows), int(dataset.Columns))
    if (size := codestream_size(stream)) is None:
        raise RadiographError("has image data without a readable header; copy or export it again")
    check_num_scans(stream)
    if size != declared:
        raise RadiographError(
            f"declares {declared[0]} x {declared[1]} pixels, but its image data are for "
            f"{size[0]} x {size[1]}; export it again"
        )


def codestream_size(stream: bytes) -> tuple[int, int] | None:
    """Returns (height, width) from the header of a JPEG, JPEG-LS or JPEG 2000 stream.

    ``None`` where there is no such header.

    Source: ISO 10918-1 B.2.2 (frame header), ISO 15444-1 A.5.1 (SIZ).
    """
    if (siz := stream.find(b"\xff\x4f\xff\x51", 0, 512)) >= 0:
        right, bottom, left, top = (
            int.from_bytes(stream[at : at + 4], "big") for at in range(siz + 8, siz + 24, 4)
        )
        return bottom - top, right - left
    if not stream.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 <= len(stream) and stream[at] == 0xFF:
        if stream[at + 1] == 0xFF:  # a fill byte
            at += 1
        elif stream[at + 1] in _SOF_MARKERS:
            height, width = stream[at + 5 : at + 7], stream[at + 7 : at + 9]
            return int.from_bytes(height, "big"), int.from_bytes(width, "big")
        else:
            at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None


def _render_colour(stored: NDArray[Any], dataset: Dataset) -> tuple[Pixels, tuple[str, ...]]:
    bits = int(dataset.BitsStored)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
        bits = 8 * stored.dtype.itemsize
    if bits < 8:
        stored = stored.astype(np.uint16) * 255 // (2**bits - 1)
    rgb = (stored >> max(bits - 8, 0)).astype(np.uint8)[..., :3]
    return luma(rgb), (COLOUR_WARNING,) if has_colour(rgb) else ()
