"""Where checkpoints in Google's layout are looked for."""

from pathlib import Path

from pneumoscope.errors import WeightsError

WEIGHTS_DIRS = (Path("weights"), Path("notebooks/weights"))
"""Folders that are searched for a checkpoint given by name, below the one worked in."""


def find_weights(name: str) -> Path:
    """Returns the checkpoint of that name: a path, or a file in one of :data:`WEIGHTS_DIRS`.

    Args:
        name: a path, or a name such as ``ViT-B_16``, with or without ``.npz``.

    Raises:
        WeightsError: there is none, or it is a folder; the message says where it was looked for and
            how to get it.
    """
    try:
        path = Path(name).expanduser()
        is_there = path.is_file()
    except (RuntimeError, OSError) as error:  # no such home, or a name no file can have
        reason = error.strerror if isinstance(error, OSError) else "there is no such home folder"
        raise WeightsError(f"weights {name!r:.120}: {reason}; give a name or a path") from error
    if is_there:
        return path
    file_name = path.name if path.suffix == ".npz" else f"{path.name}.npz"
    places = [folder / file_name for folder in WEIGHTS_DIRS] if path.name == name else [path]
    for place in places:
        if place.is_file():
            return place
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; give a .npz file, or a name as ViT-Ti_16")
    raise WeightsError(
        f"no weights file {' or '.join(map(str, places))}; get it with "
        f"`pneumoscope weights fetch {file_name.removesuffix('.npz')}`, put it there by hand, or "
        "give its path"
    )
