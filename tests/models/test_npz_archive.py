import hashlib
import io
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from pneumoscope.errors import UsageError, WeightsError
from pneumoscope.models.npz_archive import open_npz


def npy_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=array.dtype.hasobject)
    return stream.getvalue()


def declared(shape: str, descr: str = "'<f4'", content: bytes = b"\0" * 16) -> bytes:
    """An array whose header says whatever the test wants it to say."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def write_zip(path: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression=method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def refusal(path: Path) -> str:
    def read_all() -> None:
        with open_npz(path) as archive:
            for name in archive.headers:
                archive.read(name)

    with pytest.raises(WeightsError) as caught:
        read_all()
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_reads_stored_and_compressed_arrays(tmp_path, save):
    path = tmp_path / "plain.npz"
    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    b = np.asfortranarray(a)
    save(path, **{"x/kernel": a, "y/kernel": b, "scalar": np.float64(2.5)})
    with open_npz(path) as archive:
        assert {name: header.shape for name, header in archive.headers.items()} == {
            "x/kernel": (3, 4),
            "y/kernel": (3, 4),
            "scalar": (),
        }
        np.testing.assert_array_equal(archive.read("x/kernel"), a)
        np.testing.assert_array_equal(archive.read("y/kernel"), a)
        assert archive.read("scalar") == 2.5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html><body>404 Not Found</body></html>", "web page"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "web page"),
        (b'{"error": "rate limited"}', "JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS"),
        (npy_bytes(np.zeros(3)), "single array"),
        (pickle.dumps({"cls": 1}), "is a pickle, which could run code"),
        (b"GIF89a", "no zip archive"),
        (b"PK\x03\x04 and nothing that follows", "truncated or damaged"),
    ],
)
def test_names_what_is_not_an_archive(tmp_path, content, words):
    path = tmp_path / "ViT-B_16.npz"
    path.write_bytes(content)
    assert words in refusal(path)


def test_a_path_that_is_not_there(tmp_path):
    with (
        pytest.raises(UsageError, match=r"there is no file .*missing\.npz"),
        open_npz(tmp_path / "missing.npz"),
    ):
        pass


def test_a_folder_is_refused(tmp_path):
    assert "cannot read" in refusal(tmp_path)


class TouchesAFile:
    """Unpickling it leaves a mark on the disk."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_a_malicious_pickle_never_runs(tmp_path):
    mark = tmp_path / "it-ran"
    attack = TouchesAFile(mark)
    pickle.loads(pickle.dumps(attack))
    assert mark.exists(), "the attack itself must work, or this test proves nothing"
    mark.unlink()

    arrays = tmp_path / "arrays.npz"
    np.savez(arrays, cls=np.array([attack], dtype=object))
    assert "'cls' holds pickled Python objects" in refusal(arrays)

    nested = tmp_path / "nested.npz"
    np.savez(nested, cls=np.array([(1.0, attack)], dtype=[("a", "<f4"), ("b", object)]))
    assert "'cls' holds pickled Python objects" in refusal(nested)

    bare = tmp_path / "bare.npz"
    bare.write_bytes(pickle.dumps(attack))
    assert "is a pickle" in refusal(bare)

    checkpoint = tmp_path / "checkpoint.npz"
    torch.save(attack, checkpoint)
    assert "data.pkl', a pickle, which could run code" in refusal(checkpoint)
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_names_are_refused(tmp_path):
    path = write_zip(
        tmp_path / "twice.npz",
        ("cls.npy", npy_bytes(np.zeros(3))),
        ("cls.npy", npy_bytes(np.ones(3))),
    )
    assert "'cls' twice" in refusal(path)


def test_members_that_are_no_arrays_are_refused(tmp_path):
    path = write_zip(tmp_path / "x.npz", ("readme\n.txt", b"hello"))
    assert r"holds 'readme\n.txt', no array" in refusal(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression_is_refused(tmp_path, method):
    path = write_zip(tmp_path / "x.npz", ("cls.npy", npy_bytes(np.zeros(3))), method=method)
    assert f"compressed by method {method}" in refusal(path)


def test_too_many_members_are_refused(tmp_path):
    path = write_zip(tmp_path / "x.npz", *((f"{i}.npy", b"") for i in range(4097)))
    assert "holds 4097 members" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        declared("(1000000000, 1000000000)"),
        declared(f"({'9' * 4000},)"),
        declared("(-4,)"),
        declared(f"({'9' * 4000},)", descr="'|V0'", content=b""),
        declared("(0,)", content=b""),
        declared("(5,)"),
        declared("(3,)"),
        declared("(" + "1," * 3000 + ")", content=b"\0" * 8),
    ],
)
def test_shapes_that_the_data_does_not_bear_out_are_refused(tmp_path, content):
    message = refusal(write_zip(tmp_path / "x.npz", ("cls.npy", content)))
    assert "'cls' declares" in message
    assert len(message) < 400


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an array",
        b"\x93NUMPY\x09\x00" + b"\0" * 64,
        declared("(4,)", descr="'no such type'"),
        declared("(4,)", descr="()"),
        declared("(4,)", descr="__import__('os')"),
        declared("(4,)", descr="-" * 5000 + "1"),
        declared("(4,)", descr="(" * 5000),
        declared("(4,)", descr="' " + "x" * 20000 + "'"),
    ],
)
def test_broken_headers_are_refused(tmp_path, content):
    assert "the header of 'cls'" in refusal(write_zip(tmp_path / "x.npz", ("cls.npy", content)))


def test_bombs_cost_no_memory(tmp_path):
    """64 MiB of zeros behind a header that claims to be 4 GiB long, or a shape of 64 MiB."""
    zeros = bytes(64 * 2**20)
    claims = (
        b"\x93NUMPY\x02\x00" + struct.pack("<I", 0xFFFFFFFF) + zeros,
        declared(f"({len(zeros) // 4 + 1},)", content=zeros),
    )
    for i, content in enumerate(claims):
        path = write_zip(tmp_path / f"{i}.npz", ("cls.npy", content), method=zipfile.ZIP_DEFLATED)
        tracemalloc.start()
        try:
            assert "'cls'" in refusal(path)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak_bytes < 2**20


def test_a_changed_byte_is_noticed(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, cls=np.arange(1000, dtype=np.float32))
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    assert "truncated or damaged at 'cls' (Bad CRC-32" in refusal(path)


def test_every_truncation_is_noticed(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, cls=np.arange(100, dtype=np.float32), head=np.ones(7, np.float32))
    content = path.read_bytes()
    for length in range(4, len(content), 13):
        path.write_bytes(content[:length])
        assert "truncated or damaged" in refusal(path)


def test_hash_is_that_of_the_file(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, cls=np.ones(3))
    with open_npz(path) as archive:
        archive.read("cls")
        assert archive.sha256() == hashlib.sha256(path.read_bytes()).hexdigest()
        np.testing.assert_array_equal(archive.read("cls"), np.ones(3))


def test_inspecting_a_file_imports_no_torch():
    code = (
        "import sys, pneumoscope.models.npz_format; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
