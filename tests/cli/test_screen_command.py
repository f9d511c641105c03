"""The ``screen`` command: forms of the answer, exit statuses, hostile file names."""

import contextlib
import csv
import io
import json
import os
import pty
import re
import shlex
import signal
import stat
import subprocess
import sys
import time
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
from pneumoscope.errors import StorageError, UsageError
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
    assert process.returncode == 141  # as shells show that the pipe was closed


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
        options = ["--output", "out", "--resume", "a.png"]
        assert run(bundle, "--format", "json", *options).exit_code == 0
        line = (films / "out").read_text()
        others = [line.replace("tiny-s7", "other"), line.replace("0.25", "0.9")]
        for text, name in zip(others, ("model_id", "threshold"), strict=True):
            (films / "out").write_text(text)
            said = str(run(bundle, "--format", "json", *options).exception)
            assert f"out holds answers with {name} " in said
            assert (films / "out").read_text() == text
        for text in ("[1]\n", "notes\n", '{"path": "a.png"}\n', "notes", line + "more", "\n"):
            (films / "out").write_text(text)
            for form in ("json", "csv"):
                result = run(bundle, "--format", form, *options)
                assert "is no output of screen" in str(result.exception), (text, form)
                assert (films / "out").read_text() == text

    @pytest.mark.parametrize("form", ["json", "csv"])
    def test_another_form_or_other_options(self, bundle: Path, films: Path, form: str) -> None:
        """What stands in one file was all made in one way; what is refused stays as it was."""
        save(films / 'q"uote.png', (40, 40))
        options = ["--output", "out", "--resume", 'q"uote.png', "a.png"]
        assert run(bundle, "--format", form, *options).exit_code == 0
        before = (films / "out").read_bytes()
        other = {"csv": "json", "json": "csv"}[form]
        with_gate = [app, ["--bundle", str(bundle), "--format", form, *options]]
        for result in (
            run(bundle, "--format", other, *options),
            CliRunner().invoke(*with_gate),  # type: ignore[arg-type]
        ):
            assert isinstance(result.exception, UsageError), result.exception
            assert (films / "out").read_bytes() == before

    @pytest.mark.parametrize("form", ["json", "csv"])
    def test_a_file_that_failed_is_tried_again(self, bundle: Path, films: Path, form: str) -> None:
        options = ["--format", form, "--output", "out", "--resume", "a.png", "late.png", "b.png"]
        assert run(bundle, *options).exit_code == 1
        assert run(bundle, *options).exit_code == 1
        assert sorted(self.names(films / "out", form)) == ["a.png", "b.png", "late.png"]
        save(films / "late.png", (40, 40))
        assert run(bundle, *options).exit_code == 0
        assert self.names(films / "out", form) == ["a.png", "b.png", "late.png"]
        assert "error" not in (films / "out").read_text().splitlines()[-1].replace(
            '"error": null', ""
        )

    def test_very_long_names(self, bundle: Path, films: Path) -> None:
        options = ["--format", "csv", "--output", "out", "--resume", "a.png", "x" * 200_000]
        assert run(bundle, *options).exit_code == 1
        assert run(bundle, *options).exit_code == 1
        assert len(self.names(films / "out", "csv")) == 2

    def test_a_sheet_is_of_one_run(self, bundle: Path, films: Path) -> None:
        options = ["--format", "json", "--output", "out", "--resume", "--sheet", "s.html", "a.png"]
        assert isinstance(run(bundle, *options).exception, UsageError)

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
        """Named by film and path, so that a later run or a film of the same name replaces none."""
        (films / "other").mkdir()
        save(films / "other/a.png", (50, 40))
        assert run(bundle, "--heatmaps", "maps", "a.png", "nowhere.png").exit_code == 1
        first = {path.name: path.read_bytes() for path in (films / "maps").glob("a-*")}
        assert run(bundle, "--heatmaps", "maps", "other/a.png", "a.png").exit_code == 0
        rows = list(csv.DictReader((films / "maps/index.csv").open()))
        assert [row["path"] for row in rows] == ["a.png", "other/a.png"]
        names = {path.name for path in (films / "maps").iterdir()} - {"index.csv"}
        assert names == {row["overlay"] for row in rows} | {
            row["overlay"].replace(".png", ".npy") for row in rows
        }
        for name, content in first.items():
            if name.endswith(".npy"):
                np.testing.assert_allclose(
                    np.load(films / "maps" / name), np.load(io.BytesIO(content)), atol=1e-4
                )
        heat = np.load(films / "maps" / rows[0]["overlay"].replace(".png", ".npy"))
        assert (heat.shape, heat.dtype) == ((32, 32), np.float32)
        assert Image.open(films / "maps" / rows[0]["overlay"]).size == (32, 32)

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


