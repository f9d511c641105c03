"""GDCM in a process of its own: the same pixels, and films after it ended."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels import pixel_array

from pneumoscope.data import apart
from pneumoscope.data.apart import decode_apart
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.errors import RadiographError

LOSSLESS = "SC_rgb_jpeg_gdcm.dcm"


def film(folder: Path) -> Path:
    """A real file in lossless JPEG, which GDCM alone decodes."""
    dataset = dcmread(get_testdata_file(LOSSLESS))
    path = folder / "film.dcm"
    dataset.save_as(path)
    return path


def test_the_pixels_are_gdcms() -> None:
    dataset = dcmread(get_testdata_file(LOSSLESS))
    expected = pixel_array(dataset, decoding_plugin="gdcm")
    found = decode_apart(dataset, correct_unused_bits=True)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_films_are_read_after_it_ended(tmp_path: Path) -> None:
    path = film(tmp_path)
    before = read_radiograph(path).pixels
    assert apart._server is not None
    first = apart._server.pid
    os.kill(first, signal.SIGABRT)
    apart._server.wait()
    np.testing.assert_array_equal(read_radiograph(path).pixels, before)
    assert apart._server.pid != first


def test_what_ends_it_is_one_damaged_film(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = dcmread(get_testdata_file(LOSSLESS))
    decode_apart(dataset, correct_unused_bits=True)
    send = apart._send

    def killed_meanwhile(stream, content):  # type: ignore[no-untyped-def]
        send(stream, content)
        assert apart._server is not None
        apart._server.send_signal(signal.SIGSTOP)
        apart._server.kill()

    monkeypatch.setattr(apart, "_send", killed_meanwhile)
    with pytest.raises(RadiographError, match="has damaged or truncated image data"):
        decode_apart(dataset, correct_unused_bits=True)
    monkeypatch.undo()
    assert decode_apart(dataset, correct_unused_bits=True).size


def test_a_frame_that_it_refuses() -> None:
    dataset = dcmread(get_testdata_file(LOSSLESS))
    dataset.Rows = 7
    with pytest.raises(RadiographError, match="has damaged or truncated image data"):
        decode_apart(dataset, correct_unused_bits=True)


def test_from_several_threads(tmp_path: Path) -> None:
    path = film(tmp_path)
    expected = read_radiograph(path).pixels
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(read_radiograph, [path] * 12):
            np.testing.assert_array_equal(found.pixels, expected)
