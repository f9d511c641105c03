"""What the gate refuses; how fast films are screened, also in int8."""

import json
import re

import pytest
from pages import ROOT, agrees, table
from records import lines_of

from pneumoscope.bundle import shipped_bundles
from pneumoscope.data.phantom import write_phantoms
from pneumoscope.screening.screener import Screener

SIDES = ("top", "bottom", "left", "right")


GATE_ROWS = {
    "test films as they are (624)": ["test films as they are"],
    "mirrored; middle 90 %; middle 80 %": ["mirrored", "middle 90 %", "middle 80 %"],
    "gamma 0.5; gamma 2; half the contrast; blurred 1 px; noise of 10 levels": [
        "gamma 0.5", "gamma 2", "contrast x 0.5", "blurred 1 px", "noise of 10 levels",
    ],
    "turned left; upside down; turned right; negative": [
        "turned left", "upside down", "turned right", "negative",
    ],
    "half missing at the top; bottom; left; right": [f"half missing at the {s}" for s in SIDES],
    "third missing, likewise": [f"third missing at the {s}" for s in SIDES],
    "quarter missing, likewise": [f"quarter missing at the {s}" for s in SIDES],
    "third blacked out, likewise": [f"third blacked out at the {s}" for s in SIDES],
    "middle 60 %; middle 50 %": ["middle 60 %", "middle 50 %"],
    "darkened to 5; 10; 20; 30; 40 %": [f"darkened to {n} %" for n in (5, 10, 20, 30, 40)],
    "whitened; blurred 4 px; noise of 80 levels": [
        "whitened to 15 % of its contrast", "blurred 4 px", "noise of 80 levels",
    ],
    "turned 45; 135 degrees; mirrored top to bottom; transposed; faint negative": [
        "turned 45 degrees", "turned 135 degrees", "mirrored top to bottom", "transposed",
        "faint negative",
    ],
    "upper left; lower right quarter alone; lower left blacked out": [
        "upper left quarter", "lower right quarter", "lower left quarter blacked out",
    ],
    "seen through a keyhole (round, .6 of the side)": ["seen through a keyhole"],
    "twice side by side; in a black frame of 25 % a side": [
        "twice side by side", "in a black frame of 25 % a side",
    ],
    "only 16; 32; 63 px a side": [f"only {n} px a side" for n in (16, 32, 63)],
    "noise (30); blank (18); ramps (2)": ["noise", "blank", "ramps"],
    "photographs (14); brain MR slices (30); other modalities (22); X-ray of an extremity (1)": [
        "photographs", "brain MR slices", "other modalities", "extremity X-ray",
    ],
}  # fmt: skip


def test_what_the_gate_refuses():
    lines = lines_of("gate.jsonl")
    found = {line["set"]: 100 * line["refused"] for line in lines if "set" in line}
    pooled = {tuple(line["all of"]): line for line in lines if "all of" in line}
    every = pooled["fitted", "new", "pictures"]
    cells = table("docs/screening.md", "| set | refused, %")
    rows = {row[0]: row[1] for row in cells if len(row) == 2}  # the others are headings
    for name, sets in GATE_ROWS.items():
        assert agrees(rows.pop(name), *(found.pop(one) for one in sets)), name
    framed = [value for one, value in found.items() if one.startswith(("black", "white"))]
    in_frames = next(name for name in rows if name.startswith("the same in black or white frames"))
    assert agrees(rows.pop(in_frames), min(framed), max(framed))
    turned = [value for one, value in found.items() if one.startswith("turned")]
    assert len(framed) + len(turned) == len(found)
    a_little = next(name for name in rows if name.startswith("turned by 5, 10, 15 degrees"))
    assert agrees(rows.pop(a_little), min(turned), max(turned))
    kinds = [pooled[kind,]["pooled"] * 100 for kind in ("fitted", "new", "pictures")]
    assert agrees(rows.pop("kinds fitted; not fitted; pictures, each pooled"), *kinds)
    name, cell = rows.popitem()
    assert not rows
    assert f"{every['num']:,} pictures" in name
    assert f"over {every['sets']} sets" in name
    assert agrees(cell, 100 * every["pooled"], 100 * every["mean over sets"])


def test_the_speed_of_screening():
    lines = lines_of("screen.jsonl")
    cold, rates = {}, {}
    for line in lines:
        if line.get("what") == "cold start, s":
            cold[line["who"]] = line
        elif line.get("what") == "films a second":
            rates[line["who"]] = line
    ways = ("screen, scratch, float32", "screen, scratch, int8", "screen, cnn, float32")
    pipeline, *ours = table("docs/screening.md", "| | seconds, median of 5 |")
    assert agrees(pipeline[1], cold["pipeline"]["median"])
    for (_, seconds, share), way in zip(ours, ways, strict=True):
        assert agrees(seconds, cold[way]["median"]), way
        assert agrees(share, cold[way]["ratio"]), way
    pipeline, *ours = table("docs/screening.md", "| | films a second |")
    assert agrees(pipeline[1], *(rates[f"pipeline, batch {n}"]["median"] for n in (1, 8)))
    for (_, rate, times), way in zip(ours, ways, strict=True):
        assert agrees(rate, rates[way]["median"]), way
        assert agrees(times, rates[way]["times_the_pipeline"]), way
    (few, many) = (line for line in lines if str(line.get("what")).startswith("peak memory"))
    text = (ROOT / "docs/screening.md").read_text(encoding="utf-8")
    assert f"{few['peak_mib']:.0f} MiB for 32 files, {many['peak_mib']:.0f} MiB for 10,000" in text


def test_int8():
    for name, moved, _ in table("docs/screening.md", "| bundle | largest difference"):
        path = shipped_bundles()[name.strip("`")] / "int8.json"
        if path.is_file():
            assert agrees(moved, json.loads(path.read_text())["max_p_difference"]), name
        else:
            assert moved == "-", name


@pytest.mark.slow
def test_what_the_shipped_cnn_says_of_phantoms(tmp_path):
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"calls (\d+) of the (\d+) phantoms .* abstains from (\d+)", text)
    films = sorted((write_phantoms(tmp_path / "phantoms") / "test").rglob("*.jpeg"))
    answers = list(Screener.load().screen_many(films))
    abstained = [a for a in answers if a.status == "abstained"]
    called = [a for a in answers if a.decision == "PNEUMONIA"]
    scored = len(answers) - len(abstained)
    assert [len(called), scored, len(abstained)] == [int(number) for number in shown]
