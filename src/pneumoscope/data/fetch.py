"""Getting the data set: where it lies, in which order it is tried, and what must come out.

Three archives hold the same 5,856 films of Kermany et al., Cell 2018 (CC BY 4.0): Kaggle's,
the authors' own on Mendeley Data, and PneumoniaMNIST, made of them at 224 x 224. The films
reach ``target`` in one step at the very end, counted; until then all work is in the hidden
folder ``.<name>.fetch`` beside it, where an interrupted download waits for the next run.

An archive that was put beside ``target`` by hand is used before any network is asked.
"""

import os
import shutil
import subprocess
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from PIL import Image

from pneumoscope.data.archive import unpack
from pneumoscope.data.download import Progress, download
from pneumoscope.data.scan import DEFAULT_DATA, FilmFolder, scan_folder
from pneumoscope.errors import DataError, FetchError, LayoutError, UsageError
from pneumoscope.files import make_folder, storage_error
from pneumoscope.labels import Label

SourceName = Literal["auto", "kaggle", "mendeley", "pneumoniamnist"]
StepProgress = Callable[[str, int, int | None], None]
"""Called with what is being done, how much of it is done, and how much there is (or None)."""


@dataclass(frozen=True)
class Source:
    """One place that offers the films.

    Attributes:
        title: What a reader calls it.
        page: The page where a person finds the archive.
        location: URL of the archive; for Kaggle ``owner/name`` of the data set.
        file_name: The archive's name, also when it is put beside the target by hand.
        size_bytes, sha256, md5: What is known of the archive; None where nothing is published.
        num_train: Films outside ``test``, by label (NORMAL, PNEUMONIA).
        num_test: Films in ``test``, by label.
    """

    title: str
    page: str
    location: str
    file_name: str
    size_bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    num_train: tuple[int, int] = (1349, 3883)
    num_test: tuple[int, int] = (234, 390)


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        # Kaggle publishes no checksum: zip CRCs and the counts are what is verified.
        "kaggle": Source(
            title="Kaggle",
            page="https://www.kaggle.com/datasets/paultimothymooney/chest-xray-pneumonia",
            location="paultimothymooney/chest-xray-pneumonia",
            file_name="chest-xray-pneumonia.zip",
        ),
        # Version 2 of doi:10.17632/rscbjbr9sj. Mendeley Data's page shows no checksum; size and
        # SHA-256 are those that several public projects recorded of this URL, all the same.
        "mendeley": Source(
            title="Mendeley Data",
            page="https://data.mendeley.com/datasets/rscbjbr9sj/2",
            location="https://data.mendeley.com/public-files/datasets/rscbjbr9sj/files/"
            "f12eaf6d-6023-432f-acc9-80c9d7393433/file_downloaded",
            file_name="ChestXRay2017.zip",
            size_bytes=1_235_512_464,
            sha256="13efc055629733dbab07877f8b3c9f81097840dbcdaa326a8542322c2281ce36",
        ),
        # URL and MD5 as in medmnist 3.0.2 (its INFO table); Zenodo publishes the same MD5.
        "pneumoniamnist": Source(
            title="PneumoniaMNIST",
            page="https://zenodo.org/records/10519652",
            location="https://zenodo.org/records/10519652/files/pneumoniamnist_224.npz?download=1",
            file_name="pneumoniamnist_224.npz",
            md5="d6a3c71de1b945ea11211b03746c1fe1",
        ),
    }
)

KAGGLE_VAL = frozenset(
    [f"NORMAL2-IM-{n}-0001.jpeg" for n in (1427, 1430, 1431, 1436, 1437, 1438, 1440, 1442)]
    + [f"person1946_bacteria_{n}.jpeg" for n in (4874, 4875)]
    + ["person1947_bacteria_4876.jpeg", "person1949_bacteria_4880.jpeg"]
    + ["person1950_bacteria_4881.jpeg", "person1951_bacteria_4882.jpeg"]
    + ["person1952_bacteria_4883.jpeg", "person1954_bacteria_4886.jpeg"]
)
"""The 16 films that Kaggle's copy took out of the authors' ``train`` and named ``val``."""

