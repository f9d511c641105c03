"""The ``screen`` command: forms of the answer, exit statuses, hostile file names."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from pneumoscope.bundle import CONTENT, seal_bundle
from pneumoscope.cli.screen import screen
from pneumoscope.errors import UsageError
from pneumoscope.labels import DISCLAIMER
from pneumoscope.models.build import build_model
from pneumoscope.models.bundles import save_weights

KEYS = ["path", "status", "p_pneumonia", "threshold", "decision", "warnings", "model_id", "error"]
NO_FILM = "holds text, expected a JPEG, PNG, TIFF or DICOM image"

app = typer.Typer()
app.command()(screen)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    for name in CONTENT:
        (folder / name).write_text("{}")
    model = {"name": "cnn", "img_size": 32, "in_chans": 1}
    torch.manual_seed(0)
    save_weights(build_model(**model), folder / "model.safetensors", torch.float32)
    (folder / "config.json").write_text(json.dumps({"model": model}))
    (folder / "operating_point.json").write_text('{"threshold": 0.25}')
    seal_bundle(folder, {"name": "tiny", "seed": 7})
    return folder


@pytest.fixture
def films(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two films, one of them small, in the working folder."""
    save(tmp_path / "a.png", (40, 40))
    save(tmp_path / "b.png", (30, 90))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(path: Path, shape: tuple[int, int]) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8)).save(path)


def run(bundle: Path, *arguments: str, stdin: bytes | None = None) -> Result:
    options = ["--bundle", str(bundle), *arguments]
    return CliRunner().invoke(app, options, input=stdin)


def test_json_lines(bundle: Path, films: Path) -> None:
    result = run(bundle, "--format", "json", ".")
    assert result.exit_code == 0
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [list(line) for line in lines] == [KEYS, KEYS]
    assert [(line["path"], line["status"], line["error"]) for line in lines] == [
        ("a.png", "ok", None),
        ("b.png", "ok", None),
    ]
    assert lines[0]["warnings"] == []
    assert [line["decision"] for line in lines] == [
        "PNEUMONIA" if line["p_pneumonia"] >= 0.25 else "NORMAL" for line in lines
    ]
    assert len(lines[1]["warnings"]) == 2
    assert result.stderr == f"{DISCLAIMER}\n"


def test_csv_says_the_same(bundle: Path, films: Path) -> None:
    as_json = [
        json.loads(line) for line in run(bundle, "--format", "json", ".").stdout.splitlines()
    ]
    result = run(bundle, "--format", "csv", ".")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert list(rows[0]) == KEYS
    for row, line in zip(rows, as_json, strict=True):
        assert float(row["p_pneumonia"]) == line["p_pneumonia"]
        assert row["warnings"] == "; ".join(line["warnings"])
        assert (row["path"], row["decision"], row["error"]) == (line["path"], line["decision"], "")
    assert result.stderr == f"{DISCLAIMER}\n"


def test_table_has_the_disclaimer_under_it(bundle: Path, films: Path) -> None:
    result = run(bundle, "a.png", "nowhere.png")
    assert result.exit_code == 1
    assert "a.png" in result.stdout
    assert "no such file; check the path" in result.stdout
    assert " ".join(result.stdout.split()).endswith(DISCLAIMER)
    assert "Model tiny-s7-" in result.stdout


@pytest.mark.parametrize("form", ["json", "csv", "table"])
def test_one_bad_file_does_not_stop_the_others(bundle: Path, films: Path, form: str) -> None:
    (films / "aa.jpeg").write_text("not a film")
    result = run(bundle, "--format", form, "a.png", "aa.jpeg", "b.png")
    assert result.exit_code == 1
    assert NO_FILM in " ".join(result.stdout.split())
    assert [name in result.stdout for name in ("a.png", "aa.jpeg", "b.png")] == [True] * 3
    if form == "json":
        bad = json.loads(result.stdout.splitlines()[1])
        assert (bad["status"], bad["p_pneumonia"], bad["decision"]) == ("error", None, None)
        assert bad["error"] == f"aa.jpeg: {NO_FILM}"


def test_paths_on_standard_input(bundle: Path, films: Path) -> None:
    result = run(bundle, "--format", "json", "-", stdin=b"b.png\n\na.png\n")
    assert [json.loads(line)["path"] for line in result.stdout.splitlines()] == ["b.png", "a.png"]


def test_output_file(bundle: Path, films: Path) -> None:
    for form in ("json", "csv", "table"):
        expected = run(bundle, "--format", form, "a.png").stdout
        result = run(bundle, "--format", form, "--output", f"out/answer.{form}", "a.png")
        assert (result.exit_code, result.stdout) == (0, "")
        assert (films / "out" / f"answer.{form}").read_text() == expected
    assert sorted(path.name for path in (films / "out").iterdir()) == [
        "answer.csv",
        "answer.json",
        "answer.table",
    ]


class TestWrongUsage:
    def test_no_such_bundle(self, films: Path) -> None:
        result = run(films / "nowhere", "a.png")
        assert isinstance(result.exception, UsageError)  # the program's status is 2
        assert "no bundle" in str(result.exception)

    def test_no_films(self, bundle: Path, films: Path) -> None:
        (films / "empty").mkdir()
        for arguments in (["empty"], ["-"]):
            result = run(bundle, *arguments, stdin=b"\n")
            assert isinstance(result.exception, UsageError)
            assert "no films" in str(result.exception)

    def test_no_path_and_no_such_format(self, bundle: Path, films: Path) -> None:
        assert run(bundle).exit_code == 2
        assert run(bundle, "--format", "xml", "a.png").exit_code == 2


class TestHostileNames:
    def test_formulas_and_line_ends_in_csv(self, bundle: Path, films: Path) -> None:
        names = ["=cmd|'x'!A0.png", "+1.png", "@x.png", 'quo"te,and\nline.png']
        for name in names:
            save(films / name, (40, 40))
        result = run(bundle, "--format", "csv", *names)
        assert result.exit_code == 0
        paths = [row["path"] for row in csv.DictReader(io.StringIO(result.stdout, newline=""))]
        assert paths == [f"'{name}" for name in names[:3]] + names[3:]

    def test_line_ends_in_json(self, bundle: Path, films: Path) -> None:
        save(films / "two\nlines.png", (40, 40))
        result = run(bundle, "--format", "json", "two\nlines.png")
        assert json.loads(result.stdout)["path"] == "two\nlines.png"
        assert result.stdout.count("\n") == 1

    def test_control_characters_and_markup_in_the_table(self, bundle: Path, films: Path) -> None:
        name = "\x1b[31m[bold]x.png"
        save(films / name, (40, 40))
        result = run(bundle, name)
        assert r"\x1b[31m[bold]x.png" in result.stdout
        assert "\x1b" not in result.stdout

    @pytest.mark.parametrize("form", ["json", "csv", "table"])
    def test_names_that_are_no_text(self, bundle: Path, films: Path, form: str) -> None:
        result = run(bundle, "--format", form, "-", stdin=b"caf\xe9.png\n")
        assert result.exit_code == 1
        assert r"caf\udce9.png" in result.stdout


def test_a_reader_that_has_enough_is_no_error(bundle: Path, films: Path) -> None:
    program = "import typer; from pneumoscope.cli.screen import screen; typer.run(screen)"
    arguments = ["--format", "json", "--bundle", str(bundle), "a.png"]
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert said == b""
    assert process.returncode == 1


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; import pneumoscope.cli.screen; "
        "print({'torch', 'numpy', 'PIL', 'pydicom', 'rich.table'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert said.stdout == b"set()\n"