class TestOutputs:
    """Nothing that was there before is lost, and what cannot be written is told at once."""

    def refused(self, bundle: Path, *options: str) -> str:
        result = run(bundle, "--format", "json", *options, "a.png", "b.png")
        assert result.stdout == ""
        assert isinstance(result.exception, UsageError | StorageError), result.exception
        return str(result.exception)

    @pytest.mark.parametrize("option", ["--output", "--sheet"])
    def test_a_film_is_not_replaced(self, bundle: Path, films: Path, option: str) -> None:
        (films / "link.png").symlink_to(films / "b.png")
        before = (films / "b.png").read_bytes()
        for name in ("b.png", "./b.png", "link.png"):
            assert "is to be screened" in self.refused(bundle, option, name)
        assert (films / "b.png").read_bytes() == before

    def test_nor_an_archive(self, bundle: Path, films: Path) -> None:
        with zipfile.ZipFile(films / "films.zip", "w") as archive:
            archive.write("a.png")
        assert "is to be screened" in self.refused(bundle, "--output", "films.zip", "films.zip")

    @pytest.mark.parametrize("option", ["--output", "--sheet"])
    def test_a_pipe_or_a_folder(self, bundle: Path, films: Path, option: str) -> None:
        os.mkfifo(films / "pipe")
        (films / "folder").mkdir()
        assert "it is a device or a pipe" in self.refused(bundle, option, "pipe")
        assert "it is a folder" in self.refused(bundle, option, "folder")
        assert "cannot write" in self.refused(bundle, option, "a.png/sheet.html")
        assert stat.S_ISFIFO((films / "pipe").stat().st_mode)

    def test_one_file_for_two(self, bundle: Path, films: Path) -> None:
        said = self.refused(bundle, "--output", "x", "--sheet", "./x")
        assert said == "--output and --sheet are both x; name two files"

    def test_a_link_stays(self, bundle: Path, films: Path) -> None:
        (films / "link").symlink_to("real")
        assert run(bundle, "--format", "json", "--output", "link", "a.png").exit_code == 0
        assert (films / "link").is_symlink()
        assert json.loads((films / "real").read_text())["path"] == "a.png"

    def test_calibrated_wants_lines(self, bundle: Path, films: Path) -> None:
        assert isinstance(run(bundle, "--calibrated", "a.png").exception, UsageError)


PROGRAM = "import sys; from pneumoscope.cli import main; sys.exit(main())"


class TestProcess:
    """What only a process of its own shows: its streams and signals."""

    def command(self, bundle: Path, *options: str) -> list[str]:
        fixed = ["screen", "--no-gate", "--bundle", str(bundle)]
        return [sys.executable, "-c", PROGRAM, *fixed, *options]

    @pytest.mark.parametrize("form", ["csv", "table"])
    def test_names_that_the_terminal_cannot_show(
        self, bundle: Path, films: Path, form: str
    ) -> None:
        save(films / "снимок.png", (40, 40))
        command = self.command(bundle, "--format", form, "снимок.png")
        environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
        said = subprocess.run(command, capture_output=True, env=environment)
        assert said.returncode == 0, said.stderr
        assert rb"\u0441" in said.stdout

    @pytest.mark.parametrize(("closed", "status"), [(">&-", 2), ("2>&-", 0)])
    def test_a_closed_stream(self, bundle: Path, films: Path, closed: str, status: int) -> None:
        command = shlex.join(self.command(bundle, "--format", "json", "a.png"))
        said = subprocess.run(["sh", "-c", f"{command} {closed}"], capture_output=True)
        assert said.returncode == status, said.stderr
        assert b"Traceback" not in said.stderr
        assert (b"standard output is closed" in said.stderr) == (status == 2)

    def test_no_torch_whatever_is_asked_for(self, films: Path) -> None:
        program = (
            "import sys; from pneumoscope.cli import main; status = main(); "
            "print(status, 'torch' in sys.modules, file=sys.stderr)"
        )
        options = ["--format", "json", "--calibrated", "--prevalence", "0.1", "--no-gate"]
        command = [sys.executable, "-c", program, "screen", *options, "--sheet", "s.html"]
        for bundle in (["--bundle", "scratch", "--precision", "int8"], []):
            said = subprocess.run([*command, *bundle, "a.png"], capture_output=True, check=True)
            assert said.stderr.endswith(b"0 False\n")

    def test_a_progress_bar_where_somebody_looks(self, bundle: Path, films: Path) -> None:
        looked_at, written = pty.openpty()
        command = self.command(bundle, "--format", "json", "--output", "out", "a.png", "b.png")
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "80"}
        subprocess.run(command, stderr=written, env=environment, check=True)
        os.close(written)
        shown = b""
        with contextlib.suppress(OSError):  # which is how a terminal's end is told
            while piece := os.read(looked_at, 4096):
                shown += piece
        os.close(looked_at)
        assert b"screening" in shown
        assert b"100%" in shown

    @pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_interrupted(self, bundle: Path, films: Path, number: int, status: int) -> None:
        """Nothing half-written stays, and no traceback is shown."""
        for index in range(4000):
            (films / f"{index}.png").symlink_to(films / "a.png")
        command = self.command(bundle, "--format", "json", "--output", "out", ".")
        # A shell's background job, which the tests may be, ignores SIGINT and hands that down.
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        while not list(films.glob(".out.*.partial")):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(60) == status
        assert b"Traceback" not in said
        assert (b"error: interrupted; nothing was kept" in said) == (number == signal.SIGINT)
        assert not list(films.glob(".out*"))
        assert not (films / "out").exists()


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
