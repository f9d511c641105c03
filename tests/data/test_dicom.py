"""Reading DICOM: the grey chain, the encodings, and refusing what is no radiograph."""

import io
import random
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import pixel_array
from pydicom.sequence import Sequence
from pydicom.uid import (
    HTJ2K,
    MPEG2MPML,
    UID,
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from pneumoscope.data import dicom, dicom_file
from pneumoscope.data.radiograph import COLOUR_WARNING, Radiograph, read_radiograph
from pneumoscope.errors import RadiographError

RAMP = np.linspace(0, 4095, 60).round().astype(np.uint16).reshape(6, 10)
FULL_SCALE = (0, 65535)


def radiograph(pixels: np.ndarray, syntax: UID = ExplicitVRLittleEndian, **tags: Any) -> Dataset:
    """A CR object around uncompressed pixels; ``tags`` are changed or, with None, left out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = "1.2.3"
    dataset.PatientName = "Secret^Name"
    dataset.Modality = "CR"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    if len(dataset.PixelData) % 2:
        dataset.PixelData += b"\0"
    dataset["PixelData"].VR = "OW"
    for keyword, value in tags.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    if "HighBit" not in dataset:
        dataset.HighBit = dataset.BitsStored - 1
    return dataset


def written(dataset: Dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def read(pixels: np.ndarray, **tags: Any) -> Radiograph:
    return read_radiograph(written(radiograph(pixels, **tags)))


def stretched(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((values.astype(float) - low) / (high - low) * 65535, *FULL_SCALE)


class TestGreyChain:
    def test_8_bit_comes_back_exactly(self) -> None:
        pixels = RAMP.astype(np.uint8)
        film = read(pixels)
        assert film.pixels.dtype == np.uint8
        np.testing.assert_array_equal(film.pixels, pixels)
        assert (film.source_format, film.bits, film.warnings) == ("DICOM", 8, ())

    def test_without_a_window_the_declared_depth_is_the_range(self) -> None:
        film = read(RAMP // 4, BitsStored=12)  # a dark film: it uses a quarter of its 12 bits
        assert (film.pixels.dtype, film.bits) == (np.uint16, 12)
        np.testing.assert_allclose(film.pixels, stretched(RAMP // 4, 0, 4095), atol=0.51)
        assert film.warnings == ("declares no display window; its full range of 12 bits was used",)

    def test_unused_bits_are_ignored(self) -> None:
        film = read(RAMP | 0xF000, BitsStored=12)  # overlays were kept there once
        np.testing.assert_array_equal(film.pixels, read(RAMP, BitsStored=12).pixels)

    @pytest.mark.parametrize("bits", [8, 12])
    def test_monochrome1_is_the_same_way_up(self, bits: int) -> None:
        values = RAMP >> (12 - bits)
        stored = values.astype(np.uint8 if bits == 8 else np.uint16)
        negative = (2**bits - 1 - values).astype(stored.dtype)
        window = {"WindowCenter": 2048, "WindowWidth": 4096} if bits == 12 else {}
        plain = read(stored, BitsStored=bits, **window)
        inverted = read(
            negative, BitsStored=bits, PhotometricInterpretation="MONOCHROME1", **window
        )
        difference = plain.pixels.astype(int) - inverted.pixels
        assert np.abs(difference).max() <= 1
        assert inverted.pixels[-1, -1] == np.iinfo(stored.dtype).max

    @pytest.mark.parametrize("bits", [12, 16])
    def test_signed_values(self, bits: int) -> None:
        values = (RAMP.astype(np.int16) - 2048) * (2 ** (bits - 12))
        film = read(values.astype(np.int16), BitsStored=bits)
        low = -(2 ** (bits - 1))
        np.testing.assert_allclose(film.pixels, stretched(values, low, -low - 1), atol=0.51)

    @pytest.mark.parametrize(("slope", "intercept"), [(2, -1000), (0.5, 7), (-1, 4095)])
    def test_rescale(self, slope: float, intercept: float) -> None:
        film = read(RAMP, BitsStored=12, RescaleSlope=slope, RescaleIntercept=intercept)
        ends = sorted((intercept, 4095 * slope + intercept))
        expected = stretched(RAMP * float(slope) + intercept, *ends)
        np.testing.assert_allclose(film.pixels, expected, atol=0.51)

    def test_the_window_is_in_rescaled_units(self) -> None:
        film = read(
            RAMP,
            BitsStored=12,
            RescaleSlope=2,
            RescaleIntercept=-1000,
            WindowCenter=1000,
            WindowWidth=2000,
            VOILUTFunction="LINEAR_EXACT",
        )
        expected = stretched(RAMP * 2.0 - 1000, 0, 2000)
        np.testing.assert_allclose(film.pixels, expected, atol=0.51)

    def test_linear_window_by_the_letter(self) -> None:
        # PS3.3 C.11.2.1.2.1, pseudo-code, with output 0 to 65535.
        centre, width = 1500.0, 1000.0
        x = RAMP.astype(float)
        y = ((x - (centre - 0.5)) / (width - 1) + 0.5) * 65535
        y[x <= centre - 0.5 - (width - 1) / 2] = 0
        y[x > centre - 0.5 + (width - 1) / 2] = 65535
        film = read(RAMP, BitsStored=12, WindowCenter=centre, WindowWidth=width)
        np.testing.assert_allclose(film.pixels, y, atol=0.51)
        assert film.warnings == ()

    def test_sigmoid_window(self) -> None:
        # PS3.3 C.11.2.1.3.1
        expected = 65535 / (1 + np.exp(-4 * (RAMP.astype(float) - 1500) / 1000))
        film = read(
            RAMP, BitsStored=12, WindowCenter=1500, WindowWidth=1000, VOILUTFunction="SIGMOID"
        )
        np.testing.assert_allclose(film.pixels, expected, atol=0.51)

    def test_the_first_of_several_windows(self) -> None:
        several = read(RAMP, BitsStored=12, WindowCenter=[1500, 9], WindowWidth=[1000, 5])
        one = read(RAMP, BitsStored=12, WindowCenter=1500, WindowWidth=1000)
        np.testing.assert_array_equal(several.pixels, one.pixels)

    @pytest.mark.parametrize(
        ("window", "words"),
        [
            ({"WindowCenter": 100, "WindowWidth": 0}, "means nothing"),
            ({"WindowCenter": 100, "WindowWidth": -5}, "means nothing"),
            ({"WindowCenter": 1, "WindowWidth": 1, "VOILUTFunction": "CUBIC"}, "means nothing"),
            ({"WindowCenter": 60000, "WindowWidth": 2}, "shows nothing"),
            ({"WindowCenter": "", "WindowWidth": ""}, "no display window"),
        ],
    )
    def test_a_window_without_sense_is_left_out(self, window: Any, words: str) -> None:
        film = read(RAMP, BitsStored=12, **window)
        np.testing.assert_allclose(film.pixels, stretched(RAMP, 0, 4095), atol=0.51)
        assert [words in warning for warning in film.warnings] == [True]

    def test_modality_table(self) -> None:
        table = lookup_table(np.arange(4096)[::-1] * 16, first=0, depth=16)
        film = read(RAMP, BitsStored=12, ModalityLUTSequence=table)
        np.testing.assert_array_equal(film.pixels, (4095 - RAMP) * 16)

    @pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    def test_voi_table_from_12_to_8_bits(self, syntax: UID) -> None:
        table = lookup_table(np.arange(4096) // 16, first=0, depth=8)
        dataset = radiograph(RAMP, syntax, BitsStored=12, VOILUTSequence=table)
        film = read_radiograph(written(dataset))
        np.testing.assert_array_equal(film.pixels, RAMP // 16 * 257)

    def test_voi_table_beyond_its_ends_and_before_a_window(self) -> None:
        table = lookup_table(np.arange(100) * 600, first=1000, depth=16)
        film = read(RAMP, BitsStored=12, VOILUTSequence=table, WindowCenter=9, WindowWidth=9)
        expected = np.clip(RAMP.astype(int) - 1000, 0, 99) * 600
        np.testing.assert_array_equal(film.pixels, expected)

    @pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
    def test_padding_is_black(self, photometric: str) -> None:
        tags: dict[str, Any] = {"BitsStored": 12, "PhotometricInterpretation": photometric}
        padded = read(RAMP, PixelPaddingValue=int(RAMP[3, 3]), **tags)
        plain = read(RAMP, **tags).pixels.copy()
        plain[3, 3] = 0
        np.testing.assert_array_equal(padded.pixels, plain)

    def test_padding_range(self) -> None:
        film = read(RAMP, BitsStored=12, PixelPaddingValue=4095, PixelPaddingRangeLimit=3000)
        np.testing.assert_array_equal(film.pixels == 0, (RAMP >= 3000) | (RAMP == 0))

    @pytest.mark.parametrize(
        ("stored", "padding", "is_padding"),
        [
            (np.array([[65535, 1, 4095]], np.uint16), 65535, [[True, False, False]]),
            (np.array([[-32768, 1, -2048, 2047]], np.int16), -32768, [[True] + [False] * 3]),
            (np.array([[-2000, 1, 2047]], np.int16), 63536, [[True, False, False]]),
        ],
    )
    def test_padding_outside_of_the_stored_bits(
        self, stored: np.ndarray, padding: int, is_padding: list[list[bool]]
    ) -> None:
        dataset = radiograph(stored, BitsStored=12)
        plain = read_radiograph(written(dataset)).pixels
        dataset.add_new("PixelPaddingValue", "SS" if padding < 0 else "US", padding)
        padded = read_radiograph(written(dataset)).pixels
        np.testing.assert_array_equal(padded, np.where(is_padding, 0, plain))

    @pytest.mark.parametrize("first", [64512, -1024])
    def test_voi_table_in_rescaled_units_below_zero(self, first: int) -> None:
        item = Dataset()
        item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [4096, first, 16])
        item.add_new("LUTData", "OW", (np.arange(4096) * 16).astype("<u2").tobytes())
        film = read(
            RAMP,
            BitsStored=12,
            RescaleSlope=1,
            RescaleIntercept=-1024,
            VOILUTSequence=Sequence([item]),
        )
        np.testing.assert_array_equal(film.pixels, RAMP * 16)
        assert film.warnings == ()


def lookup_table(entries: np.ndarray, first: int, depth: int) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, depth])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return Sequence([item])


class TestEncodings:
    @pytest.mark.parametrize(
        "syntax",
        [
            ImplicitVRLittleEndian,
            ExplicitVRLittleEndian,
            ExplicitVRBigEndian,
            DeflatedExplicitVRLittleEndian,
            RLELossless,
            JPEGLSLossless,
            JPEG2000Lossless,
        ],
    )
    def test_every_lossless_encoding_gives_the_same_pixels(self, syntax: UID) -> None:
        big = np.tile(RAMP, (8, 8))
        expected = read(big, BitsStored=12).pixels
        dataset = radiograph(big, ExplicitVRLittleEndian, BitsStored=12)
        if syntax == JPEG2000Lossless:
            stream = io.BytesIO()
            Image.fromarray(big).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.PixelData = encapsulate([stream.getvalue()])
            dataset["PixelData"].VR = "OB"
            dataset.BitsStored, dataset.HighBit = 16, 15  # what Pillow writes
            expected = big
        elif syntax.is_encapsulated:
            dataset.compress(syntax, generate_instance_uid=False)
        else:
            dataset = radiograph(big, syntax, BitsStored=12)
        np.testing.assert_array_equal(read_radiograph(written(dataset)).pixels, expected)

    def test_jpeg_baseline(self) -> None:
        smooth = np.add.outer(np.arange(40) * 2, np.arange(56) * 2).astype(np.uint8)
        film = read_radiograph(written(jpeg_radiograph(smooth)))
        assert np.abs(film.pixels.astype(int) - smooth).max() <= 1

    def test_without_preamble(self) -> None:
        content = written(radiograph(RAMP, BitsStored=12))
        expected = read_radiograph(content).pixels
        np.testing.assert_array_equal(read_radiograph(content[132:]).pixels, expected)

    @pytest.mark.parametrize("implicit", [True, False])
    def test_without_preamble_and_meta_header(self, implicit: bool) -> None:
        dataset = radiograph(RAMP, BitsStored=12)
        stream = io.BytesIO()
        del dataset.file_meta
        dataset.save_as(stream, implicit_vr=implicit, little_endian=True)
        film = read_radiograph(stream.getvalue())
        np.testing.assert_array_equal(film.pixels, read(RAMP, BitsStored=12).pixels)

    def test_jpeg_of_thousands_of_scans(self) -> None:
        dataset = jpeg_radiograph(np.zeros((64, 64), np.uint8))
        stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
        scan = stream[stream.rfind(b"\xff\xda") : -2]
        dataset.PixelData = encapsulate([stream[:-2] + scan * 1000 + b"\xff\xd9"])
        with pytest.raises(RadiographError, match="more than the 64 JPEG scans"):
            read_radiograph(written(dataset))

    def test_padding_after_the_pixels(self) -> None:
        dataset = radiograph(RAMP, BitsStored=12)
        dataset.PixelData += bytes(10)
        film = read_radiograph(written(dataset))
        assert "has more bytes of pixel data than pixels" in film.warnings


def jpeg_radiograph(pixels: np.ndarray, **tags: Any) -> Dataset:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=100)
    dataset = radiograph(pixels, JPEGBaseline8Bit, **tags)
    dataset.PixelData = encapsulate([stream.getvalue()])
    dataset["PixelData"].VR = "OB"
    return dataset


class TestColour:
    RGB = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], np.uint8)
    LUMA = ((76, 150, 29, 9),)

    def test_rgb_becomes_luma(self) -> None:
        film = read(self.RGB)
        np.testing.assert_array_equal(film.pixels, self.LUMA)
        assert film.warnings == (COLOUR_WARNING,)

    def test_planes_and_16_bits(self) -> None:
        planes = np.moveaxis(self.RGB, 2, 0).copy()
        dataset = radiograph(self.RGB, PlanarConfiguration=1, PixelData=planes.tobytes())
        np.testing.assert_array_equal(read_radiograph(written(dataset)).pixels, self.LUMA)
        deep = read(self.RGB.astype(np.uint16) * 257)
        np.testing.assert_array_equal(deep.pixels, self.LUMA)

    def test_fewer_than_8_bits_reach_white(self) -> None:
        values = np.array([0, 1, 31, 63], np.uint8)
        film = read(np.repeat(values, 3).reshape(1, 4, 3), BitsStored=6)
        assert film.pixels.tolist() == [[0, 4, 125, 255]]

    def test_palette(self) -> None:
        dataset = radiograph(np.array([[0, 1, 2, 3]], np.uint8))
        dataset.PhotometricInterpretation = "PALETTE COLOR"
        for channel, name in enumerate(("Red", "Green", "Blue")):
            entries = self.RGB[0, :, channel].astype("<u2") * 257
            keyword = f"{name}PaletteColorLookupTable"
            setattr(dataset, f"{keyword}Descriptor", [4, 0, 16])
            setattr(dataset, f"{keyword}Data", entries.tobytes())
        np.testing.assert_array_equal(read_radiograph(written(dataset)).pixels, self.LUMA)

    def test_secondary_capture_says_so(self) -> None:
        grey = np.full((4, 4, 3), 7, np.uint8)
        film = read(grey, Modality="OT", SOPClassUID=SecondaryCaptureImageStorage)
        assert (film.pixels == 7).all()
        assert film.warnings == ("does not say that it is a radiograph (secondary capture)",)


class TestRefusals:
    @pytest.mark.parametrize(
        ("tags", "words"),
        [
            ({"Modality": "CT"}, "is a DICOM object of modality 'CT', expected a radiograph"),
            ({"Modality": "MR"}, "is a DICOM object of modality 'MR', expected a radiograph"),
            ({"Modality": "MG"}, "is a DICOM object of modality 'MG', expected a radiograph"),
            ({"Modality": "SR", "PixelData": None}, "is a DICOM object of modality 'SR'"),
            (
                {"Modality": "OT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"},
                "is a DICOM object of the class 'CT Image Storage'",
            ),
            ({"PixelData": None}, "is a DICOM object without an image"),
            ({"NumberOfFrames": 3}, "holds several frames or pages, expected one"),
            ({"BitsAllocated": 32, "BitsStored": 32}, "has 32 bits stored in 32"),
            ({"BitsStored": 12, "HighBit": 15}, "declares high bit 15 for 12 bits stored"),
            ({"PhotometricInterpretation": "HSV"}, "has one grey channel but is called 'HSV'"),
            ({"Rows": 65535, "Columns": 65535}, "more than the 67,108,864 pixels"),
            ({"Rows": 0}, "declares 0 x 10 pixels"),
            ({"Rows": 60}, "is a damaged or truncated DICOM file"),
            ({"BitsStored": None}, "is a damaged or truncated DICOM file"),
        ],
    )
    def test_by_name(self, tags: dict[str, Any], words: str) -> None:
        tags = {"BitsStored": 12, "HighBit": 11} | tags
        with pytest.raises(RadiographError) as caught:
            read_radiograph(written(radiograph(RAMP, **tags)))
        assert words in str(caught.value)
        assert "Secret" not in str(caught.value)

    @pytest.mark.parametrize("syntax", [HTJ2K, MPEG2MPML])
    def test_encodings_without_a_decoder(
        self, syntax: UID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if syntax == HTJ2K:  # some installations have one
            monkeypatch.setattr(type(pydicom.pixels.get_decoder(HTJ2K)), "available_plugins", ())
        dataset = jpeg_radiograph(RAMP.astype(np.uint8))
        dataset.file_meta.TransferSyntaxUID = syntax
        with pytest.raises(RadiographError, match="which cannot be decoded here; convert it"):
            read_radiograph(written(dataset))

    def test_12_bit_jpeg_is_named(self) -> None:
        dataset = pydicom.dcmread(get_testdata_file("JPGExtended.dcm", download=False))
        dataset.Modality = "CR"
        with pytest.raises(
            RadiographError, match=r"encoded as 'JPEG Extended \(Process 2 and 4\)'"
        ):
            read_radiograph(written(dataset))

    def test_raw_detector_values_are_named(self) -> None:
        film = read(RAMP, BitsStored=12, PresentationIntentType="FOR PROCESSING")
        assert film.warnings[0].startswith("holds raw detector values (FOR PROCESSING)")

    @pytest.mark.parametrize("kept", [0.3, 0.9])
    @pytest.mark.parametrize("kind", ["baseline", "jpeg-ls", "rle", "raw", "jpeg2000", "deflated"])
    def test_truncated_pixels(self, kind: str, kept: float, shared_dir: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
        if kind == "baseline":
            dataset = jpeg_radiograph(noise)
        elif kind == "jpeg2000":
            path = shared_dir / "data/dicom/cr_mono1_15bit_jpeg2000.dcm"
            dataset = pydicom.dcmread(path)
        else:
            dataset = radiograph(noise)
            if kind in ("jpeg-ls", "rle"):
                dataset.compress(JPEGLSLossless if kind == "jpeg-ls" else RLELossless)
            elif kind == "deflated":
                dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        if kind not in ("raw", "deflated"):
            stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
            dataset.PixelData = encapsulate([stream[: int(len(stream) * kept)]])
        content = written(dataset)
        if kind in ("raw", "deflated"):
            content = content[: int(len(content) * kept)]
        with pytest.raises(RadiographError, match="truncated"):
            read_radiograph(content)

    def test_a_stream_larger_than_declared(self) -> None:
        dataset = jpeg_radiograph(np.zeros((3000, 40), np.uint8), Rows=10, Columns=10)
        with pytest.raises(RadiographError, match=r"10 x 10 pixels, but .* 3000 x 40"):
            read_radiograph(written(dataset))

    @pytest.mark.parametrize("header", ["whole", "no group length", "syntax far behind"])
    def test_a_deflated_bomb_is_not_unpacked(
        self, header: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dicom_file, "MAX_FILE_BYTES", 4_000_000)
        zeros = np.zeros((8000, 8000), np.uint8)
        dataset = radiograph(zeros, DeflatedExplicitVRLittleEndian)
        if header == "syntax far behind":
            dataset.file_meta.FileMetaInformationVersion = bytes(4000)
        content = written(dataset)
        if header == "no group length":  # (0002,0000) UL takes twelve bytes
            content = content[:132] + content[144:]
        assert len(content) < 80_000
        tracemalloc.start()
        with pytest.raises(RadiographError, match="unpacks to more than the 4,000,000 bytes"):
            read_radiograph(content)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4_000_000

    def test_deflated_without_a_group_length_is_read(self) -> None:
        content = written(radiograph(RAMP, DeflatedExplicitVRLittleEndian, BitsStored=12))
        film = read_radiograph(content[:132] + content[144:])
        np.testing.assert_array_equal(film.pixels, read(RAMP, BitsStored=12).pixels)


def test_only_elements_of_the_picture_are_parsed() -> None:
    groups = {tag_for_keyword(word) >> 16 for word in dicom._ELEMENTS}
    assert groups == {0x0008, 0x0018, 0x0020, 0x0028, 0x0054, 0x7FE0}  # 0010 is the patient's
    of_other_groups = [w for w in dicom._ELEMENTS if tag_for_keyword(w) >> 16 in (8, 0x20, 0x54)]
    assert sorted(of_other_groups) == [
        "Modality",
        "PatientOrientation",
        "PresentationIntentType",
        "SOPClassUID",
        "SpecificCharacterSet",
        "ViewCodeSequence",
    ]


class TestRealFiles:
    def stored(self, path: Path, plugin: str) -> tuple[Dataset, np.ndarray]:
        dataset = pydicom.dcmread(path)
        return dataset, pixel_array(dataset, decoding_plugin=plugin)

    @pytest.mark.parametrize("name", ["rsna_cr_normal", "rsna_cr_lung_opacity_child"])
    def test_rsna(self, shared_dir: Path, name: str) -> None:
        path = shared_dir / f"data/dicom/{name}.dcm"
        film = read_radiograph(path)
        assert (film.pixels.shape, film.pixels.dtype, film.bits) == ((1024, 1024), np.uint8, 8)
        assert film.warnings == ()
        dataset, by_gdcm = self.stored(path, "gdcm")
        stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
        np.testing.assert_array_equal(film.pixels, np.asarray(Image.open(io.BytesIO(stream))))
        assert np.abs(film.pixels.astype(int) - by_gdcm).max() <= 1

    def test_wrongly_tagged_film_is_a_negative(self, shared_dir: Path) -> None:
        path = shared_dir / "data/dicom/rsna_cr_tagged_monochrome1.dcm"
        _, by_gdcm = self.stored(path, "gdcm")
        negative = 255 - read_radiograph(path).pixels
        assert np.abs(negative.astype(int) - by_gdcm).max() <= 1

    def test_10_bit_monochrome1_with_window(self, shared_dir: Path) -> None:
        path = shared_dir / "data/dicom/cr_mono1_10bit.dcm"
        film = read_radiograph(path)
        assert (film.pixels.shape, film.bits, film.warnings) == ((440, 440), 10, ())
        raw = np.frombuffer(pydicom.dcmread(path).PixelData, "<u2").reshape(440, 440)
        # Window 550 / 1024: LINEAR runs from 38 to 1061; inverted, for MONOCHROME1.
        np.testing.assert_allclose(film.pixels, 65535 - stretched(raw, 38, 1061), atol=1.01)

    def test_15_bit_jpeg_2000(self, shared_dir: Path) -> None:
        path = shared_dir / "data/dicom/cr_mono1_15bit_jpeg2000.dcm"
        film = read_radiograph(path)
        assert (film.pixels.shape, film.bits, film.warnings) == ((1955, 1841), 15, ())
        _, by_gdcm = self.stored(path, "gdcm")
        # Window 15000 / 30000: LINEAR runs from 0 to 29999.
        expected = 65535 - stretched(by_gdcm, 0, 29999)
        np.testing.assert_allclose(film.pixels, expected, atol=1.01)

    def test_nih(self, shared_dir: Path) -> None:
        path = shared_dir / "data/dicom/nih_dx_cardiomegaly.dcm"
        film = read_radiograph(path)
        raw = np.frombuffer(pydicom.dcmread(path).PixelData, np.uint8).reshape(1024, 1024)
        np.testing.assert_array_equal(film.pixels, raw)
        assert film.warnings == ()

    def test_the_lungs_are_darker_than_the_mediastinum(self, shared_dir: Path) -> None:
        names = (
            "rsna_cr_normal",
            "cr_mono1_10bit",
            "cr_mono1_15bit_jpeg2000",
            "nih_dx_cardiomegaly",
        )
        for name in names:
            pixels = read_radiograph(shared_dir / f"data/dicom/{name}.dcm").pixels
            height_px, width_px = pixels.shape
            rows = slice(int(0.25 * height_px), int(0.4 * height_px))
            middle, left, right = (
                np.median(pixels[rows, int((x - 0.03) * width_px) : int((x + 0.03) * width_px)])
                for x in (0.52, 0.28, 0.75)
            )
            assert middle > max(left, right), name


PACKAGED = (
    "JPEGLSNearLossless_08.dcm",
    "JPEGLSNearLossless_16.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_rgb_gdcm_KY.dcm",
    "SC_rgb_rle.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "image_dfl.dcm",
)


def packaged(name: str) -> Dataset:
    """One of pydicom's test files, made a radiograph by its modality."""
    dataset = pydicom.dcmread(get_testdata_file(name, download=False))
    dataset.Modality = "CR"
    return dataset


def by_gdcm(path: Path) -> np.ndarray:
    """Stored values as GDCM alone, without pydicom, reads and decodes them."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    image = reader.GetImage()
    pixel_format = image.GetPixelFormat()
    bits, signed = pixel_format.GetBitsAllocated(), pixel_format.GetPixelRepresentation()
    buffer = image.GetBuffer().encode("utf-8", "surrogateescape")
    columns, rows = image.GetDimensions()[:2]
    values = np.frombuffer(buffer, f"{'ui'[signed]}{bits // 8}")
    samples = int(pixel_format.GetSamplesPerPixel())
    if samples == 3 and image.GetPlanarConfiguration():
        return np.moveaxis(values.reshape(3, rows, columns), 0, 2)
    return values.reshape((rows, columns, 3) if samples == 3 else (rows, columns))


@pytest.mark.parametrize("name", PACKAGED)
def test_pydicoms_files_against_gdcm(name: str, tmp_path: Path) -> None:
    path = tmp_path / "film.dcm"
    dataset = packaged(name)
    dataset.save_as(path)
    film = read_radiograph(path)
    values = by_gdcm(path)
    if values.ndim == 3:
        if dataset.PhotometricInterpretation.startswith("YBR"):
            values = pydicom.pixels.convert_color_space(values, "YBR_FULL", "RGB")
        grey = values @ np.array([0.299, 0.587, 0.114])
        assert np.abs(film.pixels - grey).mean() < 1
        return
    if "WindowCenter" in dataset:
        low = float(dataset.WindowCenter) - float(dataset.WindowWidth) / 2
        expected = stretched(values, low, low + float(dataset.WindowWidth) - 1)
    elif film.bits > 8:
        signed = values.dtype.kind == "i"
        expected = stretched(values, *((-32768, 32767) if signed else FULL_SCALE))
    else:
        expected = values
    np.testing.assert_allclose(film.pixels, expected, atol=1.01)


def test_every_file_of_pydicom_is_read_or_refused() -> None:
    folder = Path(get_testdata_file("CT_small.dcm", download=False)).parent
    num_read = 0
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            try:
                num_read += read_radiograph(path).pixels.size > 0
            except RadiographError as error:
                assert str(error).startswith(str(path))  # noqa: PT017
                assert "\n" not in str(error)  # noqa: PT017
    assert num_read > 20


def test_no_other_exception_for_hundreds_of_mutations() -> None:
    sources = [written(packaged(name)) for name in PACKAGED if "small" in name or "JPEGLS" in name]
    sources += [
        written(radiograph(RAMP, BitsStored=12)),
        written(jpeg_radiograph(RAMP.astype("u1"))),
    ]
    outcomes = []
    for seed in range(400):
        rng = random.Random(seed)
        content = bytearray(rng.choice(sources))
        if rng.random() < 0.2:
            del content[rng.randrange(1, len(content)) :]
        for _ in range(rng.choice([1, 4, 20])):
            content[rng.randrange(len(content))] = rng.randrange(256)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                read_radiograph(bytes(content))
                outcomes.append("read")
            except RadiographError:
                outcomes.append("refused")
    assert outcomes.count("read") > 50
    assert outcomes.count("refused") > 50


@pytest.mark.parametrize("film", ["RG1", "RG3"])
def test_real_films_are_the_same_in_every_encoding(film: str) -> None:
    """Radiographs of 1841 x 1955 and 1760 x 1760, 15 bits: reversible JPEG 2000 and plain."""
    from pydicom.data import get_testdata_file

    paths = [get_testdata_file(f"{film}_{kind}.dcm", download=False) for kind in ("UNCR", "J2KR")]
    if None in paths:
        pytest.skip("the package pydicom-data is not here")
    plain, packed = map(read_radiograph, paths)
    np.testing.assert_array_equal(plain.pixels, packed.pixels)
    assert plain.pixels.dtype == np.uint16
