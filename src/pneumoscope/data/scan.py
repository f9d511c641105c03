"""Finding the films of a folder, their labels and their patients.

The layout is Kaggle's, ``{train,val,test}/{NORMAL,PNEUMONIA}/``, with or without ``val``. What
archives and operating systems add around it is understood: extra nesting, the second copy that
Kaggle's archive carries inside itself, ``__MACOSX``, hidden files, other letter case. Whatever
else is found among the films is named in an error, because a film that is silently left out
changes every number.
"""

import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pneumoscope.data.patients import patient_group, patient_key
from pneumoscope.data.radiograph import FORMATS, sniff_format
from pneumoscope.errors import LayoutError
from pneumoscope.labels import CLASS_NAMES, Label

DEFAULT_DATA = Path("Data/chest_xray")
"""Where the films are looked for, and fetched to, where no folder is named."""

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".dcm"})
"""Extensions of films, in lower case."""

_HEADER_BYTES = 512
_EXTENSIONS_TEXT = ", ".join(sorted(EXTENSIONS))
_FOLDERS = ("train", "val", "test")
_REQUIRED = ("train", "test")
JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir"})
"""Names, in lower case, that archives and operating systems leave among films."""

_MAX_DEPTH = 3  # archive/chest_xray/chest_xray
_LAYOUT = "{train,test}/{NORMAL,PNEUMONIA}"


@dataclass(frozen=True)
class Film:
    """One film of a folder.

    Attributes:
        path: Where it lies, relative to the folder's root, with ``/``.
        folder: ``"train"``, ``"val"`` or ``"test"``.
        label: Its reference label, from the name of the class folder.
        patient_id: The patient by number in train and val, by number and kind in test: by
            number alone patients of the test folder would falsely coincide with train.
    """

    path: str
    folder: str
    label: Label
    patient_id: str


@dataclass(frozen=True)
class FilmFolder:
    """The films of a folder, sorted by path.

    Attributes:
        root: The folder that really holds ``train`` and ``test`` (below extra nesting).
        films: All films, sorted by ``path``.
    """

    root: Path
    films: tuple[Film, ...]

    def in_folder(self, folder: str) -> tuple[Film, ...]:
        """Returns the films of ``"train"``, ``"val"`` or ``"test"``."""
        return tuple(film for film in self.films if film.folder == folder)


def scan_folder(root: Path) -> FilmFolder:
    """Returns the films of a folder laid out as ``{train,val,test}/{NORMAL,PNEUMONIA}``.

    ``val`` may be missing. The layout is also found up to three folders further down.

    Raises:
        LayoutError: the folder is not there or cannot be listed; train, test or one of their
            classes is missing or empty; a folder occurs twice; something lies among the films
            that is neither a film nor known to be harmless.
    """
    _check_is_folder(root)
    found = _find_layout(root, _REQUIRED)
    if found is None:
        raise LayoutError(_explain_missing(root, _REQUIRED))
    _refuse_unknown(found, _FOLDERS)
    films: list[Film] = []
    for name, folder in _subfolders(found, _FOLDERS).items():
        films += _labelled_films(found, folder, name, required=name in _REQUIRED)
    return FilmFolder(found, tuple(sorted(films, key=lambda film: film.path)))


def scan_labelled(root: Path) -> FilmFolder:
    """Returns the films of any labelled folder: a whole layout, or bare class folders.

    In a bare ``{NORMAL,PNEUMONIA}`` folder every film belongs to ``"test"``.

    Raises:
        LayoutError: as in :func:`scan_folder`; also where neither layout is found.
    """
    _check_is_folder(root)
    if _find_layout(root, _REQUIRED) is not None:
        return scan_folder(root)
    found = _find_layout(root, CLASS_NAMES)
    if found is None:
        raise LayoutError(_explain_missing(root, CLASS_NAMES))
    films = _labelled_films(found, found, "test", required=True)
    return FilmFolder(found, tuple(sorted(films, key=lambda film: film.path)))


def looks_like_film(path: Path) -> bool:
    """Returns whether a file is a film by its name or, as DICOM often has none, its content."""
    if path.suffix.lower() in EXTENSIONS:
        return True
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a named pipe would block
            return False
        with path.open("rb") as stream:
            return sniff_format(stream.read(_HEADER_BYTES)) in FORMATS
    except OSError:
        return False


def _check_is_folder(root: Path) -> None:
    try:
        if root.is_dir():
            return
        state = "is a file" if root.is_file() else "is not there"
    except OSError as error:
        state = f"cannot be reached ({error.strerror})"
    raise LayoutError(
        f"{root} {state}; expected a folder with {_LAYOUT}; `pneumoscope data fetch` gets the data"
    )


def _entries(folder: Path) -> list[Path]:
    """Returns what lies in a folder and is not known to be harmless, sorted by name."""
    try:
        children = sorted(folder.iterdir(), key=lambda child: child.name)
        (folder / "..").stat()  # fails where names may be listed but nothing opened
    except OSError as error:
        raise LayoutError(
            f"{folder} cannot be read ({error.strerror}); give this user access to it"
        ) from error
    return [c for c in children if not c.name.startswith(".") and c.name.lower() not in JUNK]


