"""Reading JPEG, PNG and TIFF, and refusing everything else by name."""

import io
import os
import random
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from pneumoscope.data import decoding, radiograph
from pneumoscope.data.radiograph import COLOUR_WARNING, read_radiograph, sniff_format
from pneumoscope.errors import RadiographError

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def smooth(height_px: int = 40, width_px: int = 56) -> np.ndarray:
    """A picture that JPEG reproduces within a level or two."""
    return np.add.outer(np.arange(height_px) * 2, np.arange(width_px) * 2).astype(np.uint8)


class TestGrey:
    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_8_bit_comes_back_exactly(self, kind: str) -> None:
        film = read_radiograph(encoded(Image.fromarray(RAMP), kind))
        assert film.pixels.dtype == np.uint8
        np.testing.assert_array_equal(film.pixels, RAMP)
        assert (film.height_px, film.width_px) == (6, 8)
        assert (film.source_format, film.bits, film.warnings) == (kind, 8, ())

    def test_jpeg(self) -> None:
        film = read_radiograph(encoded(Image.fromarray(smooth()), "JPEG", quality=100))
        assert (film.source_format, film.bits) == ("JPEG", 8)
        assert np.abs(film.pixels.astype(int) - smooth()).max() <= 1

    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_16_bit_keeps_its_scale_whatever_its_maximum(self, kind: str) -> None:
        dark = np.array([[0, 1], [257, 4000]], np.uint16)
        film = read_radiograph(encoded(Image.fromarray(dark), kind))
        assert film.pixels.dtype == np.uint16
        np.testing.assert_array_equal(film.pixels, dark)
        assert film.bits == 16

    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_1_bit_is_black_and_white(self, kind: str) -> None:
        film = read_radiograph(encoded(Image.fromarray(RAMP > 100), kind))
        np.testing.assert_array_equal(film.pixels, np.where(RAMP > 100, 255, 0))
        assert film.bits == 1

    def test_12_bit_tiff_is_stretched_to_16(self) -> None:
        # Two 12-bit samples, 0x800 and 0xFFF, packed into three bytes.
        film = read_radiograph(tiff(2, 1, 12, b"\x80\x0f\xff", photometric=1))
        assert film.bits == 12
        assert film.pixels.tolist() == [[round(0x800 * 65535 / 4095), 65535]]

    @pytest.mark.parametrize(("photometric", "expected"), [(1, [0, 65535]), (0, [65535, 0])])
    def test_16_bit_tiff_white_is_zero(self, photometric: int, expected: list[int]) -> None:
        film = read_radiograph(tiff(2, 1, 16, b"\x00\x00\xff\xff", photometric=photometric))
        assert film.pixels.tolist() == [expected]

    def test_8_bit_tiff_white_is_zero(self) -> None:
        film = read_radiograph(tiff(2, 1, 8, b"\x00\xff", photometric=0))
        assert film.pixels.tolist() == [[255, 0]]

    def test_32_bit_is_refused(self) -> None:
        with pytest.raises(RadiographError, match="samples of an unusual kind"):
            read_radiograph(encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"))


def tiff(width: int, height: int, bits: int, data: bytes, photometric: int) -> bytes:
    """A little-endian TIFF of one strip, as TIFF 6.0 section 2 lays it out."""
    entries = [
        (256, width),
        (257, height),
        (258, bits),
        (259, 1),
        (262, photometric),
        (273, 8),
        (277, 1),
        (278, height),
        (279, len(data)),
    ]
    data += b"\0" * (-len(data) % 2)
    ifd = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    header = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    return header + data + struct.pack("<H", len(entries)) + ifd + struct.pack("<I", 0)


class TestColour:
    def test_luma_is_itu_r_601(self) -> None:
        rgb = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
        film = read_radiograph(encoded(Image.fromarray(rgb), "PNG"))
        assert film.pixels.tolist() == [[76, 150, 29]]  # 255 times .299, .587, .114
        assert film.warnings == (COLOUR_WARNING,)

    @pytest.mark.parametrize("mode", ["RGB", "CMYK", "P", "RGBA", "LA"])
    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_grey_in_any_mode_stays_grey_and_silent(self, mode: str, kind: str) -> None:
        if (mode, kind) == ("CMYK", "PNG"):
            pytest.skip("PNG has no CMYK")
        film = read_radiograph(encoded(Image.fromarray(RAMP).convert(mode), kind))
        np.testing.assert_array_equal(film.pixels, RAMP)
        assert film.warnings == ()

    def test_colour_jpeg_of_a_grey_film_is_silent(self) -> None:
        film = read_radiograph(encoded(Image.fromarray(smooth()).convert("RGB"), "JPEG"))
        assert film.warnings == ()

    def test_transparency_is_laid_on_black(self) -> None:
        rgba = np.zeros((1, 3, 4), np.uint8)
        rgba[0, :, :3] = 200
        rgba[0, :, 3] = [255, 0, 128]
        film = read_radiograph(encoded(Image.fromarray(rgba), "PNG"))
        assert film.pixels.tolist() == [[200, 0, 100]]
        assert film.warnings == ("has transparent parts; they were laid on black",)


class TestOrientation:
    @pytest.mark.parametrize(
        ("orientation", "undo"),
        [(3, lambda a: a[::-1, ::-1]), (6, lambda a: np.rot90(a, 1)), (2, lambda a: a[:, ::-1])],
    )
    def test_exif_orientation_is_applied(self, orientation: int, undo: Any) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = Image.fromarray(np.ascontiguousarray(undo(RAMP)))
        film = read_radiograph(encoded(stored, "PNG", exif=exif))
        np.testing.assert_array_equal(film.pixels, RAMP)

    def test_damaged_exif_costs_only_a_warning(self) -> None:
        content = encoded(
            Image.fromarray(smooth()), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"
        )
        film = read_radiograph(content)
        assert film.pixels.shape == (40, 56)
        assert any("EXIF" in warning or "metadata" in warning for warning in film.warnings)


class TestFiles:
    def test_the_name_says_nothing_about_the_kind(self, tmp_path: Path) -> None:
        path = tmp_path / "film.dcm"
        path.write_bytes(encoded(Image.fromarray(RAMP), "PNG"))
        assert read_radiograph(path).source_format == "PNG"
        assert read_radiograph(str(path)).source_format == "PNG"

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "no bytes at all"),
            (b"Dear colleague,\nplease find enclosed", "text"),
            (b"%PDF-1.7\n", "a PDF document"),
            (b"GIF89a\x01\x00", "a GIF image"),
            (b"PK\x03\x04", "a ZIP archive"),
            (bytes(range(256)), "data of an unknown kind"),
        ],
    )
    def test_other_kinds_are_named(self, tmp_path: Path, content: bytes, reason: str) -> None:
        path = tmp_path / "film.jpeg"
        path.write_bytes(content)
        with pytest.raises(RadiographError) as caught:
            read_radiograph(path)
        assert str(caught.value) == (
            f"{path}: holds {reason}, expected a JPEG, PNG, TIFF or DICOM image"
        )

    def test_missing_folder_and_pipe(self, tmp_path: Path) -> None:
        with pytest.raises(RadiographError, match=r"none\.png: no such file"):
            read_radiograph(tmp_path / "none.png")
        with pytest.raises(RadiographError, match="is a folder, expected one image file"):
            read_radiograph(tmp_path)
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(RadiographError, match="is not a regular file"):
            read_radiograph(tmp_path / "pipe")
        with pytest.raises(RadiographError, match="cannot be opened"):
            read_radiograph("a\0b.png")

    def test_no_permission(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "film.png"
        path.write_bytes(b"x")

        def refuse(self: Path, *args: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)  # root may read everything
        with pytest.raises(RadiographError, match="not readable for this user"):
            read_radiograph(path)

    def test_the_message_stays_on_one_line(self, tmp_path: Path) -> None:
        path = tmp_path / "two\nlines\x1b[31m.png"
        path.write_bytes(b"no film")
        with pytest.raises(RadiographError) as caught:
            read_radiograph(path)
        assert "\n" not in str(caught.value)
        assert r"two\nlines\x1b[31m.png: holds text" in str(caught.value)


class TestLimits:
    def test_too_many_bytes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(radiograph, "MAX_FILE_BYTES", 100)
        path = tmp_path / "film.png"
        path.write_bytes(encoded(Image.fromarray(smooth()), "PNG") + bytes(100))
        for source in (path, path.read_bytes()):
            with pytest.raises(RadiographError, match="more than the 100 bytes"):
                read_radiograph(source)

    @pytest.mark.parametrize("side_px", [8193, 65535])  # under and over Pillow's own limit
    def test_too_many_pixels_are_refused_before_decoding(self, side_px: int) -> None:
        header = struct.pack(">IIBBBBB", side_px, side_px, 8, 0, 0, 0, 0)
        content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"\0")
        with pytest.raises(RadiographError, match="more than the 67,108,864 pixels"):
            read_radiograph(content)

    def test_several_pages_are_refused(self) -> None:
        page = Image.fromarray(RAMP)
        for kind in ("TIFF", "PNG"):
            content = encoded(page, kind, save_all=True, append_images=[page.rotate(180)])
            with pytest.raises(RadiographError, match="holds several frames or pages"):
                read_radiograph(content)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


