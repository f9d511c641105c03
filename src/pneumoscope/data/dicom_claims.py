"""What a DICOM file says of itself: modality, body part and view.

A damaged file may hold a name or an identifier under any tag. So a value is quoted only where
it is one of the words listed here.
"""

import re
from collections.abc import Iterable
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID

from pneumoscope.errors import RadiographError

CLAIM_ELEMENTS = (
    *("SOPClassUID", "Modality", "PresentationIntentType", "BodyPartExamined"),
    *("ViewPosition", "PatientOrientation", "ViewCodeSequence"),
)
"""The elements that the functions here look at."""

_RADIOGRAPHY = ("CR", "DX", "RG")
_UNSPECIFIC = ("", "OT", "SC")
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# PS3.3 C.7.3.1.1.1, with retired terms.
_MODALITIES = _set(
    "ANN AR ASMT AU BDUS BI BMD CD CF CFM CP CR CS CT CTPROTOCOL DD DF DG DM DMS DOC DS DX EC ECG "
    "EEG EM EMG EOG EPS ES FA FID FS GM HC HD IO IOL IVOCT IVUS KER KO LEN LP LS M3D MA MG MR MS "
    "NM OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT PX REG RESP RF RG "
    "RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SC SEG SM SMR SR SRF "
    "ST STAIN TEXTUREMAP TG US VA VF XA XAPROTOCOL XC"
)


def registered_name(uid: str) -> str | None:
    """Returns the name of a UID of the standard, ``None`` for any other text.

    >>> registered_name("1.2.840.10008.1.2.5")
    'RLE Lossless'
    """
    name = UID(uid).name
    return None if name == uid else name


