"""Every command that a page shows is run as it stands, or says above itself why it is not.

A comment above a block takes lines out: ``<!-- not run: data fetch (network) -->`` those that
hold ``data fetch``, ``all`` the whole block. What is taken out is still parsed, so that no page
names a command or an option that is not there.
"""

import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from pages import ALL, PAGES, ROOT, Block, blocks
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from pneumoscope.bundle import shipped_bundles
from pneumoscope.cli.app import app
from pneumoscope.data.label_map import read_label_map
from pneumoscope.data.radiograph import read_radiograph

TRAINS = "trains for minutes"
FILMS = "needs the films of the run"
# Pages whose comments stand here, since they change too often to carry them.
NOT_RUN = {
    "docs/accuracy.md": {"benchmarks/": FILMS, "ensemble ": FILMS},
    "docs/screening.md": {
        "/archive": "an archive of DICOM files",
        "tests/fuzz": "takes hours, and is a test",
        "benchmarks/": FILMS,
    },
    "docs/training.md": {
        "train cnn": TRAINS,
        "train scratch": TRAINS,
        "train my.toml": TRAINS,
        "train pretrained": TRAINS,
        "study": TRAINS,
        "ensemble ": FILMS,
    },
}
TYPED = [block for page in PAGES for block in blocks(page) if block.has_commands]


def not_run(block: Block) -> dict[str, str]:
    return {**block.not_run, **NOT_RUN.get(block.page, {})}


def lines_run(block: Block) -> list[str]:
    return [line for line in block.typed if not any(what in line for what in not_run(block))]


def to_run() -> list[Block]:
    return [
        block
        for block in TYPED
        if ALL not in not_run(block) and any(line.strip() for line in lines_run(block))
    ]