_AUTO = ("kaggle", "mendeley")
_MNIST_PREFIX = "pneumoniamnist_"


def fetch_dataset(
    target: Path = DEFAULT_DATA,
    *,
    source: SourceName = "auto",
    sources: Mapping[str, Source] = SOURCES,
    timeout_s: float = 30.0,
    retries: int = 5,
    on_progress: StepProgress | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> Path:
    """Returns ``target``, which holds the whole data set, laid out as Kaggle does.

    A target that is whole already is returned as it is. ``"auto"`` tries Kaggle (by kagglehub,
    then by the ``kaggle`` command), then Mendeley Data; an archive that lies beside the target
    comes first, whichever it is. The authors' archive is laid out like Kaggle's, with its 16
    films in ``val``, so that a split does not depend on the source.

    With ``"pneumoniamnist"`` the films are PNG files of 224 x 224, cropped to their centre by
    their publishers, who give no names: **patients are unknown**, and each film counts as a
    patient of its own. Its train and val films, drawn at random, both go to ``train``.

    Args:
        target: the folder to make; it may exist when it is empty or whole.
        source: where to get the films.
        sources: the places themselves; replaceable for mirrors and tests.
        timeout_s, retries: as in :func:`pneumoscope.data.download.download`.
        on_progress: called as downloading, unpacking and sorting go on.
        on_notice: called with one line when a source fails and the next one is tried.

    Raises:
        UsageError: ``source`` is not one of the names above.
        LayoutError: ``target`` holds something else, or a part of the films; it is not touched.
        FetchError: no source gave the data set; the text says why and what to do by hand.
        StorageError: the films cannot be written (no space, no permission).
    """
    if source != "auto" and source not in sources:
        raise UsageError(f"unknown source {source!r}; choose auto, {', '.join(sources)}")
    if _is_whole(target, source, sources):
        return target
    names = [name for name in _AUTO if name in sources] if source == "auto" else [source]
    names.sort(key=lambda name: not (target.parent / sources[name].file_name).exists())
    home = Path(os.path.realpath(target))  # a link to another disk: work there
    workshop = make_folder(home.parent / f".{home.name}.fetch")
    report = on_progress or (lambda step, done, total: None)
    failures = []
    for name in names:
        fetch = _Fetch(name, sources[name], target, workshop, timeout_s, retries, report)
        try:
            with tempfile.TemporaryDirectory(dir=workshop, ignore_cleanup_errors=True) as place:
                _publish(fetch.films(Path(place)), home)
        except (FetchError, DataError) as error:
            failures.append(f"{sources[name].title}: {error}")
            if on_notice and name != names[-1]:
                on_notice(failures[-1])
        else:
            shutil.rmtree(workshop, ignore_errors=True)
            return target
    if not list(workshop.glob("*.partial")):
        shutil.rmtree(workshop, ignore_errors=True)
    raise FetchError("\n".join([*failures, _by_hand(target, [sources[name] for name in names])]))


@dataclass(frozen=True)
class _Fetch:
    """One attempt to get the films from one source."""

    name: str
    source: Source
    target: Path
    workshop: Path
    timeout_s: float
    retries: int
    report: StepProgress

    def films(self, place: Path) -> Path:
        """Returns a counted folder in Kaggle's layout inside ``place``."""
        raw = place / "raw"
        by_hand = self.target.parent / self.source.file_name
        transfer: Callable[[Path, Path], object] = os.replace
        if self.name != "kaggle":
            archive = self._downloaded(by_hand)
            if archive.suffix == ".npz":
                self._convert(archive, raw)
            else:
                unpack(archive, raw, on_progress=self._step("unpacking"))
        elif by_hand.exists():
            unpack(by_hand, raw, on_progress=self._step("unpacking"))
        else:
            cached = self._from_kaggle(raw)
            if cached is not None:
                # kagglehub's cache is the user's: its films are copied, not taken.
                raw, transfer = cached, shutil.copyfile
        found = scan_folder(raw)
        if difference := _difference(found, self.source):
            raise FetchError(f"the archive is not the expected one: {difference}")
        return self._sorted(found, place / "films", transfer)

    def _step(self, what: str) -> Progress:
        return partial(self.report, f"{what} {self.source.file_name}")

    def _downloaded(self, by_hand: Path) -> Path:
        return download(
            self.source.location,
            by_hand if by_hand.exists() else self.workshop / self.source.file_name,
            sha256=self.source.sha256,
            size_bytes=self.source.size_bytes,
            md5=self.source.md5,
            timeout_s=self.timeout_s,
            retries=self.retries,
            on_progress=self._step("downloading"),
        )

    def _from_kaggle(self, raw: Path) -> Path | None:
        """Returns the folder in kagglehub's cache, or None where ``raw`` was made instead."""
        try:
            import kagglehub
        except ImportError:
            problem = "kagglehub is not installed (pip install 'pneumoscope[kaggle]')"
        else:
            try:
                return Path(kagglehub.dataset_download(self.source.location))
            except Exception as error:  # it has no tree of errors of its own
                problem = f"kagglehub failed ({_reason(str(error))})"
        command = shutil.which("kaggle")
        if command is None:
            raise FetchError(f"{problem}, and there is no kaggle command")
        archive = self.workshop / self.source.file_name
        self._run_kaggle(command, archive, problem)
        try:
            unpack(archive, raw, on_progress=self._step("unpacking"))
        except FetchError:
            archive.unlink()  # or the command would take it for a finished download
            raise
        return None

    def _run_kaggle(self, command: str, archive: Path, problem: str) -> None:
        options = ["datasets", "download", "-d", self.source.location, "-p", str(archive.parent)]
        with tempfile.TemporaryFile("w+", errors="replace") as log:
            process = subprocess.Popen(
                [command, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            try:
                while process.poll() is None:
                    try:
                        process.wait(timeout=0.2)
                    except subprocess.TimeoutExpired:
                        done_bytes = archive.stat().st_size if archive.exists() else 0
                        self._step("downloading")(done_bytes, None)
            finally:
                process.kill()
                process.wait()
            log.seek(0)
            output = log.read()
        if process.returncode != 0 or not archive.exists():
            raise FetchError(f"{problem}, and the kaggle command failed ({_reason(output)})")

    def _convert(self, archive: Path, raw: Path) -> None:
        """Writes the arrays of PneumoniaMNIST as PNG files, two folders of two classes.

        Source: Yang et al., "MedMNIST v2", Scientific Data 2023; keys ``{train,val,test}_images``
        (N, 224, 224) uint8 and ``{train,val,test}_labels`` (N, 1), 1 = pneumonia.
        """
        num_films, done = sum(self.source.num_train) + sum(self.source.num_test), 0
        try:
            with np.load(archive, allow_pickle=False) as arrays:
                for part, folder in (("train", "train"), ("val", "train"), ("test", "test")):
                    images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"].ravel()
                    if images.ndim != 3 or images.dtype != np.uint8 or len(images) != len(labels):
                        raise ValueError(f"{part}_images has shape {images.shape}")
                    for index, (pixels, label) in enumerate(zip(images, labels, strict=True)):
                        path = raw / folder / Label(int(label)).name
                        path.mkdir(parents=True, exist_ok=True)
                        Image.fromarray(pixels).save(
                            path / f"{_MNIST_PREFIX}{part}_{index:04d}.png"
                        )
                        done += 1
                        self.report("converting films", done, num_films)
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise FetchError(
                f"{archive} is not PneumoniaMNIST ({_reason(str(error))}); delete it and "
                "fetch it again"
            ) from error
        except OSError as error:
            raise storage_error(raw, error) from error

    def _sorted(
        self, found: FilmFolder, folder: Path, transfer: Callable[[Path, Path], object]
    ) -> Path:
        """Returns ``folder`` with all films of ``found`` in ``{train,val,test}/<label>``."""
        has_val = any(film.folder == "val" for film in found.films)
        try:
            for index, film in enumerate(found.films):
                path = found.root / film.path
                part = "val" if not has_val and path.name in KAGGLE_VAL else film.folder
                sorted_path = folder / part / film.label.name / path.name
                sorted_path.parent.mkdir(parents=True, exist_ok=True)
                transfer(path, sorted_path)
                self.report("sorting films", index + 1, len(found.films))
        except OSError as error:
            raise storage_error(folder, error) from error
        return folder


def _is_whole(target: Path, source: str, sources: Mapping[str, Source]) -> bool:
    """Returns whether ``target`` holds the data set; False where there is nothing yet.

    Raises:
        LayoutError: something else is there.
    """
    advice = "nothing was changed; move it away, or name another folder"
    if not target.exists():
        return False
    if not target.is_dir():
        raise LayoutError(f"{target} is a file; expected a folder; {advice}")
    try:
        if not any(target.iterdir()):
            return False
        found = scan_folder(target)
    except (LayoutError, OSError) as error:
        reason = str(error).partition(";")[0]
        raise LayoutError(
            f"{target} is there and is not the data set ({reason}); {advice}"
        ) from error
    wanted = list(sources.values()) if source == "auto" else [sources[source]]
    differences = [_difference(found, candidate) for candidate in wanted]
    if None not in differences:
        raise LayoutError(
            f"{target} holds another or a partial data set: {differences[0]}; {advice}"
        )
    is_mnist = Path(found.films[0].path).name.startswith(_MNIST_PREFIX)
    if source != "auto" and is_mnist != (source == "pneumoniamnist"):
        held = "PneumoniaMNIST" if is_mnist else "the original films"
        raise LayoutError(f"{target} holds {held}, not what {source} offers; {advice}")
    return True


def _difference(found: FilmFolder, source: Source) -> str | None:
    """Returns which counts differ from the source's, in words, or None.

    What lies in ``val`` counts as training films, which it was in the authors' archive; but
    more than Kaggle's 16 there is somebody's own split.
    """
    counts = Counter((film.folder == "test", film.label) for film in found.films)
    differing = [
        f"{counts[is_test, label]:,} films of {label.name} in {'test' if is_test else 'train'} "
        f"where {expected[label]:,} were expected"
        for is_test, expected in ((False, source.num_train), (True, source.num_test))
        for label in Label
        if counts[is_test, label] != expected[label]
    ]
    num_val = len(found.in_folder("val"))
    if num_val > len(KAGGLE_VAL):
        differing.append(f"{num_val:,} films in val where at most {len(KAGGLE_VAL)} were expected")
    return ", ".join(differing) or None


def _publish(films: Path, home: Path) -> None:
    """Gives the finished folder its name."""
    try:
        if home.exists():
            home.rmdir()  # empty, or this fails; Windows would not replace even an empty one
        films.replace(home)
    except OSError as error:
        raise storage_error(home, error) from error


def _reason(text: str) -> str:
    """Returns the end of what a program or library said, in one line: there the reason is."""
    return " ".join(text.split())[-200:] or "no reason given"


def _by_hand(target: Path, sources: list[Source]) -> str:
    steps = [
        f"  - {source.file_name} from {source.page}"
        + (f" ({source.size_bytes:,} bytes)" if source.size_bytes else "")
        for source in sources
    ]
    return "\n".join(
        [
            "By hand: on any machine with a browser, download one of",
            *steps,
            f"  save it, under that name and without unpacking it, in {target.parent}/",
            "  and run the same command again: it verifies and unpacks the file offline.",
            "Proxies and certificates: docs/locked-down-networks.md",
        ]
    )