def check_is_radiograph(dataset: Dataset) -> tuple[str, ...]:
    """Returns what to know about how the film was made.

    Raises:
        RadiographError: it says that it is something else, or it holds no image.
    """
    modality = _text(dataset, "Modality")
    sop_class = str(dataset.get("SOPClassUID") or "")
    if modality not in (*_RADIOGRAPHY, *_UNSPECIFIC):
        what = repr(modality) if modality in _MODALITIES else "that is not in the standard"
        raise RadiographError(
            f"is a DICOM object of modality {what}, "
            "expected a radiograph (CR, DX or a secondary capture of one)"
        )
    if modality in _UNSPECIFIC and sop_class and not sop_class.startswith(_SECONDARY_CAPTURE):
        name = registered_name(sop_class)
        what = f"the class {name[:64]!r}" if name else "a class that is not in the standard"
        raise RadiographError(
            f"is a DICOM object of {what}, "
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
    if _text(dataset, "PresentationIntentType") == "FOR PROCESSING":
        notes.append("holds raw detector values (FOR PROCESSING), not a film as it is read")
    return tuple(notes)


def objection_and_notes(dataset: Dataset) -> tuple[str | None, tuple[str, ...]]:
    """Returns what contradicts a frontal chest film, and what leaves that open."""
    part_objection, part_notes = _about_body_part(_text(dataset, "BodyPartExamined"))
    view_objection, view_notes = _about_view(dataset)
    return part_objection or view_objection, (*part_notes, *view_notes)


# Parts of words, English (PS3.16 annex L) and as consoles elsewhere write them.
_CHEST = (
    *("CHEST", "THORAX", "LUNG", "RIB", "HEART", "TORSO", "MEDIASTIN"),
    *("TORAX", "TÓRAX", "TORACE", "TORAKS", "TORAQUE", "BRUST", "POITRINE", "POUMON"),
    *("PECHO", "PULM", "KLATKA", "HRUDN", "GRUDN", "ГРУД", "ЛЕГК", "GÖĞÜS", "胸", "肺", "흉부"),
)

_OTHER_PARTS = _set(
    "ABDOMEN ABDOMENPELVIS ACJOINT ANKLE ARM BODY BREAST CALCANEUS CALF CERVICAL CLAVICLE "
    "COCCYX CSPINE ELBOW EXTREMITY EYE FACE FEMUR FIBULA FINGER FOOT FOREARM HAND HEAD HIP "
    "HUMERUS JAW KNEE LEG LSPINE LUMBAR MANDIBLE MAXILLA NECK NOSE ORBIT PATELLA PELVIS "
    "RADIUS SACRUM SCAPULA SHOULDER SINUS SINUSES SKULL SPINE SSPINE STERNUM TEETH THIGH "
    "THUMB TIBIA TMJ TOE TLSPINE TSPINE ULNA WHOLEBODY WRIST ZYGOMA"
)


def _about_body_part(part: str) -> tuple[str | None, tuple[str, ...]]:
    if not part or any(word in part for word in _CHEST):
        return None, ()
    if known := [word for word in _words(part) if word in _OTHER_PARTS]:
        return f"says that it shows {known[0]!r}, not a chest", ()
    return None, ("names a body part that is not known here; is it a chest?",)


_FRONTAL = ("AP", "PA")
_LATERAL = ("LL", "RL", "LLAT", "RLAT", "LATERAL", "LAT", "LATERO", "SEITLICH", "PROFIL")
_OBLIQUE = ("LLO", "RLO", "LAO", "RAO", "LPO", "RPO", "OBLIQUE", "OBL")
_DECUBITUS = ("LLD", "RLD", "DECUBITUS", "DECUB")

# PS3.16 CID 4010, as SNOMED CT and as SNOMED RT numbers it.
_FRONTAL_CODES = _set("399033003 399348003 272479007 R-10202 R-10206 R-10214 R-40888")
_LATERAL_CODES = _set(
    "399173006 399198007 399067008 399260004 399352003 30730003 "
    "R-10236 R-10232 R-102CD R-10224 R-10228 G-A145"
)
_OBLIQUE_CODES = _set(
    "399135007 399006002 399356000 399038007 399184004 399236003 399182000 399312000 399059000 "
    "399160007 260427002 260426006 R-10220 R-10212 R-40985 R-10210 R-10238 R-10234 R-102C1 R-10208 "
    "R-10216 R-10204 R-40783 R-40782"
)


def _about_view(dataset: Dataset) -> tuple[str | None, tuple[str, ...]]:
    # PS3.3 C.8.1.2.1.1 and C.8.11.5.1; consoles write words of their own.
    words = _words(_text(dataset, "ViewPosition"))
    if _first_known(words, _DECUBITUS):
        return None, ("was taken of a patient lying on one side (decubitus)",)
    codes = set(_view_codes(dataset))
    if (oblique := _first_known(words, _OBLIQUE)) or codes & _OBLIQUE_CODES:
        how = oblique or "by its code"
        return f"says that it is an oblique view ({how}), not a frontal one", ()
    if (lateral := _first_known(words, _LATERAL)) or codes & _LATERAL_CODES:
        how = lateral or "by its code"
        return f"says that it is a lateral view ({how}), not a frontal one", ()
    if not _runs_from_front_to_back(dataset):
        return None, ()
    if _first_known(words, _FRONTAL) or codes & _FRONTAL_CODES:
        return None, ("contradicts itself about its view (frontal, but rows as in a lateral one)",)
    return "says that it is a lateral view (by the patient's orientation), not a frontal one", ()


def _view_codes(dataset: Dataset) -> Iterable[str]:
    sequence = dataset.get("ViewCodeSequence")
    for item in sequence if isinstance(sequence, Iterable) else ():
        if isinstance(item, Dataset):
            yield _text(item, "CodeValue")


def _runs_from_front_to_back(dataset: Dataset) -> bool:
    # PS3.3 C.7.6.1.1.1: where rows and columns point, the main direction first.
    value = dataset.get("PatientOrientation")
    directions = [value] if isinstance(value, str) else list(value or ())
    known = [str(text) for text in directions if re.fullmatch(r"[APHFLR]{1,3}", str(text))]
    return any(text[0] in "AP" for text in known)


def _first_known(words: list[str], known: tuple[str, ...]) -> str | None:
    """The first word that is known, or else the longest known start of one (3 letters on)."""
    for word in words:
        if word in known:
            return word
    starts = [k for word in words for k in known if len(k) >= 3 and word.startswith(k)]
    return max(starts, key=len, default=None)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text)


def _text(dataset: Dataset, keyword: str) -> str:
    value: Any = dataset.get(keyword)
    if not isinstance(value, str) and isinstance(value, Iterable):
        value = next(iter(value), "")
    return str(value or "").strip().upper()
