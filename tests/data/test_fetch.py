"""Fetching the data set from servers, tools and archives that are all made up here."""

import errno
import functools
import hashlib
import os
import sys
import threading
import types
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumoscope.data import fetch
from pneumoscope.data.fetch import KAGGLE_VAL, SOURCES, Source, fetch_dataset
from pneumoscope.data.scan import scan_folder
from pneumoscope.errors import FetchError, LayoutError, StorageError, UsageError

VAL = ("NORMAL/NORMAL2-IM-1427-0001.jpeg", "PNEUMONIA/person1946_bacteria_4874.jpeg")
AUTHORS_FILMS = {
    "train/NORMAL/IM-0115-0001.jpeg": b"1",
    "train/NORMAL/IM-0117-0001.jpeg": b"2",
    "train/PNEUMONIA/person1_bacteria_1.jpeg": b"3",
    "train/PNEUMONIA/person1_bacteria_2.jpeg": b"4",
    "train/PNEUMONIA/person2_virus_3.jpeg": b"5",
    "test/NORMAL/IM-0001-0001.jpeg": b"6",
    "test/PNEUMONIA/person1_virus_6.jpeg": b"7",
} | {f"train/{name}": name.encode() for name in VAL}
KAGGLE_FILMS = {
    (f"val/{name[6:]}" if name[6:] in VAL else name): content
    for name, content in AUTHORS_FILMS.items()
}
COUNTS = {"num_train": (3, 4), "num_test": (1, 1)}


def make_zip(path: Path, films: dict[str, bytes]) -> Path:
    """Writes the same bytes whenever it is called: a ZipInfo has a fixed date."""
    extras = {"chest_xray/.DS_Store": b"x", "__MACOSX/chest_xray/._train": b"x"}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (
            {f"chest_xray/{name}": films[name] for name in films} | extras
        ).items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def write_films(folder: Path, films: dict[str, bytes]) -> Path:
    for name, content in films.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


class Site(ThreadingHTTPServer):
    """Serves the files of ``folder`` and remembers what was asked for."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[str] = []
        requests = self.requests

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                requests.append(self.path)

        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=folder))

    def source(self, archive: Path, name: str) -> Source:
        content = archive.read_bytes() if archive.exists() else b""
        return replace(
            SOURCES[name],
            location=f"http://127.0.0.1:{self.server_port}/{archive.name}",
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest() if name == "mendeley" else None,
            md5=hashlib.md5(content).hexdigest() if name == "pneumoniamnist" else None,
            **COUNTS,
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "site").mkdir()
    with Site(tmp_path / "site") as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_kaggle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No Kaggle tool, no proxy, no certificates but those that a test brings itself."""
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("HTTP_PROXY", "ALL_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "Data" / "chest_xray"


@pytest.fixture
def sources(site: Site) -> dict[str, Source]:
    authors = make_zip(site.folder / "ChestXRay2017.zip", AUTHORS_FILMS)
    mnist = site.folder / "pneumoniamnist_224.npz"
    np.savez(mnist, **mnist_arrays())  # type: ignore[arg-type]
    return {
        "kaggle": replace(SOURCES["kaggle"], **COUNTS),  # type: ignore[arg-type]
        "mendeley": site.source(authors, "mendeley"),
        "pneumoniamnist": site.source(mnist, "pneumoniamnist"),
    }


def mnist_arrays() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = {"train": [0, 1, 1, 0, 1], "val": [1, 0], "test": [0, 1]}
    return {
        f"{part}_{what}": value
        for part, values in labels.items()
        for what, value in (
            ("images", generator.integers(0, 256, (len(values), 8, 8), dtype=np.uint8)),
            ("labels", np.array(values, dtype=np.uint8)[:, None]),
        )
    }


def install_kagglehub(monkeypatch: pytest.MonkeyPatch, answer: Path | Exception) -> list[str]:
    asked: list[str] = []

    def dataset_download(handle: str) -> str:
        asked.append(handle)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    module = types.ModuleType("kagglehub")
    module.dataset_download = dataset_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    return asked


def install_kaggle_command(tmp_path: Path, script: str) -> None:
    command = tmp_path / "bin" / "kaggle"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)


