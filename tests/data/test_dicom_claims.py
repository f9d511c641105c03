"""What a DICOM file says of itself: what is refused or warned about, and that nothing is quoted."""

import io
import struct
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pneumoscope.data import dicom
from pneumoscope.data.radiograph import Radiograph, read_radiograph
from pneumoscope.errors import RadiographError

SECRET = "SECRET^JOHN"


def film_bytes(implicit: bool = False, **tags: Any) -> bytes:
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.SOPInstanceUID, dataset.Modality = "1.2.3", "CR"
    dataset.PatientName = SECRET
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 4, 4, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = bytes(range(16))
    dataset["PixelData"].VR = "OW"
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = (
        ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    )
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def read(**tags: Any) -> Radiograph:
    return read_radiograph(film_bytes(**tags))


def view_code(value: str, scheme: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "?"
    return Sequence([item])


UNKNOWN_PART = "names a body part that is not known here; is it a chest?"


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize(
    ("part", "objection", "warnings"),
    [
        ("CHEST", None, ()),
        (" port chest ", None, ()),
        ("THORAX", None, ()),
        ("TORAX", None, ()),
        ("BRUSTKORB", None, ()),
        ("POITRINE", None, ()),
        ("PECHO", None, ()),
        ("HAND", "says that it shows 'HAND', not a chest", ()),
        ("LEFT KNEE", "says that it shows 'KNEE', not a chest", ()),
        ("THORACIC SPINE", "says that it shows 'SPINE', not a chest", ()),
        ("WHOLE BODY", "says that it shows 'BODY', not a chest", ()),
        ("NONESUCH", None, (UNKNOWN_PART,)),
    ],
)
def test_body_part(part: str, objection: str | None, warnings: tuple[str, ...]) -> None:
    film = read(BodyPartExamined=part)
    assert (film.objection, film.warnings) == (objection, warnings)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({}, None),
        ({"ViewPosition": "PA"}, None),
        ({"ViewPosition": "AP", "PatientOrientation": ["L", "F"]}, None),
        ({"ViewPosition": "", "PatientOrientation": ["L", "F"]}, None),
        ({"ViewPosition": "LL"}, "a lateral view (LL)"),
        ({"ViewPosition": "LATERAL"}, "a lateral view (LATERAL)"),
        ({"ViewPosition": "LATERAL LEFT"}, "a lateral view (LATERAL)"),
        ({"ViewPosition": "LATERALE"}, "a lateral view (LATERAL)"),
        ({"ViewPosition": "L LAT"}, "a lateral view (LAT)"),
        ({"ViewPosition": "LLO"}, "an oblique view (LLO)"),
        ({"ViewPosition": "RAO"}, "an oblique view (RAO)"),
        (
            {"ViewPosition": "", "PatientOrientation": ["P", "F"]},
            "a lateral view (by the patient's orientation)",
        ),
        ({"ViewCodeSequence": view_code("R-10236", "SRT")}, "a lateral view (by its code)"),
        ({"ViewCodeSequence": view_code("399198007", "SCT")}, "a lateral view (by its code)"),
        ({"ViewCodeSequence": view_code("399135007", "SCT")}, "an oblique view (by its code)"),
        ({"ViewCodeSequence": view_code("399348003", "SCT")}, None),
    ],
)
def test_view(tags: dict[str, Any], words: str | None) -> None:
    film = read(**tags)
    assert film.objection == (words and f"says that it is {words}, not a frontal one")
    assert film.warnings == ()


def test_views_that_are_only_warned_about() -> None:
    film = read(ViewPosition="LLD")
    assert film.objection is None
    assert film.warnings == ("was taken of a patient lying on one side (decubitus)",)
    film = read(ViewPosition="PA", PatientOrientation=["P", "F"])
    assert film.objection is None
    assert [warning.startswith("contradicts itself") for warning in film.warnings] == [True]


def everything_said(content: bytes) -> str:
    try:
        film = read_radiograph(content)
    except RadiographError as error:
        return str(error)
    return f"{film.warnings} {film.objection}"


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("keyword", sorted({*dicom._ELEMENTS} - {"PixelData"}))
@pytest.mark.parametrize("value", [SECRET, "998877"])
def test_a_name_under_another_tag_is_never_quoted(keyword: str, implicit: bool, value: str) -> None:
    content = film_bytes(implicit, PatientName=value)
    name = Tag("PatientName")
    where = content.index(struct.pack("<HH", name.group, name.element))
    tag = Tag(keyword)
    changed = bytearray(content)
    changed[where : where + 4] = struct.pack("<HH", tag.group, tag.element)
    said = everything_said(bytes(changed))
    assert value not in said
    assert value[:4] not in said


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(
    "keyword",
    ["Modality", "BodyPartExamined", "ViewPosition", "PhotometricInterpretation"],
)
def test_a_name_as_a_value_is_never_quoted(keyword: str) -> None:
    assert "SECRET" not in everything_said(film_bytes(**{keyword: SECRET}))


def test_unknown_classes_and_encodings_are_not_quoted() -> None:
    said = everything_said(film_bytes(Modality="OT", SOPClassUID="1.2.998877"))
    assert "a class that is not in the standard" in said
    content = film_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.998877.000000001")
    assert "998877" not in everything_said(content)


def test_pixels_are_unharmed_by_all_that_is_claimed() -> None:
    film = read(ViewPosition="LL", BodyPartExamined="HAND")
    np.testing.assert_array_equal(film.pixels, np.arange(16).reshape(4, 4))
