"""Which films, which recipes, in which order and which folders."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pneumoscope.bundle import shipped_bundles
from pneumoscope.config import Recipe, load_recipe, parse_recipe
from pneumoscope.data.phantom import is_phantom, write_phantoms
from pneumoscope.errors import BundleError, ConfigError, LayoutError, UsageError, WeightsError
from pneumoscope.study import study as module
from pneumoscope.study.run import Source, _teacher
from pneumoscope.study.study import (
    PRESETS,
    find_data,
    load_recipes,
    run_study,
    with_weights_here,
)


class TestRecipes:
    def test_presets_are_shipped_and_fit_together(self) -> None:
        for names in PRESETS.values():
            recipes = load_recipes(names, 1, ())
            assert [recipe.name for recipe in recipes] == list(names)
            assert {recipe.distillation.teacher for recipe in recipes} <= {"", *names}
            settings = {recipe.data for recipe in recipes}
            assert len(settings) == 1  # one split serves them all

    def test_seeds_count_up_from_the_recipes_own(self, recipes: Path) -> None:
        paths = [str(recipes / name) for name in ("tiny_cnn.toml", "tiny_vit.toml")]
        loaded = load_recipes(paths, 3, ["training.seed=5"])
        assert [(recipe.name, recipe.training.seed) for recipe in loaded] == [
            ("tiny_cnn", 5), ("tiny_cnn", 6), ("tiny_cnn", 7),
            ("tiny_vit", 5), ("tiny_vit", 6), ("tiny_vit", 7),
        ]  # fmt: skip
        assert len({recipe.sha256 for recipe in loaded}) == 6
        once = load_recipe(paths[0], ["training.seed=6"])
        assert loaded[1] == once

    def test_teachers_come_first_whatever_was_named_first(self, recipes: Path) -> None:
        paths = [str(recipes / name) for name in ("tiny_vit.toml", "tiny_cnn.toml")]
        assert [recipe.name for recipe in load_recipes(paths, 1, ())] == ["tiny_cnn", "tiny_vit"]

    def test_a_teacher_may_have_one_itself(self) -> None:
        names = ["scratch", "cnn", "quick_cnn"]
        loaded = load_recipes(names, 1, ["distillation.feature_weight=0"])
        assert [recipe.name for recipe in loaded] == ["cnn", "scratch", "quick_cnn"]
        taught = {"cnn": "quick_cnn", "scratch": "cnn", "quick_cnn": "quick_cnn"}
        ordered = module._teachers_first(
            [
                recipe.model_copy(
                    update={
                        "distillation": recipe.distillation.model_copy(
                            update={"teacher": taught[recipe.name]}
                        )
                    }
                )
                for recipe in loaded
            ]
        )
        assert [recipe.name for recipe in ordered] == ["quick_cnn", "cnn", "scratch"]

    def test_a_run_is_not_its_own_teacher(self, tmp_path: Path) -> None:
        settings = {"teacher": "cnn", "feature_weight": 0}
        recipe = parse_recipe(
            {"name": "cnn", "model": {"name": "cnn"}, "distillation": settings}, ""
        )
        folder = tmp_path / "cnn"
        folder.mkdir()
        shipped = _teacher(recipe, folder)
        assert shipped
        assert shipped.path == shipped_bundles()["cnn"]
        other_seed = _teacher(recipe, tmp_path / "cnn-s1")  # whatever lies in its seed 0
        assert other_seed
        assert other_seed.path == shipped.path
        student = recipe.model_copy(update={"name": "other"})
        with pytest.raises(BundleError):  # that run is meant, done or not
            _teacher(student, tmp_path / "other")

    def test_overrides_are_for_every_recipe(self) -> None:
        loaded = load_recipes(PRESETS["quick"], 1, ["training.epochs=1"])
        assert [recipe.training.epochs for recipe in loaded] == [1, 1, 1]

    def test_two_of_one_name(self, recipes: Path) -> None:
        path = str(recipes / "tiny_cnn.toml")
        with pytest.raises(UsageError, match=r"^two recipes have the same name; give each its own"):
            load_recipes([path, path], 1, ())

    def test_one_that_does_not_load(self) -> None:
        with pytest.raises(ConfigError, match=r"did you mean quick_cnn\?"):
            load_recipes(["quick_cn"], 1, ())

    def test_a_preset_leaves_out_a_row_whose_weights_are_not_here(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
    ) -> None:
        monkeypatch.chdir(tmp_path)
        recipes = load_recipes(PRESETS["full"], 2, ())
        kept = with_weights_here(recipes, console)
        assert [recipe.name for recipe in kept] == ["cnn", "cnn", "scratch", "scratch"]
        lines = console.file.getvalue().splitlines()
        assert len(lines) == 2
        assert lines[0].startswith("pretrained_ti16 is left out: no weights file weights/ViT-Ti_16")
        (tmp_path / "weights").mkdir()
        (tmp_path / "weights" / "ViT-Ti_16.npz").write_bytes(b"here")
        assert with_weights_here(recipes, console) == recipes

    def test_a_named_row_whose_weights_are_not_here_stops_the_study_before_it_begins(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
    ) -> None:
        monkeypatch.chdir(tmp_path)
        trained = []
        monkeypatch.setattr(module, "run", lambda *arguments: trained.append(arguments))
        with pytest.raises(WeightsError, match="pneumoscope weights fetch ViT-Ti_16"):
            run_study(
                load_recipes(["cnn", "linear_probe_ti16"], 1, ()), tmp_path, tmp_path, console
            )
        assert trained == []


class TestFindData:
    @pytest.fixture(autouse=True)
    def elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def few(target: Path, **options: Any) -> Path:
            sizes = {"num_train": 8, "num_val": 8, "num_test": 8, "size_px": 64}
            return write_phantoms(target, **sizes, **options)

        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(module, "write_phantoms", few)

    def find(self, data: Path | None = None) -> tuple[Path, str]:
        console = Console(file=io.StringIO(), width=200)
        return find_data(data, console), console.file.getvalue()  # type: ignore[attr-defined]

    def test_phantoms_where_there_is_nothing(self) -> None:
        found, text = self.find()
        assert found == Path("Data/phantoms")
        assert is_phantom(found)
        assert text.startswith("No films in Data/chest_xray: drawing phantoms in Data/phantoms")
        assert "say nothing about patients" in text
        film = next(found.glob("train/*/*.jpeg"))
        before = film.stat().st_mtime_ns
        assert self.find()[0] == found  # used again
        assert film.stat().st_mtime_ns == before

    def test_the_real_films_where_they_are(self) -> None:
        place = Path("Data/chest_xray/chest_xray")  # as Kaggle's archive nests them
        for name in ("train", "test"):
            for label in ("NORMAL", "PNEUMONIA"):
                (place / name / label).mkdir(parents=True)
                (place / name / label / "a.jpeg").touch()
        assert self.find() == (place, "")
        assert not Path("Data/phantoms").exists()

    def test_real_films_that_are_incomplete_are_no_reason_for_phantoms(self) -> None:
        Path("Data/chest_xray").mkdir(parents=True)
        with pytest.raises(LayoutError, match=r"^Data/chest_xray is empty; expected "):
            self.find()
        assert not Path("Data/phantoms").exists()

    def test_what_is_named_is_taken(self) -> None:
        assert self.find(Path("elsewhere")) == (Path("elsewhere"), "")


def test_each_recipe_has_its_folder_and_all_share_the_split(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, int, Source, Path]] = []

    def run(recipe: Recipe, source: Source, folder: Path, console: Console) -> str:
        calls.append((recipe.name, recipe.training.seed, source, folder))
        return f"bundle of {folder.name}"

    class Result:
        from_bundle = staticmethod(lambda bundle: f"result of {bundle}")

    monkeypatch.setattr(module, "run", run)
    monkeypatch.setattr(module, "ModelResult", Result)
    monkeypatch.setattr(module, "compare", lambda results, out: (results, out))
    recipes = [
        parse_recipe({"name": name, "training": {"seed": seed}}, "")
        for name in ("a", "b")
        for seed in (3, 4)
    ]
    compared = run_study(recipes, Path("films"), tmp_path, console, skip_unreadable=True)
    source = Source(Path("films"), tmp_path / "split.csv", skip_unreadable=True)
    assert calls == [
        ("a", 3, source, tmp_path / "a"),
        ("a", 4, source, tmp_path / "a-s4"),
        ("b", 3, source, tmp_path / "b"),
        ("b", 4, source, tmp_path / "b-s4"),
    ]
    names = [f"result of bundle of {name}" for name in ("a", "a-s4", "b", "b-s4")]
    assert compared == (names, tmp_path)  # type: ignore[comparison-overlap]