def test_what_the_sources_promise_is_the_published_data_set() -> None:
    for source in SOURCES.values():
        assert sum(source.num_train) == 5232
        assert sum(source.num_test) == 624
    for name in ("mendeley", "pneumoniamnist"):
        source = SOURCES[name]
        assert source.location.startswith("https://")
        assert len(source.sha256 or "") == 64 or len(source.md5 or "") == 32


def test_the_authors_archive_comes_out_laid_out_like_kaggles(
    site: Site, sources: dict[str, Source], target: Path
) -> None:
    steps: Counter[str] = Counter()
    path = fetch_dataset(
        target,
        source="mendeley",
        sources=sources,
        on_progress=lambda step, done, total: steps.update([step]),
    )
    assert path == target
    assert contents(target) == KAGGLE_FILMS
    assert [entry.name for entry in target.parent.iterdir()] == ["chest_xray"]
    assert set(steps) == {
        "downloading ChestXRay2017.zip",
        "unpacking ChestXRay2017.zip",
        "sorting films",
    }
    assert steps["sorting films"] == len(KAGGLE_FILMS)


def test_auto_goes_on_to_the_next_source_and_says_so(
    sources: dict[str, Source], target: Path
) -> None:
    notices: list[str] = []
    fetch_dataset(target, sources=sources, on_notice=notices.append)
    assert contents(target) == KAGGLE_FILMS
    assert notices == [
        "Kaggle: kagglehub is not installed (pip install 'pneumoscope[kaggle]'), "
        "and there is no kaggle command"
    ]