class TestDamage:
    def test_pillow_is_never_told_to_fill_up(self) -> None:
        read_radiograph(encoded(Image.fromarray(RAMP), "PNG"))
        assert ImageFile.LOAD_TRUNCATED_IMAGES is False

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
    @pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.99])
    def test_truncated(self, kind: str, kept: float) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
        content = encoded(Image.fromarray(noise), kind)
        with pytest.raises(RadiographError, match=f"a damaged or truncated {kind} file"):
            read_radiograph(content[: int(len(content) * kept)])

    def test_no_other_exception_for_hundreds_of_mutations(self) -> None:
        picture = Image.fromarray(smooth())
        sources = [
            encoded(picture, "JPEG"),
            encoded(picture.convert("RGB"), "JPEG", progressive=True),
            encoded(picture, "PNG"),
            encoded(picture.convert("P"), "PNG"),
            encoded(picture.convert("RGBA"), "PNG"),
            encoded(picture, "TIFF"),
        ]
        outcomes = [outcome(mutated(sources, seed)) for seed in range(600)]
        assert outcomes.count("read") > 50
        assert outcomes.count("refused") > 200


def mutated(sources: list[bytes], seed: int) -> bytes:
    """One of the sources, cut short, with a piece left out, or with bytes changed."""
    rng = random.Random(seed)
    content = bytearray(rng.choice(sources))
    at = rng.randrange(len(content))
    if (way := rng.random()) < 0.2:
        del content[at:]
    elif way < 0.3:
        del content[at : at + rng.randrange(1, 60)]
    else:
        near_the_start = rng.random() < 0.5
        for _ in range(rng.choice([1, 3, 20])):
            place = rng.randrange(min(len(content), 400) if near_the_start else len(content))
            content[place] = rng.choice([0, 255, rng.randrange(256)])
    return bytes(content)


