"""Bundles: sealed, opened, and refused where a byte is not as it was."""

import json
from pathlib import Path

import pytest

from pneumoscope import bundle as module
from pneumoscope.bundle import (
    CONTENT,
    Bundle,
    default_bundle,
    open_bundle,
    seal_bundle,
    shipped_bundles,
)
from pneumoscope.errors import BundleError
from pneumoscope.files import sha256_of
from pneumoscope.study.study import PRESETS

MANIFEST = {"name": "tiny", "seed": 7, "phantom": True}


def write_bundle(folder: Path, weights: str = "weights") -> Bundle:
    folder.mkdir(parents=True)
    for name in CONTENT:
        (folder / name).write_text(f"content of {name}")
    (folder / "model.safetensors").write_text(weights)
    (folder / "config.json").write_text('{"model": {"name": "cnn"}}')
    (folder / "operating_point.json").write_text('{"threshold": 0.3}')
    (folder / "metrics.json").write_text('{"val": {}}')
    return seal_bundle(folder, MANIFEST)


class TestOptionalFiles:
    def test_one_that_is_there_is_vouched_for(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "bundle").path
        (folder / "DATA_CARD.md").write_text("films")
        with pytest.raises(BundleError, match=r"DATA_CARD\.md was changed"):
            open_bundle(folder)  # not vouched for yet
        seal_bundle(folder, MANIFEST)
        assert "DATA_CARD.md" in open_bundle(folder).manifest["files"]
        (folder / "DATA_CARD.md").unlink()
        with pytest.raises(BundleError, match=r"lacks DATA_CARD\.md"):
            open_bundle(folder)

    def test_older_bundles_do_without(self, tmp_path: Path) -> None:
        assert "DATA_CARD.md" not in write_bundle(tmp_path / "bundle").manifest["files"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "run" / "bundle").path


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder that ships what a test puts into its ``bundles``."""
    package = tmp_path / "package"
    package.mkdir()
    monkeypatch.setattr(module, "files", lambda name: package)
    return package


def refusal(path: str | Path) -> str:
    with pytest.raises(BundleError) as caught:
        open_bundle(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def edit_manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


class TestSound:
    def test_it_opens_as_it_was_sealed(self, folder: Path) -> None:
        bundle = open_bundle(folder)
        assert bundle.path == folder
        assert bundle.name == "tiny"
        assert bundle.threshold == 0.3
        assert bundle.config == {"model": {"name": "cnn"}}
        assert bundle.metrics == {"val": {}}
        assert bundle.manifest["phantom"] is True
        assert bundle.manifest["format_version"] == 1
        hashes = {name: sha256_of(folder / name) for name in CONTENT}
        assert bundle.manifest["files"] == hashes
        assert bundle.model_id == f"tiny-s7-{hashes['model.safetensors'][:12]}"

    def test_other_weights_have_another_id(self, folder: Path, tmp_path: Path) -> None:
        other = write_bundle(tmp_path / "other", weights="others")
        assert other.model_id != open_bundle(folder).model_id

    def test_the_run_folder_will_do(self, folder: Path) -> None:
        assert open_bundle(folder.parent).path == folder
        assert open_bundle(str(folder.parent)).path == folder

    def test_notes_beside_the_content_do_no_harm(self, folder: Path) -> None:
        (folder / "NOTES.txt").touch()
        assert open_bundle(folder).name == "tiny"


class TestRefused:
    @pytest.mark.parametrize("name", CONTENT)
    @pytest.mark.parametrize("place", [0, -1])
    def test_a_changed_byte(self, folder: Path, name: str, place: int) -> None:
        content = bytearray((folder / name).read_bytes())
        content[place] ^= 1
        (folder / name).write_bytes(content)
        assert refusal(folder) == (
            f"{folder / name} was changed after the bundle was written (its SHA-256 is not the "
            "manifest's); copy the whole bundle again"
        )

    def test_a_missing_byte(self, folder: Path) -> None:
        path = folder / "predictions.csv"
        path.write_bytes(path.read_bytes()[:-1])
        assert refusal(folder).startswith(f"{path} was changed after the bundle was written")

    @pytest.mark.parametrize("name", CONTENT)
    def test_a_missing_file(self, folder: Path, name: str) -> None:
        (folder / name).unlink()
        assert refusal(folder) == f"{folder} lacks {name}; copy the whole bundle again"

    def test_a_hash_that_was_changed(self, folder: Path) -> None:
        hashes = open_bundle(folder).manifest["files"]
        edit_manifest(folder, files={**hashes, "metrics.json": "0" * 64})
        assert refusal(folder).startswith(
            f"{folder / 'manifest.json'} was changed after the bundle"
        )

    def test_no_manifest(self, folder: Path) -> None:
        (folder / "manifest.json").unlink()
        assert refusal(folder) == f"{folder} is not a bundle: it has no manifest.json"
        # The run folder leads to the same unfinished bundle.
        assert refusal(folder.parent) == f"{folder} is not a bundle: it has no manifest.json"

    @pytest.mark.parametrize("content", ["{", "", "\ufffd"])
    def test_a_manifest_that_is_not_json(self, folder: Path, content: str) -> None:
        (folder / "manifest.json").write_text(content)
        assert refusal(folder).startswith(f"{folder / 'manifest.json'} cannot be read as JSON: ")

    def test_a_manifest_that_is_no_object(self, folder: Path) -> None:
        (folder / "manifest.json").write_text("[]")
        assert "manifest.json holds no JSON object; copy the whole" in refusal(folder)

    @pytest.mark.parametrize("version", [2, None, "1"])
    def test_another_format(self, folder: Path, version: object) -> None:
        edit_manifest(folder, format_version=version)
        assert refusal(folder) == (
            f"{folder} has bundle format {version}; this version reads 1; use the version of "
            "pneumoscope that wrote it, or train again"
        )

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        expected = f"{tmp_path / 'empty'} is not a bundle: it has no manifest.json"
        assert refusal(tmp_path / "empty") == expected

    def test_a_file(self, folder: Path) -> None:
        path = folder / "manifest.json"
        assert refusal(path).startswith(f"no bundle {path}: not a folder, and not a shipped name; ")


class TestSealing:
    def test_what_lacks_is_named_and_nothing_sealed(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").touch()
        with pytest.raises(BundleError) as caught:
            seal_bundle(tmp_path, MANIFEST)
        missing = ", ".join(name for name in CONTENT if name != "config.json")
        assert str(caught.value) == f"{tmp_path} lacks {missing}; write them before sealing"
        assert [path.name for path in tmp_path.iterdir()] == ["config.json"]

    def test_what_is_recorded_cannot_forge_the_hashes(self, folder: Path) -> None:
        sealed = seal_bundle(folder, {**MANIFEST, "files": {"config.json": "0" * 64}})
        assert sealed.manifest["files"]["config.json"] == sha256_of(folder / "config.json")


class TestShipped:
    def test_none(self, package: Path) -> None:
        assert shipped_bundles() == {}
        assert refusal("cnn") == (
            "no bundle cnn: not a folder, and not a shipped name; none is shipped"
        )
        with pytest.raises(BundleError, match=r"^no bundle is shipped with this copy; name one"):
            default_bundle()

    def test_by_name(self, package: Path) -> None:
        for name in ("scratch", "cnn"):
            write_bundle(package / "bundles" / name, weights=name)
        assert list(shipped_bundles()) == ["cnn", "scratch"]
        assert open_bundle("scratch").path == package / "bundles" / "scratch"
        assert default_bundle().path == package / "bundles" / "cnn"
        assert refusal("cnm").endswith("not a shipped name; shipped: cnn, scratch")

    def test_in_the_order_of_the_study_then_by_name(self, package: Path) -> None:
        for name in ("aardvark", "zebra", *PRESETS["full"]):
            write_bundle(package / "bundles" / name, weights=name)
        assert list(shipped_bundles()) == [*PRESETS["full"], "aardvark", "zebra"]

    def test_a_folder_of_the_same_name_is_not_the_default(
        self, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shipped = write_bundle(package / "bundles" / "cnn", weights="shipped")
        own = write_bundle(tmp_path / "study" / "cnn", weights="own")
        monkeypatch.chdir(tmp_path / "study")
        assert default_bundle().model_id == shipped.model_id
        assert open_bundle("cnn").model_id == own.model_id  # a path that is there wins
