"""Which values a recipe may have, which exclude each other, and what names a recipe."""

from typing import Any

import pytest
from pydantic import ValidationError

from pneumoscope.config import Recipe, parse_recipe, recipe_keys
from pneumoscope.errors import ConfigError


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_recipe(values, "mine.toml")
    message = str(caught.value)
    assert "\n" not in message
    return message


class TestValues:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ({"training": {"lr_rate": 1e-3}}, "training.lr_rate; did you mean training.lr?"),
            ({"trainin": {"lr": 1e-3}}, "trainin; did you mean training?"),
            ({"lr": 1e-3}, "lr; did you mean training.lr?"),
            ({"model": {"epochs": 3}}, "model.epochs; did you mean training.epochs?"),
            ({"model": {"image_size": 64}}, "model.image_size; did you mean model.img_size?"),
            (
                {"zzz": 1},
                "zzz; known: name, title, model, data, augmentation, training, mae, pretrained, "
                "distillation, operating_point, bundle",
            ),
        ],
    )
    def test_an_unknown_key_is_refused_with_the_nearest(
        self, values: dict[str, Any], expected: str
    ) -> None:
        assert refusal({"name": "a", **values}) == f"mine.toml: unknown key {expected}"

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ({"training": {"epochs": -1}}, "training.epochs = -1: Input should be greater than"),
            ({"training": {"batch_size": 0}}, "training.batch_size = 0: Input should be greater"),
            ({"training": {"lr": 11.0}}, "training.lr = 11.0: Input should be less than or equal"),
            ({"training": {"lr": float("nan")}}, "training.lr = nan: Input should be a finite"),
            ({"training": {"ema_decay": 1.0}}, "training.ema_decay = 1.0: Input should be less"),
            ({"model": {"img_size": 16}}, "model.img_size = 16: Input should be greater than or"),
            ({"augmentation": {"scale_min": 1.5}}, "augmentation.scale_min = 1.5: Input should be"),
            ({"operating_point": {"min_recall": 0.0}}, "operating_point.min_recall = 0.0: Input"),
            ({"data": {"val_fraction": 1.0}}, "data.val_fraction = 1.0: Input should be less"),
        ],
    )
    def test_out_of_range(self, values: dict[str, Any], expected: str) -> None:
        assert refusal({"name": "a", **values}).startswith(f"mine.toml: {expected}")

    @pytest.mark.parametrize("sampler", ["balanced_sampler", "style_sampler"])
    def test_balancing_the_classes_twice_is_refused(self, sampler: str) -> None:
        assert refusal({"name": "a", "training": {sampler: True}}) == (
            f"mine.toml: recipe: training.{sampler} and training.class_weights both balance "
            "the classes, together they would turn them round; set training.class_weights = false"
        )

    @pytest.mark.parametrize("mixing", ["mixup_alpha", "cutmix_alpha"])
    def test_a_second_task_on_mixed_films_is_refused(self, mixing: str) -> None:
        values = {"training": {"cause_weight": 0.5}, "augmentation": {mixing: 0.2}}
        assert refusal({"name": "a", **values}) == (
            f"mine.toml: recipe: training.cause_weight and augmentation.{mixing} exclude each "
            "other: a mixed film has no one cause; leave one of them out"
        )

    def test_two_samplers_are_refused(self) -> None:
        both = {"balanced_sampler": True, "style_sampler": True, "class_weights": False}
        assert refusal({"name": "a", "training": both}) == (
            "mine.toml: recipe: training.balanced_sampler and training.style_sampler exclude each "
            "other; leave one of them out"
        )

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ({"training": {"epochs": 2.5}}, "training.epochs = 2.5: Input should be a valid int"),
            ({"training": {"epochs": True}}, "training.epochs = True: Input should be a valid int"),
            ({"training": {"epochs": "7"}}, "training.epochs = '7': Input should be a valid int"),
            ({"training": {"lr": "high"}}, "training.lr = 'high': Input should be a valid number"),
            ({"training": {"class_weights": 1}}, "training.class_weights = 1: Input should be a"),
            ({"training": {"device": "gpu"}}, "training.device = 'gpu': Input should be 'auto', "),
            ({"training": 5}, "training = 5: Input should be a valid dictionary"),
            ({"title": 5}, "title = 5: Input should be a valid string"),
        ],
    )
    def test_wrong_type(self, values: dict[str, Any], expected: str) -> None:
        assert refusal({"name": "a", **values}).startswith(f"mine.toml: {expected}")

    def test_missing_name(self) -> None:
        assert refusal({}) == "mine.toml: name: Field required"

    @pytest.mark.parametrize("name", ["", "a b", "../up", ".hidden", "a/b", "a" * 65, "a\n"])
    def test_a_name_must_be_fit_for_a_folder(self, name: str) -> None:
        assert refusal({"name": name}).startswith(f"mine.toml: name = {name!r}: String should")

    def test_others_are_counted(self) -> None:
        message = refusal({"name": "a", "training": {"epochs": -1, "batch_size": 0, "patience": 0}})
        assert message.endswith(" (and 2 more)")

    @pytest.mark.parametrize("key", ["drop_path_rate", "patch_drop_rate"])
    def test_what_only_a_vit_has_is_refused_for_a_cnn(self, key: str) -> None:
        values: dict[str, Any] = {"name": "a", "model": {"name": "cnn", key: 0.1}}
        expected = f"mine.toml: recipe: model.{key} is for Vision Transformers, not cnn"
        assert refusal(values) == expected
        values["model"]["name"] = "vit_scratch"
        assert parse_recipe(values, "").model.build_options()[key] == 0.1

    def test_a_cnn_has_no_matrices_for_muon(self) -> None:
        values: dict[str, Any] = {"name": "a", "model": {"name": "cnn"}}
        values["training"] = {"optimizer": "muon"}
        expected = "mine.toml: recipe: training.optimizer muon is for Vision Transformers, not cnn"
        assert refusal(values) == expected
        values["model"]["name"] = "vit_scratch"
        assert parse_recipe(values, "").training.optimizer == "muon"

    def test_a_cnn_leaves_out_no_patches_in_the_end_either(self) -> None:
        values = {"name": "a", "model": {"name": "cnn"}, "training": {"last_patch_drop_rate": 0.4}}
        expected = (
            "mine.toml: recipe: training.last_patch_drop_rate is for Vision Transformers, not cnn"
        )
        assert refusal(values) == expected

    def test_patch_dropout_ends_somewhere_only_if_it_begins(self) -> None:
        values: dict[str, Any] = {"name": "a", "training": {"last_patch_drop_rate": 0.4}}
        expected = (
            "mine.toml: recipe: training.last_patch_drop_rate is where model.patch_drop_rate ends; "
            "set that too"
        )
        assert refusal(values) == expected
        values["model"] = {"patch_drop_rate": 0.75}
        assert parse_recipe(values, "").training.last_patch_drop_rate == 0.4

    def test_a_cnn_learns_from_answers_and_not_from_maps(self) -> None:
        distillation: dict[str, Any] = {"teacher": "b"}
        values = {"name": "a", "model": {"name": "cnn"}, "distillation": distillation}
        expected = (
            "mine.toml: recipe: distillation.feature_weight is for Vision Transformers, not cnn; "
            "set it to 0 to learn from the teacher's answers alone"
        )
        assert refusal(values) == expected
        distillation["feature_weight"] = 0
        assert parse_recipe(values, "").distillation.teacher == "b"

    def test_a_teacher_teaches_something(self) -> None:
        weights = {"logit_weight": 0, "feature_weight": 0}
        values = {"name": "a", "distillation": {"teacher": "b", **weights}}
        expected = (
            "mine.toml: recipe: distillation.logit_weight and feature_weight are both 0, so the "
            "teacher teaches nothing; raise one of them, or leave the teacher out "
            "(distillation.teacher = '')"
        )
        assert refusal(values) == expected
        assert parse_recipe({"name": "a", "distillation": weights}, "").distillation.teacher == ""

    def test_a_whole_number_is_a_number(self) -> None:
        recipe = parse_recipe({"name": "a", "training": {"lr": 1}}, "")
        assert recipe.sha256 == parse_recipe({"name": "a", "training": {"lr": 1.0}}, "").sha256
        assert recipe.model_dump(mode="json")["training"]["lr"] == 1.0

    def test_nothing_can_be_changed_afterwards(self) -> None:
        recipe = parse_recipe({"name": "a"}, "")
        with pytest.raises(ValidationError, match="frozen"):
            recipe.title = "other"  # type: ignore[misc]
        with pytest.raises(ValidationError, match="frozen"):
            recipe.training.lr = 1.0  # type: ignore[misc]

    def test_every_key_is_documented(self) -> None:
        fields = dict(Recipe.model_fields)
        for name in recipe_keys():
            section, _, key = name.rpartition(".")
            annotation: Any = fields[section].annotation if section else Recipe
            if name != "title":  # whose name says it
                assert annotation.model_fields[key].description, name


