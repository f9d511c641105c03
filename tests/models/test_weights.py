"""Where a checkpoint is looked for."""

from pathlib import Path

import pytest

from pneumoscope.errors import WeightsError
from pneumoscope.models.weights import find_weights


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(place: str) -> Path:
    path = Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    return path


@pytest.mark.parametrize("name", ["ViT-B_16", "ViT-B_16.npz"])
@pytest.mark.parametrize("folder", ["weights", "notebooks/weights"])
def test_by_name_with_and_without_its_ending(name: str, folder: str) -> None:
    path = put(f"{folder}/ViT-B_16.npz")
    assert find_weights(name) == path


def test_weights_come_before_those_of_notebooks() -> None:
    put("notebooks/weights/a.npz")
    first = put("weights/a.npz")
    assert find_weights("a") == first


def test_a_path_is_taken_as_it_is() -> None:
    path = put("elsewhere/my.checkpoint")
    assert find_weights("elsewhere/my.checkpoint") == path


def test_a_path_is_not_searched_by_its_name() -> None:
    put("weights/a.npz")
    with pytest.raises(WeightsError, match=r"no weights file elsewhere/a\.npz; get it with"):
        find_weights("elsewhere/a.npz")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("~nobody-of-this-name/x.npz", "there is no such home folder"), ("a" * 300, "File name too")],
)
def test_a_name_that_no_file_can_have(name: str, reason: str) -> None:
    with pytest.raises(WeightsError, match=reason) as caught:
        find_weights(name)
    assert "\n" not in str(caught.value)


def test_a_folder_is_none() -> None:
    Path("mine").mkdir()
    with pytest.raises(WeightsError, match=r"^mine is a folder; give a \.npz file"):
        find_weights("mine")
    path = put("weights/mine.npz")
    assert find_weights("mine") == path


def test_what_to_do_when_there_is_none() -> None:
    with pytest.raises(WeightsError) as caught:
        find_weights("ViT-Ti_16")
    assert str(caught.value) == (
        "no weights file weights/ViT-Ti_16.npz or notebooks/weights/ViT-Ti_16.npz; get it with "
        "`pneumoscope weights fetch ViT-Ti_16`, put it there by hand, or give its path"
    )