@pytest.fixture(scope="module")
def template(tmp_path_factory, phantoms, save_as_google):
    """A folder with everything that the pages name: films, a map, scores, runs, weights."""
    import torch

    from pneumoscope.models.build import build_model

    folder = tmp_path_factory.mktemp("template")
    shutil.copytree(phantoms, folder / "Data" / "chest_xray")
    shutil.copytree(phantoms / "test", folder / "OTHER" / "FILMS")
    names = 'NORMAL = ["NORMAL"]\nPNEUMONIA = ["PNEUMONIA"]\n'
    (folder / "map.toml").write_text(names)
    film = sorted((phantoms / "test" / "NORMAL").iterdir())[0]
    shutil.copy(film, folder / "film.jpeg")
    for name in ("folder", "incoming", "archive"):
        (folder / name).mkdir()
        shutil.copy(film, folder / name)
    shutil.make_archive(str(folder / "study"), "zip", folder / "folder")
    for name in ("film.dcm", "study.dcm"):
        write_dicom(folder / name, read_radiograph(film).pixels)
    cnn = shipped_bundles()["cnn"]
    shutil.copy(cnn / "predictions.csv", folder / "theirs.csv")
    for name in ("cnn", "mine"):
        shutil.copytree(cnn, folder / "runs" / name / "bundle")
    for name in ("evaluation", "stratified-split"):
        recorded = Path("benchmarks", "results", name)
        shutil.copytree(ROOT / recorded, folder / recorded)
    (folder / "weights").mkdir()
    torch.manual_seed(0)
    network = build_model("vit_ti16", num_classes=1000)
    save_as_google(network, folder / "weights" / "ViT-Ti_16.npz")
    (folder / "hospital-root.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    return folder


def write_dicom(path: Path, pixels: np.ndarray) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film = Dataset()
    film.file_meta = meta
    film.SOPClassUID = meta.MediaStorageSOPClassUID
    film.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    film.Modality = "CR"
    film.PhotometricInterpretation = "MONOCHROME2"
    film.SamplesPerPixel, film.PixelRepresentation = 1, 0
    film.BitsAllocated, film.BitsStored, film.HighBit = 8, 8, 7
    film.Rows, film.Columns = pixels.shape
    film.PixelData = pixels.astype(np.uint8).tobytes()
    film.save_as(path, enforce_file_format=True)


@pytest.fixture(scope="module")
def workspaces(template, tmp_path_factory):
    """The folder of a page, in which its blocks are run one after the other."""
    made = {}

    def of(page: str) -> Path:
        if page not in made:
            made[page] = tmp_path_factory.mktemp("page") / "work"
            shutil.copytree(template, made[page], symlinks=True)
        return made[page]

    return of


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A folder that goes first on the path: the programs as an installation has them."""
    folder = tmp_path_factory.mktemp("bin")
    for name, what in (("pneumoscope", "-m pneumoscope "), ("python", ""), ("python3", "")):
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {what}"$@"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("block", to_run(), ids=str)
def test_it_runs_as_it_stands(block, workspaces, programs):
    prelude = "paths = ['film.jpeg', 'film.dcm']\n" if block.is_python else ""
    text = prelude + "\n".join(lines_run(block)) + "\n"
    command = [sys.executable, "-"] if block.is_python else ["bash", "-euo", "pipefail"]
    answer = subprocess.run(
        command,
        input=text,
        cwd=workspaces(block.page),
        env={**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert answer.returncode == 0, (
        f"{block}\n{text}\n{answer.stdout[-2000:]}{answer.stderr[-3000:]}"
    )


def test_pages_with_commands_are_found():
    assert len(shown_commands()) > 60
    pages = {block.page for block in TYPED}
    assert {"README.md", "docs/index.md", "docs/data.md", "docs/report.md"} <= pages
    assert len(to_run()) >= 15


@pytest.mark.parametrize("block", TYPED, ids=str)
def test_what_is_not_run_is_there_and_has_a_reason(block):
    for what, why in block.not_run.items():
        assert what == ALL or any(what in line for line in block.typed), f"{what}: no such line"
        assert len(why) > 3, f"{what}: no reason"


@pytest.mark.parametrize("page", NOT_RUN)
def test_the_table_names_lines_that_are_there(page):
    text = "\n".join(line for block in TYPED if block.page == page for line in block.typed)
    assert any(what in text for what in NOT_RUN[page])


def shown_commands() -> list[tuple[str, str]]:
    """Every ``pneumoscope ...`` in a block or between backticks, with where it stands."""
    found = []
    for block in TYPED:
        if not block.is_python:
            lines = [line.split("  #")[0] for line in block.typed]
            pieces = re.split(r"&&|\|", "\n".join(lines).replace("\n", " && "))
            found += [(str(block), piece.strip()) for piece in pieces]
    for page in PAGES:
        for text in re.findall(r"`(pneumoscope [^`\n]+)`", page.read_text(encoding="utf-8")):
            found.append((page.name, text))
    pattern = re.compile(r"(?:.*-m |\.venv/bin/)?(pneumoscope .*)")
    matches = ((where, pattern.fullmatch(text)) for where, text in found)
    return sorted({(where, match[1]) for where, match in matches if match})


@pytest.mark.parametrize(("where", "command"), shown_commands(), ids=lambda value: str(value)[:60])
def test_every_command_and_option_exists(where, command):
    arguments = shlex.split(command)[1:]
    parser, name = typer.main.get_command(app), "pneumoscope"
    while getattr(parser, "commands", None) and arguments:
        name = arguments.pop(0)
        if name.isupper() or name == "...":
            return  # a placeholder, as COMMAND
        assert name in parser.commands, f"{where}: no command {name}"
        parser = parser.commands[name]
    known = {name for p in parser.params for name in (*p.opts, *p.secondary_opts)}
    for option in arguments:
        if option.startswith("--") and option != "--help":
            assert option.split("=")[0] in known, f"{where}: {name} has no {option}"


def test_the_example_of_a_label_map_is_one(tmp_path):
    (block,) = [b for b in blocks(ROOT / "docs" / "report.md") if b.language == "toml"]
    (tmp_path / "map.toml").write_text(block.text, encoding="utf-8")
    assert read_label_map(tmp_path / "map.toml").NORMAL == ["No Finding", "healthy"]


@pytest.mark.parametrize("block", TYPED, ids=str)
def test_every_script_that_is_named_is_there(block):
    for script in re.findall(r"\b((?:benchmarks|docs)/\w+\.py)", block.text):
        assert (ROOT / script).is_file(), script