class TestHash:
    def test_every_value_but_those_of_display_and_saving_changes_it(self) -> None:
        base = {
            "name": "a",
            "model": {"name": "vit_scratch", "patch_drop_rate": 0.3},
            "training": {"class_weights": False},
        }
        plain = parse_recipe(base, "").model_dump(mode="json")
        seen = {parse_recipe(base, "").sha256}
        others: dict[str, Any] = {
            "name": "b", "title": "x", "model.name": "vit_ti16", "data.split": "stratified",
            "training.device": "cpu", "training.precision": "float32", "bundle.dtype": "float32",
            "distillation.teacher": "t", "augmentation.scale_max": 2.0, "training.max_steps": 4,
            "model.in_chans": 1, "model.gelu": "tanh", "model.standardize": True,
            "model.flip_average": True, "model.zoom_average": True,
            "model.pos_embed_init": "sine_cosine", "pretrained.weights": "w",
            "training.optimizer": "muon", "training.keep": "last",
        }  # fmt: skip
        same = {"title", "training.tensorboard", "training.checkpoint_every_s"}
        for key in recipe_keys():
            section, _, last = key.rpartition(".")
            now = plain[section][last] if section else plain[last]
            if key in others:
                value = others[key]
            elif isinstance(now, bool):
                value = not now
            elif isinstance(now, int):
                value = now + 1
            else:
                value = 0.5 if now != 0.5 else 0.25
            changed = {**plain[section], last: value} if section else value
            sha256 = parse_recipe({**plain, section or last: changed}, key).sha256
            assert (sha256 in seen) == (key in same), key
            seen.add(sha256)
        assert len(seen) == 1 + len(recipe_keys()) - len(same)

    def test_the_order_of_keys_does_not(self) -> None:
        one = {"name": "a", "training": {"lr": 1e-3, "epochs": 3}, "model": {"name": "cnn"}}
        two = {"model": {"name": "cnn"}, "training": {"epochs": 3, "lr": 1e-3}, "name": "a"}
        assert parse_recipe(one, "").sha256 == parse_recipe(two, "").sha256
        assert len(parse_recipe(one, "").sha256) == 64