def outcome(content: bytes) -> str:
    message = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none may leave the reader
        try:
            film = read_radiograph(content)
        except RadiographError as error:
            message = str(error)
    if message is None:
        assert film.pixels.ndim == 2
        assert film.pixels.dtype in (np.uint8, np.uint16)
        return "read"
    assert message.startswith("<bytes>: ")
    assert "\n" not in message
    return "refused"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"II*\0", "TIFF"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"\x08\x00\x05\x00CS", "DICOM"),
        (b"\x02\x00\x00\x00UL", "DICOM"),
    ],
)
def test_sniff_format(content: bytes, kind: str) -> None:
    assert sniff_format(content) == kind


def test_warnings_of_decoders_are_put_in_our_words() -> None:
    with decoding.decoding("TIFF") as notes:
        warnings.warn("Truncated File Read of John Doe", stacklevel=1)
        warnings.warn("something else about John Doe", stacklevel=1)
    assert notes == ["has metadata that are cut short"]


def test_warnings_of_other_threads_are_shown() -> None:
    def warn_in_another_thread() -> None:
        thread = threading.Thread(target=warnings.warn, args=("theirs",))
        thread.start()
        thread.join()

    with pytest.warns(UserWarning, match="theirs"), decoding.decoding("PNG") as notes:
        warn_in_another_thread()
    assert notes == []


def test_threads_keep_their_own_warnings() -> None:
    inside, filters = threading.Barrier(8), list(warnings.filters)

    def decode(number: int) -> list[str]:
        with decoding.decoding("TIFF") as notes:
            inside.wait()  # all eight at once
            if number % 2:
                warnings.warn("Truncated File Read", stacklevel=1)
            inside.wait()
        return notes

    with ThreadPoolExecutor(8) as pool:
        notes = list(pool.map(decode, range(8)))
    assert notes == [[], ["has metadata that are cut short"]] * 4
    assert warnings.filters == filters


def test_films_of_the_data_set(shared_dir: Path) -> None:
    film = read_radiograph(shared_dir / "data/chest_xray/test/NORMAL/IM-0001-0001.jpeg")
    assert (film.pixels.shape, film.bits, film.warnings) == ((224, 224), 8, ())
    name = "person14_bacteria_51.jpeg"  # stored as colour, with equal channels
    film = read_radiograph(shared_dir / "data/original_resolution/PNEUMONIA" / name)
    assert (film.pixels.shape, film.warnings) == ((663, 981), ())
