"""Records in a bundle of an older version what its films are, and what int8 does to its scores.

    python benchmarks/describe_films.py BUNDLE --data Data/chest_xray [--split SPLIT.csv]

Counts, patients and the looks of the training films go into the manifest, where a bundle made
today has them from its run; MODEL_CARD.md and DATA_CARD.md are written from it, the training films
are listed, and int8 is compared with the stored scores of the validation films. Weights, scores,
threshold and figures stay byte for byte. The films must be those of the run: the split that is
read, or made again from the films, must have the manifest's hash.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pneumoscope.bundle import open_bundle, seal_bundle
from pneumoscope.config import parse_recipe
from pneumoscope.errors import UsageError
from pneumoscope.evaluation.predictions import read_predictions
from pneumoscope.files import write_text
from pneumoscope.study.bundling import write_int8_check
from pneumoscope.study.card import model_card
from pneumoscope.study.data_card import data_card
from pneumoscope.study.data_facts import data_facts, training_quality
from pneumoscope.study.films import open_films
from pneumoscope.study.seen import write_training_films


def main(
    bundle: str,
    data: Annotated[Path, typer.Option(help="The films it was trained on.")],
    split: Annotated[Path | None, typer.Option(help="Its split; default: made again.")] = None,
) -> None:
    opened = open_bundle(bundle)
    recipe = parse_recipe(opened.manifest["recipe"], f"{bundle}/manifest.json")
    with tempfile.TemporaryDirectory() as scratch:
        path = split or Path(scratch) / "split.csv"
        films = open_films(data, path, recipe.data, Console(stderr=True))
    if films.split.sha256 != (expected := opened.manifest["data"]["split_sha256"]):
        raise UsageError(
            f"the split has SHA-256 {films.split.sha256[:16]}; the bundle was made with "
            f"{expected[:16]}; name the films and the split of its run"
        )
    manifest = {k: v for k, v in opened.manifest.items() if k not in ("files", "sha256")}
    manifest["data"] = data_facts(films) | {"training_quality": training_quality(films).to_dict()}
    card = model_card(
        recipe, opened.config["model"], opened.operating_point, opened.metrics, manifest
    )
    write_text(opened.path / "MODEL_CARD.md", card)
    write_text(opened.path / "DATA_CARD.md", data_card(manifest))
    write_training_films(opened.path, films.rows("train"))
    val = read_predictions(opened.path / "predictions.csv").subset("val")
    write_int8_check(opened.path, films, val.logits)
    seal_bundle(opened.path, manifest)
    typer.echo(f"described: {opened.path}")


if __name__ == "__main__":
    typer.run(main)
