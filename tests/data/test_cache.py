"""The cache of decoded films: built once, shared, never half, never stale."""

import multiprocessing
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from pneumoscope.data import cache as module
from pneumoscope.data.cache import default_cache_dir, open_cache
from pneumoscope.data.preprocessing import prepare
from pneumoscope.data.radiograph import read_radiograph
from pneumoscope.data.split import SplitRow
from pneumoscope.errors import RadiographError, StorageError
from pneumoscope.files import sha256_of
from pneumoscope.labels import Label

NUM_FILMS = 6


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(NUM_FILMS):
        pixels = rng.integers(0, 256, (50 + index, 40), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def rows(films: Path) -> list[SplitRow]:
    return [
        SplitRow(path.name, sha256_of(path), "train", Label.NORMAL, path.stem)
        for path in sorted(films.iterdir())
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the films that were decoded."""
    seen: list[str] = []

    def read(path: Path) -> object:
        seen.append(path.name)
        return read_radiograph(path)

    monkeypatch.setattr(module, "read_radiograph", read)
    return seen


def caches(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npy"))


def leftovers(folder: Path) -> list[str]:
    """What lies there besides locks, which stay."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_the_films_as_prepared_and_in_order(
    films: Path, rows: list[SplitRow], folder: Path
) -> None:
    pixels = open_cache(films, rows[::-1], 32, folder)
    assert isinstance(pixels, np.memmap)
    assert pixels.shape == (NUM_FILMS, 32, 32)
    assert pixels.dtype == np.uint8
    for row, film in zip(rows[::-1], pixels, strict=True):
        np.testing.assert_array_equal(film, prepare(read_radiograph(films / row.path), 32))
    with pytest.raises(ValueError, match="read-only"):
        pixels[0, 0, 0] = 1


def test_same_content_is_decoded_once(
    films: Path, rows: list[SplitRow], folder: Path, decoded: list[str]
) -> None:
    first = open_cache(films, rows, 32, folder)
    assert sorted(decoded) == [row.path for row in rows]
    # Names, splits and places do not matter, only bytes.
    moved = films.rename(films.with_name("moved"))
    renamed = [replace(row, split="val", patient_id="x", label=Label.PNEUMONIA) for row in rows]
    again = open_cache(moved, renamed, 32, folder)
    assert len(decoded) == NUM_FILMS
    np.testing.assert_array_equal(first, again)
    assert len(caches(folder)) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[::-1],
        lambda rows: rows[1:],
        lambda rows: [replace(rows[0], sha256="0" * 64), *rows[1:]],
    ],
    ids=["order", "fewer", "content"],
)
def test_other_films_make_another_cache(
    films: Path,
    rows: list[SplitRow],
    folder: Path,
    change: Callable[[list[SplitRow]], list[SplitRow]],
) -> None:
    open_cache(films, rows, 32, folder)
    open_cache(films, change(rows), 32, folder)
    assert len(caches(folder)) == 2


