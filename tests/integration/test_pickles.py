"""A malicious pickle, by every name and through every door: it never runs, and one line says so.

Each file is first opened as a careless program would open it, in a folder of its own, to show
that its code does run there.
"""

import ast
import io
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pneumoscope
from pneumoscope.bundle import open_bundle, seal_bundle, shipped_bundles
from pneumoscope.cli import main
from pneumoscope.config import load_recipe
from pneumoscope.errors import BundleError, PneumoscopeError, RunFolderError
from pneumoscope.files import write_json
from pneumoscope.models.build import build_model
from pneumoscope.models.bundles import load_network
from pneumoscope.models.npz import load_npz
from pneumoscope.models.npz_format import inspect_npz
from pneumoscope.models.state_dicts import read_state_dict
from pneumoscope.training.checkpoint import load_state


class Malice:
    """Unpickling it makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def torch_zip(malice: Malice) -> bytes:
    return saved({"state_dict": {"head.weight": torch.ones(2)}, "extra": malice})


def torch_zip_with_another_pickle(malice: Malice) -> bytes:
    """A sound state dict whose pickle was exchanged afterwards, by protocol 4."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved({"head.weight": torch.ones(2)}))) as sound,
        zipfile.ZipFile(stream, "w") as crafted,
    ):
        for name in sound.namelist():
            is_pickle = name.endswith("data.pkl")
            crafted.writestr(name, pickle.dumps(malice, 4) if is_pickle else sound.read(name))
    return stream.getvalue()


def torch_legacy(malice: Malice) -> bytes:
    return saved({"head.weight": torch.ones(2), "extra": malice}, zipped=False)


def saved(value: Any, *, zipped: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def bare_pickle(malice: Malice) -> bytes:
    return pickle.dumps({"head.weight": malice}, 2)


def old_bare_pickle(malice: Malice) -> bytes:
    return pickle.dumps(malice, 0)


def array_of_objects(malice: Malice) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([malice], dtype=object), allow_pickle=True)
    return stream.getvalue()


def archive_of_objects(malice: Malice) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **{"cls": np.array([malice], dtype=object)})
    return stream.getvalue()


def run_by_torch(content: bytes) -> None:
    torch.load(io.BytesIO(content), weights_only=False)


def run_by_numpy(content: bytes) -> None:
    found = np.load(io.BytesIO(content), allow_pickle=True)
    if not isinstance(found, np.ndarray):
        found["cls"]


CONTENTS: dict[Callable[[Malice], bytes], Callable[[bytes], Any]] = {
    torch_zip: run_by_torch,
    torch_zip_with_another_pickle: run_by_torch,
    torch_legacy: run_by_torch,
    bare_pickle: pickle.loads,
    old_bare_pickle: pickle.loads,
    array_of_objects: run_by_numpy,
    archive_of_objects: run_by_numpy,
}
"""How each file is made, and the careless reader that it is made for."""


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """What is there once malicious code has run."""
    return tmp_path / "marker"


@pytest.fixture(params=CONTENTS, ids=lambda make: make.__name__)
def content(request: pytest.FixtureRequest, marker: Path) -> bytes:
    """A malicious file, which ran once already, as a control."""
    made: bytes = request.param(Malice(marker))
    CONTENTS[request.param](made)
    assert marker.is_dir()
    marker.rmdir()
    return made


