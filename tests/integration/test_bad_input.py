"""Bad input through the real command: one clear line, nothing half-written, nothing lost."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pneumoscope.bundle import CONTENT, seal_bundle

Program = Callable[..., subprocess.CompletedProcess[str]]
Train = Callable[..., str]


@pytest.fixture
def films(phantoms: Path, tmp_path: Path) -> Path:
    """A copy of the phantoms, to be spoilt."""
    return shutil.copytree(phantoms, tmp_path / "films")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def error_of(answer: subprocess.CompletedProcess[str], status: int = 1) -> str:
    """The one line of error in what a process printed."""
    assert answer.returncode == status, answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""
    (line,) = [line for line in answer.stderr.splitlines() if "error:" in line]
    assert line == answer.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def assert_nothing_half_written(folder: Path) -> None:
    assert [path for path in folder.rglob("*") if path.name.endswith(".partial")] == []
    assert list(folder.rglob("bundle")) == []


@pytest.fixture
def train_error(program: Program, recipes: Path, out: Path, own_cache: Path) -> Train:
    """The error of training on a folder; looks after what must not be left behind."""

    def train(films: Path, *options: object, status: int = 1, out: Path = out) -> str:
        recipe = recipes / "tiny_cnn.toml"
        answer = program("train", recipe, "--data", films, "--out", out, *options)
        error = error_of(answer, status)
        for folder in (out, own_cache):
            assert_nothing_half_written(folder)
        return error

    return train


class TestFilms:
    def test_an_empty_folder(self, train_error: Train, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert train_error(tmp_path / "empty") == (
            f"{tmp_path / 'empty'} is empty; expected {{train,test}}/{{NORMAL,PNEUMONIA}}; "
            "`pneumoscope data fetch` gets the data"
        )

    def test_one_class(self, train_error: Train, films: Path) -> None:
        shutil.rmtree(films / "train" / "NORMAL")
        assert train_error(films).startswith(
            f"{films / 'train' / 'NORMAL'} is missing; expected films of both classes ("
        )

    def test_one_class_in_an_evaluation(
        self, program: Program, phantoms: Path, films: Path, out: Path
    ) -> None:
        for film in (films / "test" / "PNEUMONIA").iterdir():
            film.unlink()
        answer = program("evaluate", "cnn", "--data", films / "test", "--out", out)
        assert error_of(answer).startswith(
            f"{films / 'test' / 'PNEUMONIA'} is empty; expected films of both classes ("
        )
        assert not out.exists()

    def test_fewer_than_two_patients(self, train_error: Train, films: Path) -> None:
        for number, film in enumerate(sorted((films / "train" / "PNEUMONIA").iterdir())):
            film.rename(film.with_name(f"person7_virus_{number}.jpeg"))
        assert train_error(films) == (
            "fewer than two patients with PNEUMONIA in train; train and val need one each; "
            "add patients"
        )

    def test_a_truncated_film_is_named_and_skipped_only_when_asked(
        self, train_error: Train, program: Program, recipes: Path, films: Path, out: Path
    ) -> None:
        film = sorted((films / "train" / "NORMAL").iterdir())[3]
        film.write_bytes(film.read_bytes()[:700])
        error = train_error(films)
        assert error.startswith(f"{film}: is a damaged or truncated JPEG file (")
        assert error.endswith("; --skip-unreadable leaves such films out")

        recipe = recipes / "tiny_cnn.toml"
        answer = program(
            "train", recipe, "--data", films, "--out", out, "--skip-unreadable",
            "--set", "training.max_steps=1",
        )  # fmt: skip
        assert answer.returncode == 0, answer.stderr
        assert f"skipped: {film}: is a damaged or truncated JPEG file (" in answer.stderr
        assert answer.stdout.endswith(f"bundle: {out / 'bundle'}\n")

    def test_text_that_is_called_jpeg(self, train_error: Train, films: Path) -> None:
        film = films / "test" / "NORMAL" / "IM-9999-0001.jpeg"
        film.write_text("I am no film.\n")
        assert train_error(films) == (
            f"{film}: holds text, expected a JPEG, PNG, TIFF or DICOM image; "
            "--skip-unreadable leaves such films out"
        )


class TestDisk:
    def test_a_folder_that_cannot_be_written(
        self, train_error: Train, phantoms: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("mine")
        below = tmp_path / "file" / "run"
        assert train_error(phantoms, out=below) == (
            f"cannot write {below}: Not a directory; choose another folder"
        )
        assert (tmp_path / "file").read_text() == "mine"

    def test_a_read_only_disk(self, train_error: Train, phantoms: Path, small_disk: Path) -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        assert train_error(phantoms, out=small_disk / "run") == (
            f"cannot write {small_disk / 'run'}: Read-only file system; it is not writable for "
            "this user; choose another folder"
        )

    def test_a_full_disk_while_saving(
        self, train_error: Train, phantoms: Path, small_disk: Path
    ) -> None:
        mine = small_disk / "mine.txt"
        mine.write_text("not to be lost")
        run = small_disk / "run"
        assert train_error(phantoms, out=run) == (
            f"cannot write {run / 'state.pt'}: No space left on device; no space is left there; "
            "free some or choose another folder"
        )
        assert mine.read_text() == "not to be lost"
        assert not (run / "state.pt").exists()
        assert (run / "log.jsonl").read_text().endswith("}\n")


class TestRecipe:
    def test_an_unknown_key(self, train_error: Train, phantoms: Path, recipes: Path) -> None:
        assert train_error(phantoms, "--set", "training.learning_rte=1", status=2) == (
            f"{recipes / 'tiny_cnn.toml'}: unknown key training.learning_rte; did you mean "
            "training.lr?"
        )

    def test_an_unknown_key_in_the_file(
        self, program: Program, phantoms: Path, tmp_path: Path, out: Path
    ) -> None:
        path = tmp_path / "mine.toml"
        path.write_text('name = "mine"\n[model]\nimage_size = 32\n')
        error = error_of(program("train", path, "--data", phantoms, "--out", out), 2)
        assert error == f"{path}: unknown key model.image_size; did you mean model.img_size?"
        assert not out.exists()


class TestBundle:
    @pytest.mark.parametrize(
        ("name", "command", "status"),
        [
            ("model.safetensors", "screen", 2),
            ("config.json", "evaluate", 1),
            ("metrics.json", "compare", 1),
        ],
    )
    def test_a_changed_byte(
        self,
        program: Program,
        phantoms: Path,
        tmp_path: Path,
        out: Path,
        name: str,
        command: str,
        status: int,
    ) -> None:
        folder = tmp_path / "changed"
        folder.mkdir()
        for content in CONTENT:
            (folder / content).write_text(f"content of {content}")
        seal_bundle(folder, {"name": "tiny", "seed": 0})
        changed = bytearray((folder / name).read_bytes())
        changed[len(changed) // 2] ^= 1
        (folder / name).write_bytes(changed)
        arguments = {
            "screen": (phantoms / "test", "--bundle", folder),
            "evaluate": (folder, "--data", phantoms, "--out", out),
            "compare": (folder, "--out", out),
        }[command]
        assert error_of(program(command, *arguments), status) == (
            f"{folder / name} was changed after the bundle was written (its SHA-256 is not the "
            "manifest's); copy the whole bundle again"
        )
        assert not out.exists()


def test_two_runs_into_one_folder_at_once(
    program: Program, recipes: Path, phantoms: Path, out: Path
) -> None:
    recipe = recipes / "tiny_cnn.toml"
    arguments = ["train", str(recipe), "--data", str(phantoms), "--out", str(out)]
    endless = ["--set", "training.epochs=100000", "--set", "training.patience=100000"]
    command = [sys.executable, "-m", "pneumoscope", *arguments, *endless]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = out / "log.jsonl"
    try:
        deadline = time.monotonic() + 300
        while not log.exists():
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        expected = f"{out} is in use by another run; wait for it, or choose another folder"
        assert error_of(program(*arguments)) == expected
        num_bytes = log.stat().st_size
        deadline = time.monotonic() + 300
        while log.stat().st_size <= num_bytes:  # the first one goes on
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        first.kill()
        first.wait()
