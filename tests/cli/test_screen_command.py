"""The ``screen`` command: forms of the answer, exit statuses, hostile file names."""

import csv
import io
import json
import re
import subprocess
import sys
import zipfile
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
    options = ["--bundle", str(bundle), "--no-gate", *arguments]
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
        names = ["=cmd|'x'!A0.png", "+1.png", "@x.png", 'quo"te,and\nline.png', "line\nend.png"]
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
    arguments = ["--format", "json", "--no-gate", "--bundle", str(bundle), "a.png"]
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


class TestResume:
    def names(self, output: Path, form: str) -> list[str]:
        if form == "csv":
            return [row["path"] for row in csv.DictReader(io.StringIO(output.read_text()))]
        return [json.loads(line)["path"] for line in output.read_text().splitlines()]

    @pytest.mark.parametrize("form", ["json", "csv"])
    def test_what_is_done_is_skipped(self, bundle: Path, films: Path, form: str) -> None:
        options = ["--format", form, "--output", "out", "--resume"]
        assert run(bundle, *options, "a.png").exit_code == 0
        first = (films / "out").read_text()
        save(films / "=c\n1.png", (40, 40))
        assert run(bundle, *options, "a.png", "b.png", "=c\n1.png").exit_code == 0
        assert (films / "out").read_text().startswith(first)
        assert len(self.names(films / "out", form)) == 3
        whole = (films / "out").read_bytes()
        assert run(bundle, *options, "a.png", "b.png", "=c\n1.png").exit_code == 0
        assert (films / "out").read_bytes() == whole

    @pytest.mark.parametrize("form", ["json", "csv"])
    def test_a_line_that_was_cut_off_is_done_again(
        self, bundle: Path, films: Path, form: str
    ) -> None:
        options = ["--format", form, "--output", "out", "--resume"]
        save(films / 'q"\nb.png', (40, 40))
        names = ["a.png", "b.png", 'q"\nb.png']
        assert run(bundle, *options, *names).exit_code == 0
        whole = (films / "out").read_bytes()
        start = whole.rfind(b"\n", 0, -1) + 1 if form == "json" else whole.index(b'"q')
        for end in range(start, len(whole)):
            (films / "out").write_bytes(whole[:end])
            if end % 40 == 0 or end == start + 6:
                run(bundle, *options, *names)
                again = (films / "out").read_bytes()
                # A score's last digits depend on what else is in the batch.
                assert re.sub(rb"0\.\d+", b"p", again) == re.sub(rb"0\.\d+", b"p", whole), end

    def test_of_another_model_or_no_answer(self, bundle: Path, films: Path) -> None:
        (films / "out").write_text('{"model_id": "other", "path": "a.png"}\n')
        result = run(bundle, "--format", "json", "--output", "out", "--resume", "a.png")
        assert "holds answers of other" in str(result.exception)
        for text in ("[1]\n", "notes\n", '{"path": "a.png"}\n'):
            (films / "out").write_text(text)
            for form in ("json", "csv"):
                result = run(bundle, "--format", form, "--output", "out", "--resume", "a.png")
                assert "is no output of screen" in str(result.exception)
                assert (films / "out").read_text() == text

    def test_needs_a_file_of_lines(self, bundle: Path, films: Path) -> None:
        for options in (["--format", "json"], ["--output", "out"]):
            result = run(bundle, "--resume", *options, "a.png")
            assert isinstance(result.exception, UsageError)


