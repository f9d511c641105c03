"""What a DICOM header says before its pixels are touched, in words that quote no patient.

An element may hold anything, a name among it, whatever its tag says. So a value is repeated only
where it is one of the terms that the standard defines.
"""

import io
import zlib

from pydicom import Dataset
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from pneumoscope.data.decoding import MAX_FILE_BYTES
from pneumoscope.errors import RadiographError

_CHUNK_BYTES = 2**20

_EXPLICIT_HEADER = bytes(128) + b"DICM" + b"\x02\x00\x10\x00UI\x14\x00" + b"1.2.840.10008.1.2.1\0"
"""A file meta header (PS3.10 section 7.1) that says Explicit VR Little Endian."""


def inflated(content: bytes) -> bytes:
    """Returns a deflated file unpacked; any other as it is.

    pydicom would inflate without a limit, so a megabyte could become gigabytes there.

    Raises:
        RadiographError: it unpacks to more than a file may have, or its header hides whether it
            is deflated.

    Source: DICOM PS3.5 A.5.
    """
    if DeflatedExplicitVRLittleEndian.encode() not in content:
        return content
    stream = io.BytesIO(content)
    read_preamble(stream, force=True)
    meta = read_dataset(
        stream,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, vr, length: tag.group != 2,
    )
    syntax = meta.get("TransferSyntaxUID")
    if not syntax:
        raise RadiographError("has a header that cannot be read; export it again")
    if syntax != DeflatedExplicitVRLittleEndian:
        return content
    body = _inflated(content[stream.tell() :])
    if body.startswith(b"\x02\x00"):  # which would be read as one more header
        raise RadiographError("has a header that cannot be read; export it again")
    return _EXPLICIT_HEADER + body


def _inflated(packed: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    pieces, size = [], 0
    while packed and not inflater.eof:
        pieces.append(inflater.decompress(packed, _CHUNK_BYTES))
        packed = inflater.unconsumed_tail
        size += len(pieces[-1])
        if size > MAX_FILE_BYTES:
            raise RadiographError(
                f"unpacks to more than the {MAX_FILE_BYTES:,} bytes a film may have; is it a film?"
            )
    return b"".join(pieces)


_MODALITIES = (
    *("AR", "AS", "BI", "CF", "CT", "DG", "DOC", "ECG", "EPS", "ES", "FID", "GM", "HC"),
    *("HD", "IO", "IVOCT", "IVUS", "KER", "KO", "LS", "MG", "MR", "NM", "OAM", "OCT"),
    *("OP", "OPM", "OPT", "OPV", "OSS", "PLAN", "PR", "PT", "PX", "REG", "RESP", "RF"),
    *("RTDOSE", "RTIMAGE", "RTPLAN", "RTRECORD", "RTSTRUCT", "RWV", "SEG", "SM", "SMR"),
    *("SR", "SRF", "STAIN", "TG", "US", "VA", "XA", "XC"),
)
"""PS3.3 C.7.3.1.1.1, without those that are read."""


def modality_in_words(modality: str) -> str:
    """Returns what to call a modality.

    >>> modality_in_words("MR"), modality_in_words("DOE^JOHN")
    ("modality 'MR'", 'a modality that the standard does not define')
    """
    if modality in _MODALITIES:
        return f"modality {modality!r}"
    return "a modality that the standard does not define"


def uid_in_words(uid: UID) -> str:
    """Returns the name of a UID that the standard defines.

    >>> uid_in_words(UID("1.2.840.10008.1.2.5")), uid_in_words(UID("DOE^JOHN"))
    ("'RLE Lossless'", 'something that the standard does not define')
    """
    if uid.name == uid:  # pydicom has no name for it
        return "something that the standard does not define"
    return repr(uid.name[:64])


_CHEST = (
    *("CHEST", "THORA", "LUNG", "RIB", "HEART", "TORSO"),
    *("TORAX", "TÓRAX", "TORACE", "BRUST", "POITRINE", "PECHO", "POUMON", "PULMO", "KLATKA"),
)
"""Words for the chest: PS3.16 annex L, then some languages that machines are set to."""

_OTHER_PARTS = (
    *("ABDOMEN", "ANKLE", "ARM", "BREAST", "CALCANEUS", "CLAVICLE", "COCCYX", "ELBOW", "FEMUR"),
    *("FINGER", "FOOT", "HAND", "HEAD", "HIP", "HUMERUS", "JAW", "KNEE", "LEG", "MANDIBLE"),
    *("NECK", "ORBIT", "PATELLA", "PELVIS", "SACRUM", "SCAPULA", "SHOULDER", "SINUS", "SKULL"),
    *("SPINE", "TEETH", "THIGH", "THUMB", "TIBIA", "TOE", "WRIST", "ZYGOMA", "EXTREMITY"),
)


def view_objection(dataset: Dataset) -> tuple[str | None, str | None]:
    """Returns what contradicts a frontal chest film, and what leaves it open.

    Body part (PS3.16 annex L), view position (PS3.3 C.8.1.2.1.1), the orientation of the rows
    (C.7.6.1.1.1: along them, a lateral view goes from front to back) and the view's code.

    Returns:
        A phrase about the film or ``None``, twice.
    """
    part = str(dataset.get("BodyPartExamined") or "").strip().upper()
    unknown = None
    if part and not any(word in part for word in _CHEST):
        if any(word in part for word in _OTHER_PARTS):
            return "says that it shows another part of the body, not a chest", None
        unknown = "names its part of the body in a word that is not known here"
    if _is_lateral(dataset):
        return "says that it is a lateral or oblique view, not a frontal one", None
    return None, unknown


def _is_lateral(dataset: Dataset) -> bool:
    view = str(dataset.get("ViewPosition") or "").strip().upper()
    # A film of somebody who lies on the side (LLD, RLD) is a frontal view.
    if view.startswith(("LL", "RL", "LAT", "OBL", "LAO", "RAO", "LPO", "RPO")):
        return view not in ("LLD", "RLD")
    codes = dataset.get("ViewCodeSequence") or []
    meanings = [str(item.get("CodeMeaning") or "").lower() for item in codes]
    if any("lateral" in text or "oblique" in text for text in meanings):
        return not any("decubitus" in text for text in meanings)
    orientation = dataset.get("PatientOrientation") or []
    along_rows = str(orientation[0]).strip().upper() if len(orientation) == 2 else ""
    return along_rows.startswith(("A", "P"))
