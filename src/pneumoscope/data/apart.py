"""GDCM in a process of its own: on damaged streams it may end the process that it runs in.

A request is a JSON line with the elements that say how pixels are stored, then the compressed
frame; the answer is an array in NumPy's format. ``python -m pneumoscope.data.apart`` serves
requests from standard input until that is closed. No pickle is involved.
"""

import contextlib
import io
import json
import struct
import subprocess
import sys
import threading
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, get_frame

from pneumoscope.errors import RadiographError

_ELEMENTS = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)
_SIZE = struct.Struct("<Q")

_lock = threading.Lock()
_server: "subprocess.Popen[bytes] | None" = None


def decode_apart(dataset: Dataset, *, correct_unused_bits: bool) -> NDArray[Any]:
    """Returns the stored values of a dataset of one frame, decoded by GDCM elsewhere.

    One film at a time, from any thread. The process is started once, and again after it ended.

    Args:
        dataset: with pixel data and transfer syntax.
        correct_unused_bits: clear bits that are not stored.

    Raises:
        RadiographError: GDCM cannot decode it, or ended its process.
    """
    global _server
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    elements = {name: dataset[name].value for name in _ELEMENTS if name in dataset}
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    asked = {"syntax": syntax, "elements": elements, "correct_unused_bits": correct_unused_bits}
    request = json.dumps(asked, default=str)
    with _lock:
        try:
            if _server is None or _server.poll() is not None:
                _server = _started()
            assert _server.stdin is not None
            assert _server.stdout is not None
            _send(_server.stdin, request.encode())
            _send(_server.stdin, frame)
            answer = _received(_server.stdout)
        except OSError:
            answer = None
        if answer is None and _server is not None:
            _server.kill()
            _server.wait()
            _server = None
    if not answer:
        raise RadiographError("has damaged or truncated image data; copy or export it again")
    values: NDArray[Any] = np.load(io.BytesIO(answer), allow_pickle=False)
    return values


def _started() -> "subprocess.Popen[bytes]":
    # Its remarks about damaged streams go nowhere.
    return subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _send(stream: IO[bytes], content: bytes) -> None:
    stream.write(_SIZE.pack(len(content)))
    stream.write(content)
    stream.flush()


def _received(stream: IO[bytes]) -> bytes | None:
    """Returns what was sent, ``None`` where the sender ended before."""
    head = stream.read(_SIZE.size)
    if len(head) < _SIZE.size:
        return None
    (size,) = _SIZE.unpack(head)
    content = stream.read(size)
    return content if len(content) == size else None


def _decoded(request: bytes, frame: bytes) -> bytes:
    from pydicom.pixels import pixel_array  # type: ignore[attr-defined]

    asked = json.loads(request)
    dataset = Dataset()
    for name, value in asked["elements"].items():
        setattr(dataset, name, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = asked["syntax"]
    dataset.PixelData = encapsulate([frame])
    stream = io.BytesIO()
    correct = asked["correct_unused_bits"]
    values = pixel_array(dataset, index=0, decoding_plugin="gdcm", correct_unused_bits=correct)
    np.save(stream, values.astype(values.dtype.newbyteorder("="), copy=False))
    return stream.getvalue()


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answers requests until there are none; one that fails is answered by nothing at all."""
    while (request := _received(requests)) is not None:
        frame = _received(requests)
        if frame is None:
            return
        answer = b""
        with contextlib.suppress(Exception):
            answer = _decoded(request, frame)
        _send(answers, answer)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        serve(sys.stdin.buffer, sys.stdout.buffer)