def _subfolders(folder: Path, names: tuple[str, ...]) -> dict[str, Path]:
    """Returns the subfolders that bear one of ``names`` in any case, by that name."""
    found: dict[str, Path] = {}
    by_lower = {name.lower(): name for name in names}
    for child in _entries(folder):
        name = by_lower.get(child.name.lower())
        if name is None or not child.is_dir():
            continue
        if name in found:
            raise LayoutError(
                f"{folder} holds both {found[name].name} and {child.name}; expected one of them; "
                "merge them or move one out"
            )
        found[name] = child
    return found


def _levels(root: Path) -> Iterator[list[Path]]:
    """Yields the folders at and below ``root``, level by level, each real folder once."""
    level = [(root, [child for child in _entries(root) if child.is_dir()])]
    seen = {root.resolve()}
    for _ in range(_MAX_DEPTH + 1):
        yield [folder for folder, _ in level]
        below = []
        for child in (child for _, children in level for child in children):
            real = child.resolve()  # links may lead round in a circle
            if real not in seen:
                seen.add(real)
                with suppress(LayoutError):  # a private folder is not what is looked for
                    below.append((child, [c for c in _entries(child) if c.is_dir()]))
        level = below


def _find_layout(root: Path, names: tuple[str, ...]) -> Path | None:
    """Returns the nearest folder at or below ``root`` that has all of ``names``, if any."""
    for level in _levels(root):
        found = [folder for folder in level if len(_subfolders(folder, names)) == len(names)]
        if len(found) > 1:
            shown = ", ".join(str(folder) for folder in found[:3])
            raise LayoutError(f"{root} holds {len(found)} sets of films ({shown}); name one")
        if found:
            return found[0]
    return None


def _explain_missing(root: Path, names: tuple[str, ...]) -> str:
    if not _entries(root):
        return f"{root} is empty; expected {_LAYOUT}; `pneumoscope data fetch` gets the data"
    present = _subfolders(root, names)
    missing = [name for name in names if name not in present]
    if present:
        return f"{root} has no folder {missing[0]}; expected {_LAYOUT}; add it or fetch the data"
    if len(_subfolders(root, CLASS_NAMES)) == len(CLASS_NAMES):
        return f"{root} holds the classes themselves; expected {_LAYOUT}; name the folder above"
    return (
        f"{root} has no {_LAYOUT}, nor has a folder up to {_MAX_DEPTH} levels below; name the "
        "folder with the films, or get them with `pneumoscope data fetch`"
    )


def _refuse_unknown(folder: Path, known: tuple[str, ...]) -> None:
    """Raises LayoutError for folders and films beside ``known``; other files are harmless.

    So is Kaggle's second copy, ``chest_xray`` inside ``chest_xray``.
    """
    lower = {name.lower() for name in known}
    copy = {"chest_xray", folder.name.lower()}
    for child in _entries(folder):
        if child.is_dir():
            if child.name.lower() in lower:
                continue
            if child.name.lower() in copy and len(_subfolders(child, _REQUIRED)) == len(_REQUIRED):
                continue
        elif child.suffix.lower() not in EXTENSIONS:
            continue
        raise LayoutError(
            f"{folder} holds {child.name}; expected only {', '.join(known)}; "
            "rename it or move it out"
        )


def _labelled_films(root: Path, folder: Path, name: str, *, required: bool) -> list[Film]:
    """Returns the films of the class folders in ``folder``, which counts as ``name``."""
    _refuse_unknown(folder, CLASS_NAMES)
    classes = _subfolders(folder, CLASS_NAMES)
    key = patient_key if name == "test" else patient_group
    films: list[Film] = []
    for label in Label:
        paths = _film_paths(classes[label.name]) if label.name in classes else []
        if required and not paths:
            state = "is empty" if label.name in classes else "is missing"
            raise LayoutError(
                f"{folder / label.name} {state}; expected films of both classes "
                f"({_EXTENSIONS_TEXT}); add films or fetch the data again"
            )
        films += [
            Film(path.relative_to(root).as_posix(), name, label, key(path.name)) for path in paths
        ]
    return films


def _film_paths(folder: Path) -> list[Path]:
    paths = _entries(folder)
    strangers = [path for path in paths if not _is_film(path)]
    if strangers:
        shown = ", ".join(path.name for path in strangers[:3])
        more = f" and {len(strangers) - 3} more" if len(strangers) > 3 else ""
        raise LayoutError(
            f"{folder} holds what is not a film: {shown}{more}; expected only files with "
            f"{_EXTENSIONS_TEXT}; move it out".encode(errors="backslashreplace").decode()
        )
    return paths


def _is_film(path: Path) -> bool:
    # A name that is not valid text (its bytes come as surrogates) could not be written to a table.
    is_text = not any("\ud800" <= letter <= "\udfff" for letter in path.name)
    return is_text and path.suffix.lower() in EXTENSIONS and path.is_file()