def test_another_size_or_preprocessing_makes_another_cache(
    films: Path, rows: list[SplitRow], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_cache(films, rows, 32, folder)
    assert open_cache(films, rows, 40, folder).shape == (NUM_FILMS, 40, 40)
    monkeypatch.setattr(module, "PREPROCESSING_VERSION", "next")
    open_cache(films, rows, 32, folder)
    assert len(caches(folder)) == 3


@pytest.mark.parametrize("damage", ["byte", "truncated", "no digest", "binary digest"])
def test_a_damaged_cache_is_built_again(
    films: Path, rows: list[SplitRow], folder: Path, decoded: list[str], damage: str
) -> None:
    expected = np.array(open_cache(films, rows, 32, folder))
    (path,) = caches(folder)
    content = bytearray(path.read_bytes())
    if damage == "byte":
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "truncated":
        path.write_bytes(content[:-1])
    elif damage == "no digest":
        path.with_suffix(".sha256").unlink()
    else:
        path.with_suffix(".sha256").write_bytes(b"\xff\xfe\x00")
    np.testing.assert_array_equal(open_cache(films, rows, 32, folder), expected)
    assert len(decoded) == 2 * NUM_FILMS
    np.testing.assert_array_equal(open_cache(films, rows, 32, folder), expected)
    assert len(decoded) == 2 * NUM_FILMS


def test_what_a_killed_process_left_is_removed(
    films: Path, rows: list[SplitRow], folder: Path
) -> None:
    open_cache(films, rows, 32, folder)
    (path,) = caches(folder)
    path.unlink()
    mine, others = folder / f".{path.name}.99999999.partial", folder / ".other.npy.1.partial"
    mine.touch()
    others.touch()  # another cache's: it may be in the making
    open_cache(films, rows, 32, folder)
    assert not mine.exists()
    assert others.exists()


def test_who_comes_second_waits(
    films: Path, rows: list[SplitRow], folder: Path, decoded: list[str]
) -> None:
    expected = np.array(open_cache(films, rows, 32, folder))
    (path,) = caches(folder)
    path.unlink()
    decoded.clear()
    with ThreadPoolExecutor(1) as pool:
        with FileLock(path.with_suffix(".lock")):  # as the first one holds it while it builds
            second = pool.submit(open_cache, films, rows, 32, folder)
            with pytest.raises(TimeoutError):
                second.result(timeout=0.3)
            assert decoded == []
        np.testing.assert_array_equal(second.result(timeout=60), expected)


def test_two_processes_at_once_share_one_cache(
    films: Path, rows: list[SplitRow], folder: Path
) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        futures = [pool.submit(open_cache, films, rows, 32, folder) for _ in range(2)]
        first, second = (future.result(timeout=300) for future in futures)
    np.testing.assert_array_equal(first, second)
    (path,) = caches(folder)
    assert path.with_suffix(".sha256").read_text().strip() == sha256_of(path)
    assert leftovers(folder) == [path.name, path.with_suffix(".sha256").name]
    np.testing.assert_array_equal(np.load(path), first)


def test_progress(films: Path, rows: list[SplitRow], folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    for _ in range(2):  # the second time there is nothing to do
        open_cache(films, rows, 32, folder, lambda *place: seen.append(place))
    assert seen == [(done, NUM_FILMS) for done in range(1, NUM_FILMS + 1)]


def test_an_unreadable_film_is_named_and_nothing_is_left(
    films: Path, rows: list[SplitRow], folder: Path
) -> None:
    bad = films / rows[3].path
    bad.write_bytes(bad.read_bytes()[:200])
    with pytest.raises(RadiographError) as caught:
        open_cache(films, rows, 32, folder)
    assert str(caught.value).startswith(f"{bad}: is a damaged or truncated PNG file")
    assert "\n" not in str(caught.value)
    assert leftovers(folder) == []


def test_a_cache_that_does_not_fit_on_the_disk_leaves_nothing(
    films: Path, rows: list[SplitRow], folder: Path
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))  # three films would fit
    try:
        with pytest.raises(StorageError, match=r"cannot write .*-32\.npy: File too large; choose"):
            open_cache(films, rows, 32, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert leftovers(folder) == []
    assert open_cache(films, rows, 32, folder).shape == (NUM_FILMS, 32, 32)


def test_a_folder_that_cannot_be_made(films: Path, rows: list[SplitRow], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot write .*file/cache: Not a directory; choose"):
        open_cache(films, rows, 32, tmp_path / "file" / "cache")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"PNEUMOSCOPE_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/pneumoscope"),
        ({"HOME": "/home/c"}, "/home/c/.cache/pneumoscope"),
        ({"PNEUMOSCOPE_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/pneumoscope"),
    ],
)
def test_where_it_lies(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name in ("PNEUMOSCOPE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert default_cache_dir() == Path(expected)


@pytest.mark.parametrize(("size_bytes", "expected"), [(20_000, 1), (200_000, 5)])
def test_small_films_are_decoded_in_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size_bytes: int, expected: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 5)
    paths = [tmp_path / str(index) for index in range(3)]
    for path in paths:
        path.write_bytes(bytes(size_bytes))
    assert module._num_threads([*paths, tmp_path / "missing"]) == expected


def test_who_is_stopped_does_not_decode_the_rest(
    films: Path, rows: list[SplitRow], folder: Path, decoded: list[str]
) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_cache(films, rows * 100, 32, folder, stop)
    assert len(decoded) < 300  # of 600
    assert caches(folder) == []


def test_more_films_than_a_thread_takes_at_once(
    films: Path, rows: list[SplitRow], folder: Path
) -> None:
    many = rows * 7
    expected = [prepare(read_radiograph(films / row.path), 32) for row in many]
    np.testing.assert_array_equal(open_cache(films, many, 32, folder), np.stack(expected))
