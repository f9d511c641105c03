"""Memory of one large film, and of several that are read at once."""

import gc
import io
import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from pneumoscope.data import grey
from pneumoscope.data.decoding import MAX_PIXELS, room_for
from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.radiograph import Radiograph, read_radiograph
from pneumoscope.errors import RadiographError

SIDE = 2000
NUM_PIXELS = SIDE * SIDE


def peak_bytes(action: Any) -> int:
    """Of arrays and bytes; what Pillow allocates for itself is not seen."""
    gc.collect()
    tracemalloc.start()
    kept = action()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return peak


def deflated_film() -> bytes:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2"
    dataset.Modality, dataset.PhotometricInterpretation = "CR", "MONOCHROME1"
    dataset.Rows = dataset.Columns = SIDE
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, 5
    dataset.WindowCenter, dataset.WindowWidth = 500, 900
    dataset.PixelPaddingValue = 0
    dataset.PixelData = np.full((SIDE, SIDE), 300, np.uint16).tobytes()
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def test_dicom_takes_a_few_bytes_a_pixel() -> None:
    content = deflated_film()
    read_radiograph(content)  # modules and tables
    # Inflated, as pixel data, and as pixels: two bytes each; the chain in float64 took sixty.
    assert peak_bytes(lambda: read_radiograph(content)) < 14 * NUM_PIXELS


@pytest.mark.parametrize("mode", ["RGBA", "RGB"])
def test_colour_is_transformed_in_bands(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    convert = Image.Image.convert

    def watched(image: Image.Image, *args: Any, **options: Any) -> Image.Image:
        sizes.append(image.width * image.height)
        return convert(image, *args, **options)

    stream = io.BytesIO()
    Image.new(mode, (SIDE, SIDE), (100, 3, 100, 200)[: len(mode)]).save(stream, "PNG")
    monkeypatch.setattr(Image.Image, "convert", watched)
    read_radiograph(stream.getvalue())
    assert max(sizes) <= grey.BAND_PIXELS
    assert sum(sizes) >= NUM_PIXELS


@pytest.mark.parametrize("size", [(224, 224), (100, 3000), (3000, 100), (900, 1500)])
def test_prepare_is_the_same_in_bands(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 2**16, size).astype(np.uint16)
    whole = Image.fromarray(np.asarray(pixels * (255 / 65535), np.float32))
    expected = np.rint(np.asarray(whole.resize((224, 224), Image.Resampling.BILINEAR)))
    monkeypatch.setattr(grey, "BAND_PIXELS", 10_000)
    np.testing.assert_array_equal(prepare(Radiograph(pixels, "PNG", 16), 224), expected)


def test_prepare_takes_no_copy_of_the_film() -> None:
    film = Radiograph(np.zeros((SIDE, SIDE), np.uint16), "PNG", 16)
    # A band in float64 and float32 takes twelve bytes a pixel.
    assert peak_bytes(lambda: prepare(film, 224)) < 16 * grey.BAND_PIXELS + NUM_PIXELS


@pytest.mark.parametrize("size", [(1, 70_000), (70_000, 1), (64, 1_000_000)])
def test_sides_that_no_film_has_are_refused(size: tuple[int, int]) -> None:
    stream = io.BytesIO()
    Image.new("L", size).save(stream, "PNG")
    with pytest.raises(RadiographError, match="a side of more than the 65,535 pixels"):
        read_radiograph(stream.getvalue())


def reading(content: bytes) -> tuple[threading.Thread, threading.Event]:
    done = threading.Event()

    def read() -> None:
        read_radiograph(content)
        done.set()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread, done


@pytest.mark.parametrize("kind", ["PNG", "DICOM"])
def test_films_wait_for_room(kind: str) -> None:
    stream = io.BytesIO()
    Image.new("L", (64, 64)).save(stream, "PNG")
    content = stream.getvalue() if kind == "PNG" else deflated_film()
    with room_for(MAX_PIXELS):
        thread, done = reading(content)
        assert not done.wait(0.5)
    thread.join(60)
    assert done.is_set()


def test_small_films_are_read_side_by_side_and_errors_give_room_back() -> None:
    stream = io.BytesIO()
    Image.new("L", (64, 64)).save(stream, "PNG")
    with pytest.raises(RadiographError):
        read_radiograph(stream.getvalue()[:-30])
    with room_for(MAX_PIXELS - 64 * 64):
        thread, done = reading(stream.getvalue())
        assert done.wait(60)
    thread.join(60)
