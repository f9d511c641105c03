"""Reads state dicts that strangers saved, in PyTorch's formats or safetensors, never as code.

A PyTorch file is a pickle, and an ordinary pickle runs whatever its author wrote. Here it is
read by torch's restricted unpickler alone (``weights_only=True``), which builds tensors and
plain values and calls nothing else. A file that needs more is refused; there is no second way.
"""

import math
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import torch
from safetensors.torch import load_file
from torch import Tensor

from pneumoscope.errors import UsageError, WeightsError
from pneumoscope.models.npz_archive import quoted

WRAPPERS = (
    "state_dict", "model_state_dict", "model", "network", "net", "weights",
    "state_dict_ema", "ema_state_dict", "model_ema", "ema",
)  # fmt: skip
"""Entries of a checkpoint under which training programs keep the network's state dict."""

PREFIXES = ("module.", "_orig_mod.", "network.", "model.")
"""What DataParallel, ``torch.compile`` and training programs put before every key."""

_EXPECTED = "expected a PyTorch state dict or a safetensors file"
_SAFE_WAY = (
    "on a machine where you trust the file, with the code that made it, save the weights alone, "
    "with torch.save(model.state_dict(), 'weights.pth') or "
    "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors'), and bring that file"
)
_TORCH_PICKLE = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files of ``torch.save`` start that are no zip archives: a magic number, pickled."""

_WANTED_GLOBAL = re.compile(r"GLOBAL (.{1,200}?) (?:was not an allowed global|whose module)")
_MAX_HEADER_BYTES = 100_000_000  # of safetensors, by its specification
_MAX_NESTING = 4
_KINDS = (
    (b"\x80", "is a bare pickle, which could run code and was not opened", _SAFE_WAY),
    (b"\x93NUMPY", "is a single numpy array (.npy)", "look where it comes from"),
    (b"\x89HDF", "is an HDF5 file, as Keras writes", "look where it comes from"),
    (b"\x1f\x8b", "is compressed by gzip", "unpack it first"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself", "get the file"),
)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Returns the tensors of a checkpoint by name, on the CPU, in the precision of the file.

    What the file is, is read from its content and not from its name: a zip archive of
    ``torch.save``, the older format of one pickle after another, or safetensors. The state dict
    may be the whole file or lie under one of :data:`WRAPPERS` (also nested); of two there, none
    is chosen. Then each of :data:`PREFIXES` that stands before all keys is taken away, as often
    as it does, and so is ``n_averaged``, the counter of torch's ``AveragedModel``.

    Raises:
        UsageError: there is no such file.
        WeightsError: it is not a whole state dict of finite numbers, holds several, or needs
            more than tensors and plain values to be read.
    """
    path = Path(path)
    try:
        stream = path.open("rb")
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {path}; {_EXPECTED}") from error
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    with stream:
        found = _read(path, stream)
    tensors = _without_prefixes(_unwrapped(path, found))
    for key, tensor in tensors.items():
        _check_tensor(path, key, tensor)
    return {key: tensor.detach() for key, tensor in tensors.items()}


def _read(path: Path, stream: BinaryIO) -> Any:
    """Returns what a file holds, by the reader that its first bytes ask for."""
    start = stream.read(512)
    header_bytes = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and header_bytes <= _MAX_HEADER_BYTES:
        try:
            return load_file(path)
        except Exception as error:  # damaged headers raise more than SafetensorError
            raise _damaged(path, "safetensors file", error) from error
    stream.seek(0)
    if start.startswith(b"PK\x03\x04"):
        _check_zip(path, stream)
        return _read_torch(path, stream)
    if start.startswith(_TORCH_PICKLE):
        return _read_torch(path, stream)
    raise _foreign(path, start)


def _foreign(path: Path, start: bytes) -> WeightsError:
    """Returns the refusal of a file that starts as no checkpoint does."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    found, advice = f"is no checkpoint (it starts with {start[:8]!r})", "look where it comes from"
    if not start:
        found, advice = "is empty", "get it again"
    elif text.startswith(b"<"):
        found, advice = "is a web page (HTML or XML)", "get the file that the page is about"
    elif text.startswith(b"{"):
        found, advice = "is a JSON text", "get the file that it is about"
    elif start[257:262] == b"ustar":
        found, advice = "is a tar archive, as PyTorch wrote before 0.1.10", _SAFE_WAY
    else:
        for magic, *known in _KINDS:
            if start.startswith(magic):
                found, advice = known
    return WeightsError(f"{path} {found}; {_EXPECTED}; {advice}")


def _check_zip(path: Path, stream: BinaryIO) -> None:
    """Refuses an archive that is not one of ``torch.save``, or whose checksums do not hold.

    torch writes checksums but does not look at them. It stores and never compresses, so an
    archive cannot unfold to more than its own size.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            _check_members(path, archive.infolist())
            damaged = archive.testzip()
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        raise _damaged(path, "zip archive", error) from error
    stream.seek(0)
    if damaged:
        raise WeightsError(
            f"{path} is damaged: {quoted(damaged)} does not fit its checksum; get the file again"
        )