def test_kagglehubs_cache_is_copied_and_left_alone(
    site: Site,
    sources: dict[str, Source],
    target: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = write_films(tmp_path / "cache" / "chest_xray", KAGGLE_FILMS)
    write_films(cache / "chest_xray", KAGGLE_FILMS)  # the second copy in Kaggle's archive
    (cache / "test" / "NORMAL" / ".DS_Store").write_text("x")
    before = contents(tmp_path / "cache")
    asked = install_kagglehub(monkeypatch, tmp_path / "cache")
    fetch_dataset(target, sources=sources)
    assert contents(target) == KAGGLE_FILMS
    assert asked == ["paultimothymooney/chest-xray-pneumonia"]
    assert contents(tmp_path / "cache") == before
    assert site.requests == []


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for the command is a shell script")
def test_the_kaggle_command_is_used_where_kagglehub_fails(
    sources: dict[str, Source], target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_kagglehub(monkeypatch, RuntimeError("401\n\nUnauthorized"))
    archive = make_zip(tmp_path / "served.zip", KAGGLE_FILMS)
    install_kaggle_command(
        tmp_path, f'echo "$@" > {tmp_path}/options; /bin/cp {archive} "$6/chest-xray-pneumonia.zip"'
    )
    fetch_dataset(target, source="kaggle", sources=sources)
    assert contents(target) == KAGGLE_FILMS
    options = (tmp_path / "options").read_text().split()
    assert options[:4] == ["datasets", "download", "-d", "paultimothymooney/chest-xray-pneumonia"]
    assert [entry.name for entry in target.parent.iterdir()] == ["chest_xray"]


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for the command is a shell script")
def test_a_failing_kaggle_command_is_quoted(
    sources: dict[str, Source], target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_kagglehub(monkeypatch, RuntimeError("401\n\nUnauthorized"))
    install_kaggle_command(tmp_path, "echo Could not find kaggle.json >&2; exit 1")
    notices: list[str] = []
    fetch_dataset(target, sources=sources, on_notice=notices.append)
    assert notices == [
        "Kaggle: kagglehub failed (401 Unauthorized), and the kaggle command failed "
        "(Could not find kaggle.json)"
    ]
    assert contents(target) == KAGGLE_FILMS


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for the command is a shell script")
def test_a_damaged_archive_of_the_kaggle_command_is_not_kept(
    sources: dict[str, Source], target: Path, tmp_path: Path
) -> None:
    workshop = target.parent / ".chest_xray.fetch"
    workshop.mkdir(parents=True)
    (workshop / "ChestXRay2017.zip.partial").write_bytes(b"PK")
    install_kaggle_command(tmp_path, 'echo PK > "$6/chest-xray-pneumonia.zip"')
    with pytest.raises(FetchError, match=r"chest-xray-pneumonia.zip is no zip or tar archive"):
        fetch_dataset(target, source="kaggle", sources=sources)
    assert [entry.name for entry in workshop.iterdir()] == ["ChestXRay2017.zip.partial"]


@pytest.mark.parametrize("name", ["kaggle", "mendeley"])
def test_an_archive_put_beside_the_target_is_used_before_any_network(
    site: Site,
    sources: dict[str, Source],
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    asked = install_kagglehub(monkeypatch, RuntimeError("must not be asked"))
    target.parent.mkdir()
    by_hand = target.parent / sources[name].file_name
    make_zip(by_hand, KAGGLE_FILMS if name == "kaggle" else AUTHORS_FILMS)
    fetch_dataset(target, sources=sources)
    assert contents(target) == KAGGLE_FILMS
    assert by_hand.exists()
    assert asked == site.requests == []


def test_a_damaged_archive_beside_the_target_is_named_and_kept(
    site: Site, sources: dict[str, Source], target: Path
) -> None:
    target.parent.mkdir()
    by_hand = target.parent / "ChestXRay2017.zip"
    by_hand.write_bytes((site.folder / "ChestXRay2017.zip").read_bytes()[:-10])
    with pytest.raises(FetchError, match=rf"{by_hand} is not the expected file: .* bytes where"):
        fetch_dataset(target, source="mendeley", sources=sources)
    assert [entry.name for entry in target.parent.iterdir()] == ["ChestXRay2017.zip"]


def test_an_archive_with_other_counts_leaves_nothing_that_looks_whole(
    site: Site, sources: dict[str, Source], target: Path
) -> None:
    fewer = dict(list(AUTHORS_FILMS.items())[1:])
    archive = make_zip(site.folder / "fewer.zip", fewer)
    sources["mendeley"] = site.source(archive, "mendeley")
    with pytest.raises(FetchError, match="2 films of NORMAL in train where 3 were expected"):
        fetch_dataset(target, source="mendeley", sources=sources)
    assert list(target.parent.iterdir()) == []


def test_an_archive_without_the_layout_is_refused(
    site: Site, sources: dict[str, Source], target: Path
) -> None:
    archive = make_zip(site.folder / "other.zip", {"readme.txt": b"x"})
    sources["mendeley"] = site.source(archive, "mendeley")
    with pytest.raises(FetchError, match="Mendeley Data: "):
        fetch_dataset(target, source="mendeley", sources=sources)
    assert list(target.parent.iterdir()) == []


def test_when_nothing_works_the_error_says_what_to_do_by_hand(
    sources: dict[str, Source], target: Path
) -> None:
    gone = sources["mendeley"].location.replace("2017", "2018")
    sources["mendeley"] = replace(sources["mendeley"], location=gone)
    with pytest.raises(FetchError) as caught:
        fetch_dataset(target, sources=sources)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("Kaggle: kagglehub is not installed")
    assert lines[1].startswith(f"Mendeley Data: {gone}: HTTP 404")
    assert lines[2] == "By hand: on any machine with a browser, download one of"
    assert lines[3].endswith(
        "https://www.kaggle.com/datasets/paultimothymooney/chest-xray-pneumonia"
    )
    assert "ChestXRay2017.zip from https://data.mendeley.com/datasets/rscbjbr9sj/2" in lines[4]
    assert f"in {target.parent}/" in lines[5]
    assert list(target.parent.iterdir()) == []


def test_an_interrupted_download_goes_on_in_the_next_run(
    site: Site, sources: dict[str, Source], target: Path
) -> None:
    """The partial file survives a failed run; here it is whole, so that nothing is asked for."""
    source = sources["mendeley"]
    workshop = target.parent / ".chest_xray.fetch"
    workshop.mkdir(parents=True)
    (workshop / "ChestXRay2017.zip.partial").write_bytes(b"PK")
    down = replace(source, location=source.location.replace("2017", "2018"))
    with pytest.raises(FetchError, match="HTTP 404"):
        fetch_dataset(target, source="mendeley", sources={"mendeley": down})
    assert (workshop / "ChestXRay2017.zip.partial").exists()
    content = (site.folder / "ChestXRay2017.zip").read_bytes()
    (workshop / "ChestXRay2017.zip.partial").write_bytes(content)
    (workshop / "ChestXRay2017.zip.partial.json").write_text(
        f'{{"url": "{source.location}", "validator": null}}'
    )
    site.requests.clear()
    fetch_dataset(target, source="mendeley", sources=sources)
    assert contents(target) == KAGGLE_FILMS
    assert site.requests == []
    assert not workshop.exists()


@pytest.mark.parametrize("step", ["unpacking ChestXRay2017.zip", "sorting films"])
def test_an_interruption_leaves_no_target(
    sources: dict[str, Source], target: Path, step: str
) -> None:
    def interrupt(current: str, done: int, total: int | None) -> None:
        if current == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_dataset(target, source="mendeley", sources=sources, on_progress=interrupt)
    assert not target.exists()
    fetch_dataset(target, source="mendeley", sources=sources)
    assert contents(target) == KAGGLE_FILMS


def test_a_full_disk_stops_everything(
    site: Site, sources: dict[str, Source], target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: object, destination: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch.os, "replace", full)
    target.parent.mkdir()
    make_zip(target.parent / "chest-xray-pneumonia.zip", KAGGLE_FILMS)
    with pytest.raises(StorageError, match="no space is left there"):
        fetch_dataset(target, sources=sources)
    assert not target.exists()
    assert site.requests == []


@pytest.mark.parametrize("films", [KAGGLE_FILMS, AUTHORS_FILMS])
@pytest.mark.parametrize("source", ["auto", "kaggle", "mendeley"])
def test_a_whole_target_is_used_as_it_is(
    site: Site, sources: dict[str, Source], target: Path, films: dict[str, bytes], source: str
) -> None:
    write_films(target, films)
    assert fetch_dataset(target, source=source, sources=sources) == target  # type: ignore[arg-type]
    assert contents(target) == films
    assert site.requests == []


def test_an_empty_target_is_filled_also_behind_a_link(
    sources: dict[str, Source], target: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "big_disk" / "films"
    elsewhere.mkdir(parents=True)
    target.parent.mkdir()
    target.symlink_to(elsewhere)
    fetch_dataset(target, source="mendeley", sources=sources)
    assert target.is_symlink()
    assert contents(elsewhere) == KAGGLE_FILMS


@pytest.mark.parametrize(
    ("films", "reason"),
    [
        (dict(list(KAGGLE_FILMS.items())[1:]), "2 films of NORMAL in train where 3 were expected"),
        ({"notes.txt": b"mine"}, "is there and is not the data set"),
        ({"train/NORMAL/a.jpeg": b"x"}, "is there and is not the data set"),
    ],
)
def test_a_partial_or_foreign_target_is_refused_and_kept(
    site: Site, sources: dict[str, Source], target: Path, films: dict[str, bytes], reason: str
) -> None:
    write_films(target, films)
    with pytest.raises(LayoutError, match=reason) as caught:
        fetch_dataset(target, sources=sources)
    message = str(caught.value)
    assert message.startswith(str(target))
    assert message.endswith("nothing was changed; move it away, or name another folder")
    assert "\n" not in message
    assert contents(target) == films
    assert site.requests == []


def test_somebodys_own_validation_folder_is_not_taken_for_kaggles(
    sources: dict[str, Source], target: Path
) -> None:
    films = {f"val/NORMAL/{i}.jpeg": b"x" for i in range(len(KAGGLE_VAL) + 1)} | KAGGLE_FILMS
    sources = {name: replace(s, num_train=(20, 4)) for name, s in sources.items()}
    write_films(target, films)
    with pytest.raises(LayoutError, match="19 films in val where at most 16 were expected"):
        fetch_dataset(target, sources=sources)


def test_a_file_in_the_targets_place_is_refused(sources: dict[str, Source], target: Path) -> None:
    target.parent.mkdir()
    target.write_text("mine")
    with pytest.raises(LayoutError, match="is a file; expected a folder"):
        fetch_dataset(target, sources=sources)
    assert target.read_text() == "mine"


def test_pneumoniamnist_becomes_png_films_without_patients(
    sources: dict[str, Source], target: Path
) -> None:
    fetch_dataset(target, source="pneumoniamnist", sources=sources)
    films = scan_folder(target).films
    assert [film.path for film in films] == [
        "test/NORMAL/pneumoniamnist_test_0000.png",
        "test/PNEUMONIA/pneumoniamnist_test_0001.png",
        "train/NORMAL/pneumoniamnist_train_0000.png",
        "train/NORMAL/pneumoniamnist_train_0003.png",
        "train/NORMAL/pneumoniamnist_val_0001.png",
        "train/PNEUMONIA/pneumoniamnist_train_0001.png",
        "train/PNEUMONIA/pneumoniamnist_train_0002.png",
        "train/PNEUMONIA/pneumoniamnist_train_0004.png",
        "train/PNEUMONIA/pneumoniamnist_val_0000.png",
    ]
    assert len({film.patient_id for film in films}) == len(films)
    with Image.open(target / films[4].path) as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), mnist_arrays()["val_images"][1])


@pytest.mark.parametrize(
    ("held", "asked"), [("pneumoniamnist", "mendeley"), ("mendeley", "pneumoniamnist")]
)
def test_pneumoniamnist_and_the_original_films_are_not_confused(
    sources: dict[str, Source], target: Path, held: str, asked: str
) -> None:
    fetch_dataset(target, source=held, sources=sources)  # type: ignore[arg-type]
    assert fetch_dataset(target, sources=sources) == target
    with pytest.raises(LayoutError, match=f"not what {asked} offers"):
        fetch_dataset(target, source=asked, sources=sources)  # type: ignore[arg-type]


def test_a_wrong_md5_is_refused(site: Site, sources: dict[str, Source], target: Path) -> None:
    sources["pneumoniamnist"] = replace(sources["pneumoniamnist"], md5="0" * 32)
    with pytest.raises(FetchError, match=f"where {'0' * 32} was expected"):
        fetch_dataset(target, source="pneumoniamnist", sources=sources)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"train_images": np.array([{"pickled": 1}] * 5, dtype=object)},
        {"train_images": np.zeros((5, 8, 8), dtype=np.float32)},
        {"train_images": np.zeros((4, 8, 8), dtype=np.uint8)},
        {"test_labels": np.array([[0], [7]], dtype=np.uint8)},
        {"test_images": None},
    ],
)
def test_other_arrays_are_refused(
    site: Site, sources: dict[str, Source], target: Path, change: dict[str, np.ndarray | None]
) -> None:
    arrays = {name: a for name, a in (mnist_arrays() | change).items() if a is not None}
    archive = site.folder / "pneumoniamnist_224.npz"
    np.savez(archive, **arrays)  # type: ignore[arg-type]
    sources["pneumoniamnist"] = site.source(archive, "pneumoniamnist")
    with pytest.raises(FetchError, match="is not PneumoniaMNIST"):
        fetch_dataset(target, source="pneumoniamnist", sources=sources)
    assert list(target.parent.iterdir()) == []


class Payload:
    """Runs code of its maker's choice when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.trace,)


def test_pickles_are_never_opened(
    site: Site, sources: dict[str, Source], target: Path, tmp_path: Path
) -> None:
    archive = site.folder / "pneumoniamnist_224.npz"
    payload = np.array([Payload(tmp_path / "trace")], dtype=object)
    np.savez(archive, **(mnist_arrays() | {"train_images": payload}))  # type: ignore[arg-type]
    sources["pneumoniamnist"] = site.source(archive, "pneumoniamnist")
    with pytest.raises(FetchError, match="is not PneumoniaMNIST"):
        fetch_dataset(target, source="pneumoniamnist", sources=sources)
    assert not (tmp_path / "trace").exists()


def test_an_unknown_source_is_a_usage_error(target: Path) -> None:
    with pytest.raises(UsageError, match="choose auto, kaggle, mendeley, pneumoniamnist"):
        fetch_dataset(target, source="torrent")  # type: ignore[arg-type]


def test_the_real_data_set_is_recognised_with_its_16_films_in_val(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "chest_xray"
    assert fetch_dataset(folder) == folder
    assert {Path(film.path).name for film in scan_folder(folder).in_folder("val")} == KAGGLE_VAL
