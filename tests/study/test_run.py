"""One recipe, one run folder: what it holds, when it is refused, what is never left behind."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from rich.console import Console

from pneumoscope.bundle import CONTENT, OPTIONAL_CONTENT, Bundle, open_bundle
from pneumoscope.config import Recipe
from pneumoscope.data.cache import open_cache
from pneumoscope.data.split import read_split
from pneumoscope.errors import (
    BundleError,
    PneumoscopeError,
    RadiographError,
    RunFolderError,
    SplitError,
    StorageError,
)
from pneumoscope.evaluation.predictions import read_predictions
from pneumoscope.files import sha256_of
from pneumoscope.models.build import build_model, num_parameters
from pneumoscope.models.bundles import load_network
from pneumoscope.models.int8 import INT8_FILE
from pneumoscope.models.scoring import score_pixels
from pneumoscope.study import bundling, provenance
from pneumoscope.study import run as module
from pneumoscope.study.data_facts import data_facts, training_quality
from pneumoscope.study.films import open_films
from pneumoscope.study.run import Source, run
from pneumoscope.training.trainer import Trainer

FinishedRun = tuple[Path, Bundle, str]
# Of int8 there is a record for networks of the shipped recipes alone.
WHOLE_BUNDLE = {*CONTENT, *OPTIONAL_CONTENT, "manifest.json"} - {INT8_FILE}


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoTrainer:
        def __init__(self, *_: Any, **__: Any) -> None:
            pytest.fail("it trained")

    monkeypatch.setattr(module, "Trainer", NoTrainer)


def printed(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def with_training(recipe: Recipe, **settings: Any) -> Recipe:
    training = recipe.training.model_copy(update=settings)
    return recipe.model_copy(update={"training": training})


def refusal(
    kind: type[PneumoscopeError], recipe: Recipe, source: Source, folder: Path, console: Console
) -> str:
    with pytest.raises(kind) as caught:
        run(recipe, source, folder, console)
    message = str(caught.value)
    assert "\n" not in message
    return message


class TestFinished:
    def test_the_folder(self, finished_run: FinishedRun) -> None:
        folder, bundle, text = finished_run
        names = {path.name for path in folder.iterdir()} - {".lock"}
        assert names == {"recipe.json", "split.csv", "log.jsonl", "curves.png", "bundle"}
        assert {path.name for path in bundle.path.iterdir()} == WHOLE_BUNDLE
        assert "tiny_cnn: device cpu (asked for), float32 (float32)" in text
        assert text.count("val AUROC") == 2

    def test_the_manifest(
        self, finished_run: FinishedRun, tiny_cnn: Recipe, phantoms: Path
    ) -> None:
        folder, bundle, _ = finished_run
        manifest = bundle.manifest
        split = read_split(folder / "split.csv")
        assert (manifest["name"], manifest["model"], manifest["seed"]) == ("tiny_cnn", "cnn", 0)
        assert manifest["num_parameters"] == num_parameters(build_model("cnn"))
        assert manifest["phantom"] is True
        assert manifest["recipe"] == tiny_cnn.model_dump(mode="json")
        assert manifest["recipe_sha256"] == tiny_cnn.sha256
        films = open_films(phantoms, folder / "split.csv", tiny_cnn.data, Console(quiet=True))
        quality = training_quality(films).to_dict()
        assert manifest["data"] == {**data_facts(films), "training_quality": quality}
        assert manifest["data"]["split_sha256"] == split.sha256
        assert manifest["data"]["num_train"] + manifest["data"]["num_val"] == 60
        assert manifest["teacher"] is None
        assert manifest["cause_counts"] is None
        assert manifest["best_epoch"] in (1, 2)
        assert 0 < manifest["train_time_s"] < 600
        assert datetime.fromisoformat(manifest["created"]).utcoffset() is not None
        assert manifest["files"]["predictions.csv"] == sha256_of(bundle.path / "predictions.csv")

    def test_the_manifest_names_the_code_that_trained(
        self,
        tiny_cnn: Recipe,
        phantoms: Path,
        tmp_path: Path,
        console: Console,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        fit = Trainer.fit

        def fit_then_edit(trainer: Trainer) -> Any:
            fitted = fit(trainer)
            monkeypatch.setattr(provenance, "code_sha256", lambda: "edited meanwhile")
            return fitted

        monkeypatch.setattr(Trainer, "fit", fit_then_edit)
        provenance.code.cache_clear()  # as in a process of its own
        bundle = run(with_training(tiny_cnn, epochs=1), Source(phantoms), tmp_path / "run", console)
        assert provenance.code_sha256() == "edited meanwhile"
        monkeypatch.undo()
        assert bundle.manifest["code"]["sha256"] == provenance.code_sha256()

    def test_the_network_can_be_built_again_from_what_is_stored(
        self, finished_run: FinishedRun, phantoms: Path, tmp_path: Path
    ) -> None:
        folder, bundle, _ = finished_run
        assert bundle.config["model"] == {"name": "cnn", "img_size": 32, "in_chans": 3}
        assert bundle.config["labels"] == ["NORMAL", "PNEUMONIA"]
        stored = read_predictions(bundle.path / "predictions.csv")
        for name in ("val", "test"):
            rows = read_split(folder / "split.csv").subset(name)
            logits = score_pixels(load_network(bundle), open_cache(phantoms, rows, 32, tmp_path))
            np.testing.assert_allclose(logits, stored.subset(name).logits, atol=1e-5)
            assert stored.subset(name).path.tolist() == [row.path for row in rows]

    def test_the_history(self, finished_run: FinishedRun) -> None:
        folder, bundle, _ = finished_run
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        logged = [line for line in lines if line["kind"] == "epoch"]
        header, *rows = (bundle.path / "history.csv").read_text().splitlines()
        assert header == "epoch,train_loss,val_loss,val_auroc,lr,time_s"
        assert rows == [",".join(str(line[key]) for key in header.split(",")) for line in logged]
        aurocs = [line["val_auroc"] for line in logged]
        assert bundle.manifest["best_epoch"] == 1 + int(np.argmax(aurocs))

    @pytest.mark.usefixtures("no_training")
    def test_it_is_returned_without_training(
        self, own_run: Path, tiny_cnn: Recipe, phantoms: Path, console: Console
    ) -> None:
        before = sorted((path, sha256_of(path)) for path in own_run.rglob("*") if path.is_file())
        bundle = run(tiny_cnn, Source(phantoms), own_run, console)
        assert bundle.path == own_run / "bundle"
        assert printed(console) == f"tiny_cnn: already finished in {own_run}\n"
        after = sorted((path, sha256_of(path)) for path in own_run.rglob("*") if path.is_file())
        assert after == before

    @pytest.mark.usefixtures("no_training")
    def test_what_is_only_shown_or_saved_may_differ(
        self, own_run: Path, tiny_cnn: Recipe, phantoms: Path, console: Console
    ) -> None:
        other = with_training(tiny_cnn, checkpoint_every_s=1.0).model_copy(update={"title": "x"})
        assert run(other, Source(phantoms), own_run, console).name == "tiny_cnn"


@pytest.mark.usefixtures("no_training")
class TestRefused:
    def test_a_folder_in_use(
        self, tiny_cnn: Recipe, phantoms: Path, tmp_path: Path, console: Console
    ) -> None:
        (tmp_path / "run").mkdir()
        half = tmp_path / "run" / "bundle.partial"
        half.mkdir()
        with FileLock(tmp_path / "run" / ".lock"):
            found = refusal(RunFolderError, tiny_cnn, Source(phantoms), tmp_path / "run", console)
        assert found == (
            f"{tmp_path / 'run'} is in use by another run; wait for it, or choose another folder"
        )
        assert half.exists()  # it is the other run's

    def test_another_recipe(
        self, own_run: Path, tiny_cnn: Recipe, phantoms: Path, console: Console
    ) -> None:
        other = with_training(tiny_cnn, epochs=3)
        assert refusal(RunFolderError, other, Source(phantoms), own_run, console) == (
            f"{own_run} holds a run of another recipe (it differs in training); choose another "
            "folder, or remove this one"
        )
        assert open_bundle(own_run).manifest["recipe_sha256"] == tiny_cnn.sha256

    @pytest.mark.parametrize("content", ["", "[]", '{"name": "a", "zzz": 1}'])
    def test_a_folder_whose_recipe_cannot_be_told(
        self, own_run: Path, tiny_cnn: Recipe, phantoms: Path, console: Console, content: str
    ) -> None:
        (own_run / "recipe.json").write_text(content)
        found = refusal(RunFolderError, tiny_cnn, Source(phantoms), own_run, console)
        assert found == f"{own_run / 'recipe.json'} is no recipe; choose another run folder"

    def test_other_films(
        self, own_run: Path, own_phantoms: Path, tiny_cnn: Recipe, console: Console
    ) -> None:
        film = sorted((own_phantoms / "train" / "NORMAL").iterdir())[0]
        film.unlink()
        found = refusal(SplitError, tiny_cnn, Source(own_phantoms), own_run, console)
        assert f"no longer fits the split {own_run / 'split.csv'}: 1 missing (" in found
        assert film.name in found

    def test_another_split(
        self, own_run: Path, own_phantoms: Path, tiny_cnn: Recipe, console: Console, tmp_path: Path
    ) -> None:
        sorted((own_phantoms / "train" / "NORMAL").iterdir())[0].unlink()
        source = Source(own_phantoms, tmp_path / "other.csv")
        assert refusal(RunFolderError, tiny_cnn, source, own_run, console) == (
            f"{own_run} holds the finished run of another recipe or split; choose another folder"
        )

    @pytest.mark.parametrize("name", ["model.safetensors", "predictions.csv", "manifest.json"])
    def test_a_bundle_with_a_changed_byte(
        self, own_run: Path, tiny_cnn: Recipe, phantoms: Path, console: Console, name: str
    ) -> None:
        path = own_run / "bundle" / name
        content = bytearray(path.read_bytes())
        content[-9] ^= 1
        path.write_bytes(content)
        found = refusal(BundleError, tiny_cnn, Source(phantoms), own_run, console)
        assert found.startswith((f"{path} was changed after the bundle was written", f"{path} can"))
        assert path.read_bytes() == content

    def test_a_bundle_that_lost_its_manifest(
        self, own_run: Path, tiny_cnn: Recipe, phantoms: Path, console: Console
    ) -> None:
        (own_run / "bundle" / "manifest.json").unlink()
        found = refusal(BundleError, tiny_cnn, Source(phantoms), own_run, console)
        assert found == f"{own_run / 'bundle'} is not a bundle: it has no manifest.json"

    def test_a_folder_that_cannot_be_made(
        self, tiny_cnn: Recipe, phantoms: Path, tmp_path: Path, console: Console
    ) -> None:
        (tmp_path / "file").touch()
        found = refusal(StorageError, tiny_cnn, Source(phantoms), tmp_path / "file" / "a", console)
        expected = f"cannot write {tmp_path / 'file' / 'a'}: Not a directory; choose another folder"
        assert found == expected


class TestUnreadable:
    def test_it_is_named_then_left_out_in_the_same_folder(
        self, own_phantoms: Path, tiny_cnn: Recipe, tmp_path: Path, console: Console
    ) -> None:
        film = sorted((own_phantoms / "train" / "PNEUMONIA").iterdir())[5]
        film.write_bytes(film.read_bytes()[:600])
        folder = tmp_path / "run"
        found = refusal(RadiographError, tiny_cnn, Source(own_phantoms), folder, console)
        assert found.startswith(f"{film}: is a damaged or truncated JPEG file (")
        assert found.endswith("; --skip-unreadable leaves such films out")
        assert not (folder / "bundle").exists()

        # The advice works where it was given, on the split that was made there.
        sha256 = read_split(folder / "split.csv").sha256
        bundle = run(tiny_cnn, Source(own_phantoms, skip_unreadable=True), folder, console)
        data = bundle.manifest["data"]
        path = film.relative_to(own_phantoms).as_posix()
        assert data["unreadable"] == [path]
        assert data["split_sha256"] == sha256
        assert data["num_train"] + data["num_val"] == 59
        (line,) = [line for line in printed(console).splitlines() if "skipped" in line]
        assert line.startswith(f"skipped: {film}: is a damaged or truncated JPEG file (")
        assert path not in read_predictions(bundle.path / "predictions.csv").path


class TestSecondTask:
    def test_the_manifest_counts_what_taught_it(
        self, tiny_cnn: Recipe, phantoms: Path, tmp_path: Path, console: Console
    ) -> None:
        asked = with_training(tiny_cnn, epochs=1, cause_weight=0.5)
        folder = tmp_path / "run"
        counts = run(asked, Source(phantoms), folder, console).manifest["cause_counts"]
        rows = read_split(folder / "split.csv").subset("train")
        names = {"bacterial": "_bacteria_", "viral": "_virus_"}
        assert counts == {
            cause: sum(name in row.path for row in rows) for cause, name in names.items()
        }
        assert "no second task" not in printed(console)

    def test_other_file_names_are_said_to_leave_it_out(
        self, tiny_cnn: Recipe, own_phantoms: Path, tmp_path: Path, console: Console
    ) -> None:
        for index, film in enumerate(sorted(own_phantoms.glob("t*/PNEUMONIA/*"))):
            film.rename(film.with_name(f"child {index}{film.suffix}"))
        asked = with_training(tiny_cnn, epochs=1, cause_weight=0.5)
        bundle = run(asked, Source(own_phantoms), tmp_path / "run", console)
        assert bundle.manifest["cause_counts"] is None
        assert (
            "tiny_cnn: no second task; file names of the training films do not state both causes "
            "of pneumonia\n" in printed(console)
        )


class TestFailure:
    def test_nothing_half_written_stays_and_the_training_is_not_lost(
        self,
        tiny_cnn: Recipe,
        phantoms: Path,
        tmp_path: Path,
        console: Console,
        monkeypatch: pytest.MonkeyPatch,
        finished_run: FinishedRun,
    ) -> None:
        folder = tmp_path / "run"
        folder.mkdir()
        # As a run leaves them that is killed while it writes.
        (folder / "bundle.partial").mkdir()
        (folder / "bundle.partial" / ".model.safetensors.99.partial").touch()
        (folder / ".state.pt.99.partial").touch()
        right = bundling.write_predictions

        def full(path: Path, predictions: object) -> None:
            raise StorageError(f"cannot write {path}: No space left on device; free some")

        monkeypatch.setattr(bundling, "write_predictions", full)
        found = refusal(StorageError, tiny_cnn, Source(phantoms), folder, console)
        assert "predictions.csv: No space left" in found
        assert list(folder.rglob("*.partial")) == []
        assert not (folder / "bundle").exists()
        state = (folder / "state.pt").read_bytes()
        assert state

        monkeypatch.setattr(bundling, "write_predictions", right)
        monkeypatch.setattr(module.Trainer, "_train_step", lambda *_: pytest.fail("it trained"))
        bundle = run(tiny_cnn, Source(phantoms), folder, console)
        assert {path.name for path in bundle.path.iterdir()} == WHOLE_BUNDLE
        assert bundle.model_id == finished_run[1].model_id
        assert not (folder / "state.pt").exists()
