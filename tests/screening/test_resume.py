"""What an earlier output says is done, under which settings."""

import json
from pathlib import Path
from typing import Any

import pytest

from pneumoscope.errors import UsageError
from pneumoscope.screening.output import COLUMNS
from pneumoscope.screening.resume import resume

SETTINGS = {"model_id": "m", "threshold": 0.25, "gate": True, "prevalence": None}


def line(path: str, status: str = "ok") -> str:
    values = [path, status, 0.5, 0.25, "PNEUMONIA", [], "m", None]
    return json.dumps(dict(zip(COLUMNS, values, strict=True)))


def done(output: Path, **changed: Any) -> set[str]:
    return resume(output, columns=COLUMNS, as_csv=False, settings=SETTINGS | changed)


def test_settings_lie_beside_the_output_and_must_stay(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    assert done(output) == set()
    output.write_text(line("a.png") + "\n")
    assert done(output) == {"a.png"}
    for name, value in (("gate", False), ("prevalence", 0.05)):
        with pytest.raises(UsageError, match=f"holds answers with {name} .*, expected {value}"):
            done(output, **{name: value})


def test_settings_that_cannot_be_read(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text(line("a.png") + "\n")
    (tmp_path / ".out.jsonl.settings.json").write_text("{")
    with pytest.raises(UsageError, match=r"cannot be read .*; remove it, or the output"):
        done(output)


def test_errors_and_what_was_cut_off_are_taken_out(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    kept = line("a.png") + "\n" + line("b.png", "abstained") + "\n"
    output.write_text(line("x.png", "error") + "\n" + kept + line("c.png")[:20])
    assert done(output) == {"a.png", "b.png"}
    assert output.read_text() == kept


def test_an_empty_output_is_a_new_one(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("")
    done(output, gate=False)
    assert done(output, gate=True) == set()
