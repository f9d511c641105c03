"""From files and overrides to recipes: what is shipped, what is refused and in which words."""

from pathlib import Path

import pytest

from pneumoscope.config import load_recipe, shipped_recipes
from pneumoscope.errors import ConfigError
from pneumoscope.models.presets import MODEL_NAMES

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n[training]\nlr = 1e-3\n')
    return path


class TestShipped:
    def test_they_are_those_of_the_repository(self) -> None:
        assert list(shipped_recipes()) == sorted(path.stem for path in CONFIGS.glob("*.toml"))
        assert {"cnn", "scratch", "reference_scratch"} <= set(shipped_recipes())

    @pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
    def test_each_loads_under_its_own_name(self, path: Path) -> None:
        recipe = load_recipe(path.stem)
        assert recipe == load_recipe(path)
        assert recipe.name == path.stem
        assert recipe.title
        assert recipe.model.name in MODEL_NAMES
        assert recipe.distillation.teacher in ("", *shipped_recipes())

    @pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
    def test_each_says_its_command_and_its_cost_first(self, path: Path) -> None:
        header, _, _ = path.read_text().partition("\nname = ")
        assert all(line.startswith("#") for line in header.splitlines() if line)
        assert f"pneumoscope train {path.stem} " in header or "pneumoscope study" in header
        assert "minute" in header or "hour" in header

    def test_the_reference_recipe_is_the_reference_studys(self) -> None:
        recipe = load_recipe("reference_scratch")
        training = recipe.training
        assert (training.lr, training.weight_decay) == (3e-4, 0.05)
        assert (training.label_smoothing, training.patience) == (0.05, 5)
        assert recipe.model.drop_path_rate == 0.05
        assert recipe.data.split == "stratified"
        assert not recipe.distillation.teacher
        assert recipe.augmentation == type(recipe.augmentation)()

    def test_titles_differ(self) -> None:
        titles = [load_recipe(name).title for name in shipped_recipes()]
        assert len(set(titles)) == len(titles)


class TestFiles:
    def test_a_path_wins(self, recipe_file: Path) -> None:
        recipe = load_recipe(recipe_file)
        assert (recipe.name, recipe.training.lr) == ("mine", 1e-3)
        assert load_recipe(str(recipe_file)) == recipe

    @pytest.mark.parametrize(
        ("source", "hint"),
        [
            ("scrach", "did you mean scratch?"),
            ("quick_cn", "did you mean quick_cnn?"),
            ("zzz", f"shipped: {', '.join(sorted(p.stem for p in CONFIGS.glob('*.toml')))}"),
            ("nowhere/film.toml", "shipped: "),
        ],
    )
    def test_no_such_recipe(self, source: str, hint: str) -> None:
        with pytest.raises(ConfigError) as caught:
            load_recipe(source)
        start = f"no recipe {source}: not a file, and not a shipped name; "
        assert str(caught.value).startswith(start + hint)

    @pytest.mark.parametrize("content", [b"name = ", b"{}", b"name = 'a'\nname = 'b'", b"\xff\xfe"])
    def test_not_toml(self, recipe_file: Path, content: bytes) -> None:
        recipe_file.write_bytes(content)
        with pytest.raises(ConfigError, match=r"mine\.toml is not TOML: [^\n]+$"):
            load_recipe(recipe_file)

    def test_errors_name_the_file(self, recipe_file: Path) -> None:
        recipe_file.write_text('name = "mine"\n[training]\nlr = 0\n')
        expected = f"{recipe_file}: training.lr = 0: Input should be greater than 0"
        with pytest.raises(ConfigError) as caught:
            load_recipe(recipe_file)
        assert str(caught.value) == expected


class TestOverrides:
    @pytest.mark.parametrize(
        ("override", "section", "key", "expected"),
        [
            ("training.epochs=10", "training", "epochs", 10),
            ("training.lr=1e-4", "training", "lr", 1e-4),
            ("training.lr = 2", "training", "lr", 2.0),
            ("training.class_weights=false", "training", "class_weights", False),
            ("training.device=cpu", "training", "device", "cpu"),
            ("training.device='cpu'", "training", "device", "cpu"),
            ("model.drop_path_rate=0.1", "model", "drop_path_rate", 0.1),
            ("distillation.teacher=../runs/cnn-s0", "distillation", "teacher", "../runs/cnn-s0"),
            ("distillation.teacher=", "distillation", "teacher", ""),
            ("distillation.teacher=a=b", "distillation", "teacher", "a=b"),
        ],
    )
    def test_values_of_every_type(
        self, recipe_file: Path, override: str, section: str, key: str, expected: object
    ) -> None:
        value = getattr(getattr(load_recipe(recipe_file, [override]), section), key)
        assert value == expected
        assert type(value) is type(expected)

    def test_keys_of_the_top(self, recipe_file: Path) -> None:
        assert load_recipe(recipe_file, ["title=My CNN"]).title == "My CNN"

    def test_the_last_one_counts_and_the_rest_of_the_file_stays(self, recipe_file: Path) -> None:
        recipe = load_recipe(recipe_file, ["training.epochs=3", "training.epochs=4"])
        assert (recipe.training.epochs, recipe.training.lr) == (4, 1e-3)

    @pytest.mark.parametrize("override", ["training.epochs", "=5", "training.=5", ""])
    def test_another_form(self, recipe_file: Path, override: str) -> None:
        expected = f"--set {override}: expected section.key=value, as training.epochs=10"
        with pytest.raises(ConfigError) as caught:
            load_recipe(recipe_file, [override])
        assert str(caught.value) == expected

    @pytest.mark.parametrize(
        ("override", "expected"),
        [
            ("training.lr.high=1", "--set training.lr.high=1: lr is a value, not a section"),
            ("training.lr_rate=1", "unknown key training.lr_rate; did you mean training.lr?"),
            ("trainin.lr=1", "unknown key trainin; did you mean training?"),
            ("training.epochs=many", "training.epochs = 'many': Input should be a valid integer"),
            ("training=5", "training = 5: Input should be a valid dictionary"),
        ],
    )
    def test_what_does_not_fit(self, recipe_file: Path, override: str, expected: str) -> None:
        with pytest.raises(ConfigError) as caught:
            load_recipe(recipe_file, [override])
        assert expected in str(caught.value)
        assert "\n" not in str(caught.value)