def _check_members(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuses an archive of another program, and says whose."""
    names = {PurePosixPath(member.filename).name for member in members}
    if "constants.pkl" in names:
        raise WeightsError(f"{path} is a TorchScript archive, which is a program; {_SAFE_WAY}")
    if any(name.endswith(".npy") for name in names):
        raise WeightsError(
            f"{path} is an .npz archive; {_EXPECTED}: Google's checkpoints need no conversion, a "
            "recipe names them as pretrained.weights"
        )
    if "data.pkl" not in names:
        raise WeightsError(f"{path} is a zip archive, but not one of torch.save; {_EXPECTED}")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise WeightsError(
            f"{path} is a compressed zip archive, and torch.save never compresses; {_EXPECTED}"
        )


def _read_torch(path: Path, stream: BinaryIO) -> Any:
    """Returns what ``torch.save`` wrote, as far as it is tensors and plain values."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about versions of the format
            # A stream and not the path: torch goes by the names of paths.
            return torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = _WANTED_GLOBAL.search(str(error))
        what = (
            f"asks for {quoted(wanted[1])}"
            if wanted
            else "is not in the pickle protocol of torch.save"
        )
        raise WeightsError(
            f"{path} holds more than tensors and plain values: it {what}, which could run code "
            f"and was not opened; {_SAFE_WAY}"
        ) from error
    except Exception as error:  # damaged files raise anything
        raise WeightsError(
            f"{path} is a truncated or damaged PyTorch file ({type(error).__name__}); get the "
            "file again"
        ) from error


def _damaged(path: Path, kind: str, error: Exception) -> WeightsError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return WeightsError(f"{path} is a truncated or damaged {kind} ({reason[:120]}); get it again")


def _unwrapped(path: Path, found: Any) -> dict[str, Tensor]:
    """Returns the state dict itself from what training programs put around it."""
    for _ in range(_MAX_NESTING):
        if not isinstance(found, Mapping) or not found:
            break
        if all(isinstance(value, Tensor) for value in found.values()):
            for key in found:
                if not isinstance(key, str):
                    raise WeightsError(f"{path} names a tensor {key!r:.80}; expected text as names")
            return dict(found)
        holders = [key for key in WRAPPERS if _has_tensors(found.get(key))]
        if len(holders) > 1:
            raise WeightsError(
                f"{path} holds several networks: {', '.join(map(quoted, holders))}; expected one; "
                "save the one that is meant alone"
            )
        if not holders:
            break
        found = found[holders[0]]
    raise WeightsError(
        f"{path} holds no state dict: {_contents(found)}; expected tensors by name, or those in an "
        "entry 'state_dict', 'model' or another that docs/pretrained-weights.md lists"
    )


def _has_tensors(value: Any, depth: int = _MAX_NESTING) -> bool:
    """Returns whether tensors are where :func:`_unwrapped` would find them.

    Only entries it could follow are looked at: a dict that holds itself many times would keep a
    wider search busy for ever.
    """
    if not isinstance(value, Mapping):
        return False
    if any(isinstance(item, Tensor) for item in value.values()):
        return True
    return depth > 0 and any(_has_tensors(value.get(key), depth - 1) for key in WRAPPERS)


def _contents(found: Any) -> str:
    """Returns in words what is there instead of tensors by name."""
    if not isinstance(found, Mapping):
        return f"it is of type {type(found).__name__}"
    others = [key for key, value in found.items() if not isinstance(value, Tensor)]
    if not others:
        return "it is empty"
    shown = ", ".join(quoted(str(key)) for key in others[:5]) + (", ..." if others[5:] else "")
    return f"there {'is' if len(others) == 1 else 'are'} {shown}"


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    tensors = {key: value for key, value in tensors.items() if key != "n_averaged"}
    while prefix := next((p for p in PREFIXES if _all_start_with(tensors, p)), None):
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors


def _all_start_with(tensors: Mapping[str, Tensor], prefix: str) -> bool:
    return bool(tensors) and all(k.startswith(prefix) and k != prefix for k in tensors)


def _check_tensor(path: Path, key: str, tensor: Tensor) -> None:
    """Refuses what is no dense tensor of finite numbers that the file really holds."""
    where = f"{path}: {quoted(key)}"
    is_plain = tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_nested)
    if not is_plain or tensor.device.type != "cpu":
        raise WeightsError(
            f"{where} is a sparse, quantized or empty tensor; expected plain numbers"
        )
    if tensor.dtype not in (
        torch.float64, torch.float32, torch.float16, torch.bfloat16,
        torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
    ):  # fmt: skip
        raise WeightsError(f"{where} is of {tensor.dtype}; expected float32, float16 or bfloat16")
    # Strides of zero let a few bytes stand for any number of values.
    if math.prod(tensor.shape) * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise WeightsError(
            f"{where} declares {tuple(tensor.shape)!s:.80}, more values than the file holds; get "
            "the file again"
        )
    if not torch.isfinite(tensor).all():
        raise WeightsError(f"{where} holds values that are not finite numbers; get the file again")
