"""Folders in which the pages' commands find what they name."""

import functools
import hashlib
import http.server
import json
import os
import shlex
import shutil
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cut_short
import numpy as np
import pytest
from pages import ROOT
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from pneumoscope.bundle import shipped_bundles
from pneumoscope.data.radiograph import read_radiograph

ARCHIVES = ("ChestXRay2017.zip", "pneumoniamnist_224.npz")


@pytest.fixture(scope="session")
def template(
    tmp_path_factory: pytest.TempPathFactory, phantoms: Path, trained: Path, recipes: Path
) -> Path:
    """A folder with everything that the pages name: films, a map, scores, runs, weights."""
    folder = tmp_path_factory.mktemp("template")
    shutil.copytree(phantoms, folder / "Data" / "chest_xray")
    shutil.copytree(phantoms / "test", folder / "OTHER" / "FILMS")
    names = 'NORMAL = ["NORMAL"]\nPNEUMONIA = ["PNEUMONIA"]\n'
    (folder / "map.toml").write_text(names)
    shutil.copy(recipes / "tiny_cnn.toml", folder / "my.toml")
    film = sorted((phantoms / "test" / "NORMAL").iterdir())[0]
    shutil.copy(film, folder / "film.jpeg")
    for name in ("folder", "incoming", "archive"):
        (folder / name).mkdir()
        shutil.copy(film, folder / name)
    shutil.make_archive(str(folder / "study"), "zip", folder / "folder")
    for name in ("film.dcm", "study.dcm", "archive/film.dcm"):
        write_dicom(folder / name, read_radiograph(film).pixels)
    cnn = shipped_bundles()["cnn"]
    shutil.copy(cnn / "predictions.csv", folder / "theirs.csv")
    for name in ("cnn", "mine"):
        shutil.copytree(cnn, folder / "runs" / name / "bundle")
    for name in ("evaluation", "stratified-split"):
        recorded = Path("benchmarks", "results", name)
        shutil.copytree(ROOT / recorded, folder / recorded)
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    shutil.copytree(trained, folder, dirs_exist_ok=True)
    (folder / "hospital-root.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    return folder


@pytest.fixture(scope="session")
def trained(
    tmp_path_factory: pytest.TempPathFactory,
    phantoms: Path,
    recipes: Path,
    program: Callable[..., object],
    save_as_google: Callable[..., None],
) -> Path:
    """What takes a network to make: random weights, and bundles trained for a moment."""
    import torch

    from pneumoscope.models.build import build_model

    folder = tmp_path_factory.mktemp("trained")
    for name in ("tiny_cnn", "tiny_vit"):
        program(
            *("train", recipes / f"{name}.toml", "--data", phantoms),
            *("--split", "split.csv", "--out", f"runs/{name}"),
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=True,
        )
    for name, run in (("cnn", "cnn"), ("scratch", "vit"), ("pretrained_ti16", "vit")):
        shutil.copytree(folder / "runs" / f"tiny_{run}", folder / "trained" / name)
    for name in ("RUN", "BUNDLE"):
        shutil.copytree(folder / "runs" / "tiny_cnn", folder / name)
        shutil.copy(folder / "split.csv", folder / name)
    (folder / "studies" / "full").mkdir(parents=True)
    (folder / "split.csv").rename(folder / "studies" / "full" / "split.csv")
    shutil.rmtree(folder / "runs")
    (folder / "weights").mkdir()
    torch.manual_seed(0)
    network = build_model("vit_ti16", num_classes=1000)
    save_as_google(network, folder / "weights" / "ViT-Ti_16.npz")
    torch.save(build_model("vit_ti16", num_classes=2).state_dict(), folder / "old.pth")
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


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Path:
    """Small archives under the names of the real ones."""
    folder = tmp_path_factory.mktemp("archives")
    for part in ("train", "test"):  # the authors' archive has no val
        shutil.copytree(phantoms / part, folder / "chest_xray" / part)
    shutil.make_archive(str(folder / "ChestXRay2017"), "zip", folder, "chest_xray")
    shutil.rmtree(folder / "chest_xray")
    rng = np.random.default_rng(0)
    arrays = {}
    for part, num_films in (("train", 20), ("val", 6), ("test", 8)):
        shape = (num_films, 224, 224)
        arrays[f"{part}_images"] = rng.integers(0, 256, shape, dtype=np.uint8)
        arrays[f"{part}_labels"] = (np.arange(num_films) % 2)[:, None]
    np.savez(folder / "pneumoniamnist_224.npz", **arrays)
    return folder


@pytest.fixture(scope="session")
def server(archives: Path) -> Iterator[str]:
    """The address of a server on this machine that offers the archives."""
    handler = functools.partial(QuietHandler, directory=str(archives))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def sources(archives: Path, server: str, phantoms: Path) -> str:
    """The sources of films as they are on the server, for ``cut_short``."""

    def counts(part: str) -> list[int]:
        return [len(list((phantoms / part / name).iterdir())) for name in ("NORMAL", "PNEUMONIA")]

    films = {"num_train": counts("train"), "num_test": counts("test")}
    whole, small = (archives / name for name in ARCHIVES)
    return json.dumps(
        {
            "kaggle": films,
            "mendeley": {
                **films,
                "location": f"{server}/{whole.name}",
                "size_bytes": whole.stat().st_size,
                "sha256": hashlib.sha256(whole.read_bytes()).hexdigest(),
            },
            "pneumoniamnist": {
                "location": f"{server}/{small.name}",
                "md5": hashlib.md5(small.read_bytes()).hexdigest(),
                "num_train": [13, 13],
                "num_test": [4, 4],
            },
        }
    )


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that goes first on the path: the programs that pages call, cut short."""
    folder = tmp_path_factory.mktemp("bin")
    start = f"{shlex.quote(sys.executable)} {shlex.quote(cut_short.__file__)}"
    for name in cut_short.PROGRAMS:
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec {start} {name} "$@"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    (folder / "activate").write_text(f"export PATH={shlex.quote(str(folder))}:$PATH\n")
    return folder


@pytest.fixture(scope="session")
def workspaces(
    template: Path,
    archives: Path,
    programs: Path,
    tmp_path_factory: pytest.TempPathFactory,
    save_as_google: Callable[..., None],
) -> Callable[[str], Path]:
    """The folder of a page, in which its blocks are run one after the other."""
    made: dict[str, Path] = {}

    def of(page: str) -> Path:
        if page not in made:
            folder = made[page] = tmp_path_factory.mktemp("page") / "work"
            shutil.copytree(template, folder, symlinks=True)
            (folder / ".venv").mkdir()
            (folder / ".venv" / "bin").symlink_to(programs)
            if page not in ("docs/thresholds.md", "docs/recipes.md"):  # the others make it
                shutil.rmtree(folder / "studies")
            if page == "docs/training.md":  # which makes them
                shutil.rmtree(folder / "runs")
            if page == "docs/locked-down-networks.md":  # where they are brought by hand
                for name in ARCHIVES:
                    shutil.copy(archives / name, folder / "Data")
            if page == "docs/pretrained-weights.md":
                write_base(folder / "weights" / "ViT-B_16.npz", save_as_google)
        return made[page]

    return of


def write_base(path: Path, save_as_google: Callable[..., None]) -> None:
    """Writes a random ViT-B/16 in the layout of Google's file, with a smaller head."""
    import torch

    from pneumoscope.models.build import build_model

    torch.manual_seed(0)
    save_as_google(build_model("vit_b16", num_classes=21, representation_size=768), path)
