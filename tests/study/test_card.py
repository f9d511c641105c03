"""The model card says what the run recorded."""

from dataclasses import replace
from pathlib import Path

import pytest

from pneumoscope.bundle import Bundle
from pneumoscope.config import Recipe
from pneumoscope.labels import DISCLAIMER
from pneumoscope.study.card import model_card

FinishedRun = tuple[Path, Bundle, str]


@pytest.fixture
def bundle(finished_run: FinishedRun) -> Bundle:
    return finished_run[1]


def card_of(bundle: Bundle, recipe: Recipe) -> str:
    model = bundle.config["model"]
    return model_card(recipe, model, bundle.operating_point, bundle.metrics, bundle.manifest)


def test_it_is_the_bundles_own(bundle: Bundle, tiny_cnn: Recipe) -> None:
    assert (bundle.path / "MODEL_CARD.md").read_text() == card_of(bundle, tiny_cnn)


def test_a_phantom_cannot_be_mistaken(bundle: Bundle, tiny_cnn: Recipe) -> None:
    card = card_of(bundle, tiny_cnn)
    assert "**PHANTOM: drawn films, not patients.**" in card.splitlines()[2]
    assert "Procedural phantoms" in card
    assert "Kermany" not in card
    real = replace(bundle, manifest={**bundle.manifest, "phantom": False})
    assert "PHANTOM" not in card_of(real, tiny_cnn)
    assert "Kermany et al." in card_of(real, tiny_cnn)
    for text in (card, card_of(real, tiny_cnn)):
        assert DISCLAIMER in text


def test_its_figures_are_those_of_the_bundle(bundle: Bundle, tiny_cnn: Recipe) -> None:
    card = card_of(bundle, tiny_cnn)
    data = bundle.manifest["data"]
    counts = (data["num_train"], data["num_val"], data["num_test"])
    assert "{} train, {} validation, {} test films".format(*counts) in card
    assert f"threshold {bundle.threshold:.6g}" in card
    assert f"{bundle.manifest['num_parameters']:,} parameters" in card
    m = bundle.metrics["test"]["at_threshold"]
    row = f"| test | {m['thr']:.3g} | {m['acc']:.3f} | {m['precision']:.3f} | {m['recall']:.3f} | "
    assert row in card
    assert "{" not in card


def test_what_a_network_does_besides_its_layers_is_said(bundle: Bundle, tiny_cnn: Recipe) -> None:
    def card(**options: object) -> str:
        model = {**bundle.config["model"], **options}
        return model_card(tiny_cnn, model, bundle.operating_point, bundle.metrics, bundle.manifest)

    plain = card()
    assert "standardised inside" not in plain
    assert "the answer the mean" not in plain
    assert ", then each film standardised inside the network. " in card(standardize=True)
    both = card(flip_average=True, zoom_average=True)
    assert ", the answer the mean over a film and its mirror image and over a film and" in both
    pair = [{"name": "cnn", "zoom_average": True}, {"name": "vit_ti16", "standardize": True}]
    nested = [{"name": "ensemble", "members": pair}, {"name": "cnn"}]
    for members, last in ((pair, ". "), (nested, "; `cnn`. ")):
        assert (
            "; `cnn`, the answer the mean over a film and four zooms of it; `vit_ti16`, then each "
            f"film standardised inside the network{last}"
        ) in card(name="ensemble", members=members)


def test_a_second_task_is_said(bundle: Bundle, tiny_cnn: Recipe) -> None:
    said = "minutes of training, also to tell bacterial from viral pneumonia"
    assert said not in card_of(bundle, tiny_cnn)
    counts = {"bacterial": 3, "viral": 2}
    taught = replace(bundle, manifest={**bundle.manifest, "cause_counts": counts})
    assert said in card_of(taught, tiny_cnn)


def test_what_is_undefined_is_a_dash(bundle: Bundle, tiny_cnn: Recipe) -> None:
    summary = {**bundle.metrics["test"]["at_0.5"], "precision": None}
    metrics = {**bundle.metrics, "test": {**bundle.metrics["test"], "at_0.5": summary}}
    model, point = bundle.config["model"], bundle.operating_point
    card = model_card(tiny_cnn, model, point, metrics, bundle.manifest)
    (row,) = [line for line in card.splitlines() if line.startswith("| test | 0.5 |")]
    assert row.split(" | ")[3] == "-"