def assert_one_line(error: pytest.ExceptionInfo[PneumoscopeError], path: Path) -> None:
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["weights.pth", "weights.npz", "weights.npy", "w.safetensors"])
class TestWeights:
    @pytest.mark.parametrize(
        "read",
        [
            read_state_dict,
            inspect_npz,
            lambda path: load_npz(build_model("vit_ti16", img_size=32), path),
        ],
        ids=["read_state_dict", "inspect_npz", "load_npz"],
    )
    def test_from_python(
        self, content: bytes, name: str, tmp_path: Path, marker: Path, read: Callable[[Path], Any]
    ) -> None:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(PneumoscopeError) as caught:
            read(path)
        assert not marker.exists()
        assert_one_line(caught, path)

    @pytest.mark.parametrize("command", ["inspect", "convert"])
    def test_from_the_command_line(
        self,
        content: bytes,
        name: str,
        tmp_path: Path,
        marker: Path,
        command: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        path, out = tmp_path / name, tmp_path / "out"
        path.write_bytes(content)
        options = {
            "inspect": (),
            "convert": ("--model", "cnn", "--data", str(tmp_path), "--out", str(out)),
        }[command]
        assert main(["weights", command, str(path), *options]) == 1
        assert not marker.exists()
        assert not out.exists()
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {path}")


def test_torchs_own_switch_changes_nothing(
    tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path = tmp_path / "weights.pth"
    path.write_bytes(torch_zip(Malice(marker)))
    with pytest.warns(UserWarning, match="forcing weights_only=False"):
        torch.load(path)
    assert marker.is_dir()
    marker.rmdir()
    with pytest.raises(PneumoscopeError):
        read_state_dict(path)
    assert not marker.exists()


class TestTrainingState:
    @pytest.mark.filterwarnings("ignore:Detected pickle protocol 4")
    def test_it_is_never_taken_up(self, content: bytes, tmp_path: Path, marker: Path) -> None:
        path = tmp_path / "state.pt"
        path.write_bytes(content)
        with pytest.raises(RunFolderError) as caught:
            load_state(path, {"recipe": "a"})
        assert not marker.exists()
        assert_one_line(caught, path)

    @pytest.mark.parametrize("make", [torch_zip, torch_legacy])
    def test_a_run_does_not_go_on_with_it(
        self,
        make: Callable[[Malice], bytes],
        recipes: Path,
        phantoms: Path,
        tmp_path: Path,
        marker: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        recipe, folder = recipes / "tiny_cnn.toml", tmp_path / "run"
        folder.mkdir()
        write_json(folder / "recipe.json", load_recipe(recipe).model_dump(mode="json"))
        (folder / "state.pt").write_bytes(make(Malice(marker)))
        status = main(["train", str(recipe), "--data", str(phantoms), "--out", str(folder)])
        assert status == 1
        assert not marker.exists()
        assert capsys.readouterr().err.splitlines()[-1] == (
            f"error: {folder / 'state.pt'} cannot be read as a training state; remove it to start "
            "again"
        )


class TestBundle:
    @pytest.fixture
    def path(self, content: bytes, tmp_path: Path) -> Path:
        """The weights of a bundle, exchanged for a malicious file."""
        path = shutil.copytree(shipped_bundles()["cnn"], tmp_path / "bundle") / "model.safetensors"
        path.write_bytes(content)
        return path

    def test_its_hash_gives_it_away(
        self, path: Path, marker: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(BundleError, match="was changed after the bundle was written"):
            open_bundle(path.parent)
        assert main(["screen", "film.png", "--bundle", str(path.parent)]) != 0
        assert not marker.exists()
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {path} was changed after the bundle was written")

    def test_nor_does_it_run_where_the_hashes_were_forged(self, path: Path, marker: Path) -> None:
        seal_bundle(path.parent, {"name": "cnn", "seed": 0})
        with pytest.raises(BundleError) as caught:
            load_network(open_bundle(path.parent))
        assert not marker.exists()
        assert_one_line(caught, path)
        assert str(caught.value).startswith(f"{path} cannot be read as safetensors: ")


RUNNERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
"""Modules whose readers run what they read; only the names of their errors may be used."""


def dangers(source: str) -> list[str]:
    """Returns the calls and imports in a source text by which a file could run as code."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in RUNNERS:
            found += [f"from {node.module} import"]
        if isinstance(node, ast.Import):
            found += [f"import {a.name} as" for a in node.names if a.asname and a.name in RUNNERS]
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            is_error = node.attr.endswith("Error")
            if (node.value.id in RUNNERS and not is_error) or name in ("torch.jit", "torch.hub"):
                found += [name]
        if isinstance(node, ast.Attribute) and node.attr == "read_pickle":
            found += [node.attr]
        if isinstance(node, ast.Call):
            options = {option.arg: ast.unparse(option.value) for option in node.keywords}
            name = ast.unparse(node.func)
            if name == "torch.load" and options.get("weights_only") != "True":
                found += ["torch.load without weights_only=True"]
            if options.get("allow_pickle", "False") != "False":
                found += [f"{name} with allow_pickle"]
            if name in ("eval", "exec"):
                found += [name]
    return found


@pytest.mark.parametrize(
    "path", sorted(Path(pneumoscope.__file__).parent.rglob("*.py")), ids=lambda path: path.name
)
def test_no_source_file_reads_code(path: Path) -> None:
    assert dangers(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "pickle.load(stream)",
        "pickle.Unpickler(stream)",
        "from pickle import loads",
        "import pickle as p",
        "joblib.load(path)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=trusted)",
        "torch.jit.load(path)",
        "numpy.load(path, allow_pickle=True)",
        "npy.read_array(stream, allow_pickle=trusted)",
        "pd.read_pickle(path)",
        "exec(text)",
    ],
)
def test_such_a_line_would_be_found(source: str) -> None:
    assert len(dangers(source)) == 1


def test_what_is_safe_is_not_complained_about() -> None:
    assert dangers("torch.load(path, weights_only=True)\nkind = pickle.UnpicklingError") == []
