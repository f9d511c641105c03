"""The door: exit statuses, one line of error, help, version."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from pneumoscope import bundle as bundle_module
from pneumoscope.cli import main
from pneumoscope.cli.app import app
from pneumoscope.errors import NonFiniteLossError, PneumoscopeError, UsageError
from pneumoscope.evaluation import evidence as evidence_module
from pneumoscope.labels import DISCLAIMER

ROOT: Any = typer.main.get_command(app)
GROUPS = ("data", "weights")
COMMANDS = [[name] for name in ROOT.commands if name not in GROUPS] + [
    [group, name] for group in GROUPS for name in ROOT.commands[group].commands
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that was printed."""
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def words(text: str) -> str:
    """The text without what boxes and wrapping do to it."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


def test_the_commands_are_those_of_the_contract() -> None:
    assert set(ROOT.commands) == {
        "data", "train", "study", "ensemble", "evaluate", "compare", "screen", "doctor", "weights",
        "explain", "export",
    }  # fmt: skip
    assert set(ROOT.commands["data"].commands) == {"fetch", "audit", "split", "phantoms"}
    assert set(ROOT.commands["weights"].commands) == {"inspect", "fetch", "convert"}


class TestStatus:
    def test_success_is_zero(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--version"]) == 0
        assert capsys.readouterr().out == f"pneumoscope {version('pneumoscope')}\n"

    def test_failure_is_one(self, capsys: pytest.CaptureFixture[str]) -> None:
        Path("run").mkdir()
        assert main(["compare", "run"]) == 1
        assert error_of(capsys) == "run is not a bundle: it has no manifest.json"

    def test_a_recipe_that_does_not_fit_is_wrong_usage(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["train", "cnn", "--set", "training.lr_rate=1"]) == 2
        assert "unknown key training.lr_rate; did you mean training.lr?" in error_of(capsys)
        assert not Path("runs").exists()

    def test_a_call_that_cannot_be_is_wrong_usage(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bundle_module, "shipped_bundles", dict)
        assert main(["compare"]) == 2
        assert error_of(capsys) == (
            "no bundle is shipped with this copy; name one, as in compare runs/cnn"
        )
        assert main(["study", "--full", "--recipe", "cnn"]) == 2
        assert error_of(capsys) == "--full and --recipe exclude each other; give one of them"

    @pytest.mark.parametrize(
        "arguments",
        [["nonsense"], ["--nonsense"], ["train"], ["train", "a", "b"], ["study", "--seeds", "0"]],
    )
    def test_what_the_parser_refuses_is_wrong_usage(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str]
    ) -> None:
        assert main(arguments) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert "Usage: pneumoscope" in printed.err
        assert "Traceback" not in printed.err

    @pytest.mark.parametrize(
        ("error", "status", "line"),
        [
            (PneumoscopeError("a"), 1, "a"),
            (NonFiniteLossError("b"), 1, "b"),
            (UsageError("c"), 2, "c"),
            (PermissionError(13, "Permission denied", "x"), 1, "[Errno 13] Permission denied: 'x'"),
        ],
    )
    def test_every_error_is_one_line(
        self,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        error: Exception,
        status: int,
        line: str,
    ) -> None:
        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(evidence_module, "open_bundle", fail)
        assert main(["compare", "a"]) == status
        assert error_of(capsys) == line

    def test_a_name_that_no_disk_takes(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["train", "x" * 300]) == 1
        assert "File name too long" in error_of(capsys)

    def test_an_interruption_is_no_traceback(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(evidence_module, "open_bundle", interrupt)
        assert main(["compare", "a"]) not in (0, 2)
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err

    def test_a_mistake_of_ours_is_not_hidden(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def mistake(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(evidence_module, "open_bundle", mistake)
        with pytest.raises(ZeroDivisionError):
            main(["compare", "a"])


class TestHelp:
    def test_of_the_whole(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--help"]) == 0
        text = words(capsys.readouterr().out)
        assert "Recall-first pneumonia screening on chest X-rays" in text
        assert text.endswith(DISCLAIMER)
        for name in ROOT.commands:
            assert f" {name} " in text

    def test_without_a_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([]) in (0, 2)
        printed = capsys.readouterr()
        assert words(printed.out + printed.err).endswith(DISCLAIMER)

    @pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
    def test_of_each_command(self, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
        assert main([*command, "--help"]) == 0
        text = words(capsys.readouterr().out)
        assert f"Usage: pneumoscope {' '.join(command)} " in text
        found = ROOT
        for name in command:
            found = found.commands[name]
        assert words(found.help.split(".")[0]) in text
        for parameter in found.params:
            if parameter.param_type_name == "option":
                assert parameter.help, parameter.name
                assert parameter.opts[0] in text


def test_the_package_is_the_program() -> None:
    """``python -m pneumoscope`` is what torchrun starts."""
    program = [sys.executable, "-m", "pneumoscope"]
    answer = subprocess.run([*program, "--version"], capture_output=True, text=True, check=True)
    assert answer.stdout == f"pneumoscope {version('pneumoscope')}\n"
    answer = subprocess.run([*program, "compare", "x"], capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stderr.startswith("error: no bundle x: not a folder, and not a shipped name; ")
    assert answer.stderr.count("\n") == 1