class TestMore:
    def test_zip(self, bundle: Path, films: Path) -> None:
        with zipfile.ZipFile(films / "films.zip", "w") as archive:
            archive.write("a.png", "in/a.png")
            archive.writestr("bad.png", "no film")
        result = run(bundle, "--format", "json", "films.zip")
        good, bad = sorted(map(json.loads, result.stdout.splitlines()), key=lambda x: x["path"],
                           reverse=True)  # fmt: skip
        assert (good["path"], good["status"]) == ("films.zip/in/a.png", "ok")
        assert bad["error"] == f"films.zip/bad.png: {NO_FILM}"

    def test_heatmaps(self, bundle: Path, films: Path) -> None:
        result = run(bundle, "--heatmaps", "maps", "a.png", "b.png", "nowhere.png")
        assert result.exit_code == 1
        assert sorted(path.name for path in (films / "maps").iterdir()) == [
            f"00000{n}_{name}"
            for n, name in ((1, "a.npy"), (1, "a.png"), (2, "b.npy"), (2, "b.png"))
        ]
        heat = np.load(films / "maps/000001_a.npy")
        assert (heat.shape, heat.dtype) == ((32, 32), np.float32)
        assert Image.open(films / "maps/000001_a.png").size == (32, 32)

    def test_sheet_is_sorted_by_risk_and_safe(self, bundle: Path, films: Path) -> None:
        hostile = "<script>alert(1)</script>.png"
        save(films / hostile.replace("/", "_"), (40, 40))
        save(films / "dark.png", (90, 40))
        names = ["nowhere.png", "a.png", "dark.png", hostile.replace("/", "_")]
        assert run(bundle, "--sheet", "sheet.html", *names).exit_code == 1
        page = (films / "sheet.html").read_text()
        assert DISCLAIMER in page
        assert "<script>" not in page
        assert "http" not in page.replace("http-equiv", "")
        scores = [float(x) for x in re.findall(r"(?:NORMAL|PNEUMONIA), (0\.\d+)", page)]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)
        assert page.index("nowhere.png") > page.rindex("data:image/jpeg")

    def test_the_gate_is_on_unless_it_is_asked_not_to_be(self, bundle: Path, films: Path) -> None:
        result = CliRunner().invoke(app, ["--bundle", str(bundle), "--format", "json", "a.png"])
        line = json.loads(result.stdout)
        assert (result.exit_code, line["status"], line["p_pneumonia"]) == (0, "abstained", None)
        assert line["warnings"][0].startswith("is too small")


class TestConfidence:
    def run(self, films: Path, *options: str) -> Result:
        return CliRunner().invoke(app, ["--format", "json", "--no-gate", *options, "a.png"])

    def test_default_keys_stay_the_contract(self, films: Path) -> None:
        assert list(json.loads(self.run(films).stdout)) == KEYS

    def test_calibrated_comes_last(self, films: Path) -> None:
        line = json.loads(self.run(films, "--calibrated").stdout)
        assert list(line) == [*KEYS, "p_calibrated"]
        assert 0 < line["p_calibrated"] < 1
        rarer = json.loads(self.run(films, "--calibrated", "--prevalence", "0.01").stdout)
        assert rarer["p_calibrated"] < line["p_calibrated"]
        assert rarer["p_pneumonia"] == line["p_pneumonia"]

    def test_prevalence_says_what_to_expect(self, films: Path) -> None:
        result = self.run(films, "--prevalence", "0.05")
        assert result.stderr.startswith("At a prevalence of 5.0%, ")
        assert list(json.loads(result.stdout)) == KEYS

    def test_prevalence_is_a_share(self, films: Path) -> None:
        for value in ("1.5", "-1", "5", "0"):
            assert isinstance(self.run(films, "--prevalence", value).exception, UsageError)


def test_int8_is_named_and_not_mixed_with_float32(films: Path) -> None:
    def screened(*options: str) -> Result:
        return CliRunner().invoke(
            app, ["--bundle", "scratch", "--no-gate", "--format", "json", *options, "b.png"]
        )

    exact, fast = (json.loads(screened(*o).stdout) for o in ((), ("--precision", "int8")))
    assert fast["model_id"] == f"{exact['model_id']}-int8"
    assert 0 < abs(fast["p_pneumonia"] - exact["p_pneumonia"]) < 0.05
    assert fast["decision"] == exact["decision"]
    into = ["--output", "out", "--resume"]
    assert screened(*into, "--precision", "int8").exit_code == 0
    assert isinstance(screened(*into).exception, UsageError)


def test_no_name_of_a_patient_comes_out(bundle: Path, films: Path) -> None:
    from pydicom import dcmread, dcmwrite
    from pydicom.data import get_testdata_file

    secrets = ["Zebulon", "ID-4711-Q", "19870203", "Saint Elsewhere"]
    film = dcmread(get_testdata_file("CT_small.dcm"))
    film.PatientName, film.PatientID, film.PatientBirthDate, film.InstitutionName = secrets
    for modality in ("CR", "CT"):
        film.Modality = modality
        dcmwrite(films / f"{modality}.dcm", film)
    content = (films / "CR.dcm").read_bytes()
    rng = np.random.default_rng(0)
    for number in range(60):
        damaged = bytearray(content)
        for at in rng.integers(0, 3000, 20):
            damaged[at] = rng.integers(256)
        (films / f"x{number}.dcm").write_bytes(damaged)
    for form in ("json", "csv", "table"):
        result = run(bundle, "--format", form, "--sheet", "sheet.html", ".")
        said = result.stdout + result.stderr + (films / "sheet.html").read_text()
        assert "x59.dcm" in said
        assert not [secret for secret in secrets if secret in said]
