"""Damaged and hostile files: each gets one of three answers, in bounded time and memory.

Real JPEG, PNG, TIFF and DICOM files are mutated: bytes flipped, cut out, doubled, swapped with
another file's, fields overwritten by extreme numbers, ends cut off. 500 mutations run by default;
``PNEUMOSCOPE_FUZZ=20000`` runs as many as it says, ``PNEUMOSCOPE_FUZZ_SEED`` draws others.
"""

import io
import os
import resource
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumoscope.screening.screener import Screener

NUM_MUTATIONS = int(os.environ.get("PNEUMOSCOPE_FUZZ", "500"))
SEED = int(os.environ.get("PNEUMOSCOPE_FUZZ_SEED", "0"))
MAX_SECONDS = 20.0
"""For one file, on a busy machine; an honest film takes hundredths."""

MAX_GROWTH_MIB = 1500
"""Of the process over the whole run: a film at the limit of pixels and a copy or two of it."""

EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\1")


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def seeds(phantoms: Path) -> list[bytes]:
    """One file at least of every kind and encoding that is read."""
    from pydicom.data import get_testdata_file

    film = sorted((phantoms / "test").rglob("*.jpeg"))[0]
    grey = Image.open(film).convert("L")
    deep = Image.fromarray(np.asarray(grey, np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    found = [
        film.read_bytes(),
        saved(grey, "JPEG", progressive=True, exif=exif),
        saved(grey.convert("CMYK"), "JPEG"),
        saved(grey, "PNG"),
        saved(grey.convert("P"), "PNG"),
        saved(grey.convert("RGBA"), "PNG"),
        saved(deep, "PNG"),
        saved(deep, "TIFF"),
        saved(grey, "TIFF", compression="tiff_lzw"),
        saved(grey, "TIFF", compression="jpeg"),
    ]
    for name in (
        "CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_jpeg_gdcm.dcm",
        "image_dfl.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm",
    ):  # fmt: skip
        content = Path(get_testdata_file(name)).read_bytes()
        for before in (b"CS\2\0", b"CS\0\2", b"\x08\0\x60\0\2\0\0\0"):  # little, big, implicit
            for modality in (b"CT", b"MR"):
                content = content.replace(before + modality, before + b"CR")
        found.append(content)
    return found


def mutated(seeds: list[bytes], rng: np.random.Generator) -> bytes:
    content = bytearray(seeds[rng.integers(len(seeds))])
    for _ in range(rng.integers(1, 6)):
        size = len(content)
        if size < 8:
            break
        # Headers lie at the front, and damage there goes deepest.
        reach = size if rng.random() < 0.5 else min(size, 1500)
        at = int(rng.integers(reach))
        length = int(rng.integers(1, 64))
        match rng.integers(8):
            case 0:
                content[at] ^= 1 << int(rng.integers(8))
            case 1:
                content[at : at + length] = rng.bytes(length)
            case 2:
                del content[at : at + length]
            case 3:
                content[at:at] = content[at : at + length]
            case 4:
                content[at : at + 4] = EXTREMES[rng.integers(len(EXTREMES))]
            case 5:
                del content[at:]
            case 6:
                other = seeds[rng.integers(len(seeds))]
                content[at : at + length] = other[at : at + length]
            case 7:
                content[at:at] = seeds[rng.integers(len(seeds))][:length]
    return bytes(content)


def peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def test_mutations(seeds: list[bytes]) -> None:
    screener = Screener.load()
    assert "error" not in {screener.screen(seed).status for seed in seeds}
    before = peak_mib()
    counts = {"ok": 0, "abstained": 0, "error": 0}
    for number in range(NUM_MUTATIONS):
        content = mutated(seeds, np.random.default_rng([SEED, number]))
        start = time.perf_counter()
        try:
            screening = screener.screen(content)
        except BaseException as error:
            pytest.fail(f"mutation {number} of seed {SEED} raised {error!r}")
        took_s = time.perf_counter() - start
        counts[screening.status] += 1
        assert took_s < MAX_SECONDS, f"mutation {number} of seed {SEED} took {took_s:.0f} s"
        if screening.status == "error":
            assert screening.error
            assert screening.error.isprintable(), f"mutation {number} of seed {SEED}"
            # An exception that no reader foresaw is caught, and would be a fault of the reader.
            assert "cannot be read here" not in screening.error, f"mutation {number} of seed {SEED}"
    print(f"{NUM_MUTATIONS} mutations: {counts}; memory grew by {peak_mib() - before:.0f} MiB")
    assert min(counts["error"], counts["ok"] + counts["abstained"]) > NUM_MUTATIONS // 50
    assert peak_mib() - before < MAX_GROWTH_MIB


def test_mutated_archives(seeds: list[bytes], tmp_path: Path) -> None:
    """Each archive, and each entry of one that opens, gets its line."""
    screener = Screener.load()
    archives = []
    for packing in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", packing) as archive:
            for number, seed in enumerate(seeds[:4]):
                archive.writestr(f"a/{number}.jpeg" if number else "IM0001", seed)
        archives.append(stream.getvalue())
    counts = {"ok": 0, "abstained": 0, "error": 0}
    for number in range(NUM_MUTATIONS // 5):
        rng = np.random.default_rng([SEED, number, 1])
        content = bytearray(archives[number % len(archives)])
        for _ in range(rng.integers(1, 5)):
            # Headers of entries lie anywhere, the list of entries at the end.
            reach = len(content) if rng.random() < 0.5 else 400
            content[-int(rng.integers(1, reach))] = rng.integers(256)
        path = tmp_path / f"{number}.zip"
        path.write_bytes(content)
        answers = list(screener.screen_many([path]))
        assert answers
        for screening in answers:
            counts[screening.status] += 1
            assert "cannot be read here" not in (screening.error or ""), f"mutation {number}"
    print(f"{NUM_MUTATIONS // 5} archives: {counts}")
    assert min(counts["error"], counts["ok"] + counts["abstained"]) > NUM_MUTATIONS // 50


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_things_that_are_no_files(tmp_path: Path, seeds: list[bytes]) -> None:
    good = tmp_path / "good.jpeg"
    good.write_bytes(seeds[0])
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to(good)
    (tmp_path / "zero").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    with zipfile.ZipFile(tmp_path / "film.zip", "w") as archive:
        archive.writestr("a.txt", "no film")
    polyglot = seeds[0] + (tmp_path / "film.zip").read_bytes()
    (tmp_path / "polyglot.jpeg").write_bytes(polyglot)
    for name in ("line\nend", 'quo"te', "кириллица", "图像", "a" * 255, "\x1b[31m"):
        (tmp_path / name).write_bytes(seeds[0])
    screener = Screener.load(gate=False)
    vanishing = iter([good, tmp_path / "gone.jpeg"])
    expected = {"loop", "dangling", "zero", "pipe", "film.zip"}
    for screening in screener.screen_many(sorted(tmp_path.iterdir())):
        is_bad = Path(screening.path).name in expected
        assert screening.status == ("error" if is_bad else "ok"), screening
        assert screening.error is None or screening.error.isprintable()
    assert [s.status for s in screener.screen_many(vanishing)] == ["ok", "error"]
    for path in ("/dev/zero", str(tmp_path), "a\0b", "", "x" * 5000):
        assert screener.screen(path).status == "error"


def test_bombs(tmp_path: Path) -> None:
    """Small files that ask for gigabytes: refused from their headers, in no time."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**7)))
    )
    text = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0))
    text += chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(10**9), 9)) + chunk(b"IEND", b"")
    screener = Screener.load()
    before = peak_mib()
    start = time.perf_counter()
    for content in (png, text):
        assert screener.screen(content).status == "error"
    assert peak_mib() - before < 300
    assert time.perf_counter() - start < MAX_SECONDS
