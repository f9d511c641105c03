"""Bundles joined to one: what is averaged, what is stored, what is refused."""

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pneumoscope.bundle import Bundle, open_bundle
from pneumoscope.config import Recipe
from pneumoscope.data.cache import open_cache
from pneumoscope.data.split import read_split
from pneumoscope.errors import UsageError
from pneumoscope.evaluation.operating_point import choose_threshold_by_min_recall
from pneumoscope.evaluation.predictions import Predictions, read_predictions
from pneumoscope.models.bundles import load_network
from pneumoscope.models.scoring import score_pixels
from pneumoscope.screening.screener import Screener
from pneumoscope.study.ensemble import join
from pneumoscope.study.run import Source, run

FinishedRun = tuple[Path, Bundle, str]


@pytest.fixture(scope="module")
def pair(
    finished_run: FinishedRun,
    tiny_cnn: Recipe,
    phantoms: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Bundle]:
    """Two seeds of one recipe."""
    training = tiny_cnn.training.model_copy(update={"seed": 1})
    source = Source(phantoms, finished_run[0] / "split.csv")
    folder = tmp_path_factory.mktemp("other") / "run"
    other = run(tiny_cnn.model_copy(update={"training": training}), source, folder, Console())
    return [finished_run[1], other]


def scores(bundle: Bundle) -> Predictions:
    return read_predictions(bundle.path / "predictions.csv")


def test_a_bundle_of_the_mean_log_odds(
    pair: list[Bundle], phantoms: Path, tmp_path: Path, console: Console
) -> None:
    joined = join(pair, Source(phantoms), tmp_path / "both", console, name="both", title="Both")
    found, members = scores(joined), [scores(bundle) for bundle in pair]
    assert found.path.tolist() == members[0].path.tolist()
    log_odds = np.mean([m.logits[:, 1] - m.logits[:, 0] for m in members], axis=0)
    np.testing.assert_allclose(found.logits[:, 1] - found.logits[:, 0], log_odds, atol=1e-5)

    # The threshold is the rule's on validation, and the manifest says what was joined.
    val = found.subset("val")
    wanted = choose_threshold_by_min_recall(val.y_true, val.p_pneumonia, 0.95)[0]
    assert joined.threshold == wanted
    manifest = joined.manifest
    assert (manifest["name"], manifest["model"], manifest["seed"]) == ("both", "ensemble", None)
    assert manifest["members"] == [bundle.model_id for bundle in pair]
    assert manifest["num_parameters"] == 2 * pair[0].manifest["num_parameters"]
    assert manifest["train_time_s"] == sum(bundle.manifest["train_time_s"] for bundle in pair)
    card = (joined.path / "MODEL_CARD.md").read_text()
    assert f"Mean of the log odds of 2 members: {pair[0].model_id}, {pair[1].model_id}" in card

    # It screens as any other bundle does, from its own folder alone.
    row = read_split(pair[0].path.parent / "split.csv").subset("test")[0]
    screening = Screener.load(joined.path).screen(phantoms / row.path)
    stored = found.p_pneumonia[found.path == row.path][0]
    assert screening.p_pneumonia == pytest.approx(stored, abs=1e-6)
    assert len(list(load_network(joined).members)) == 2  # type: ignore[arg-type]
    assert open_bundle(joined.path).model_id.startswith("both-")


def started_from(bundle: Bundle, sha256: str) -> Bundle:
    """The bundle, as if it had been fine-tuned from a checkpoint."""
    return Bundle(bundle.path, {**bundle.manifest, "pretrained": {"sha256": sha256}})


def test_a_bundle_of_the_mean_weights(
    pair: list[Bundle], phantoms: Path, tmp_path: Path, console: Console
) -> None:
    members = [started_from(bundle, "a" * 64) for bundle in pair]
    source = Source(phantoms)
    joined = join(members, source, tmp_path / "soup", console, name="soup", average="weights")
    assert joined.config["model"] == pair[0].config["model"]
    assert joined.manifest["num_parameters"] == pair[0].manifest["num_parameters"]
    assert joined.manifest["model"] == pair[0].manifest["model"]
    assert joined.manifest["average"] == "weights"
    assert joined.manifest["pretrained"] == {"sha256": "a" * 64}
    card = (joined.path / "MODEL_CARD.md").read_text()
    assert f"Mean of the weights of 2 members: {pair[0].model_id}" in card
    found = load_network(joined).state_dict()
    states = [load_network(bundle).state_dict() for bundle in pair]
    for name, value in found.items():
        if value.is_floating_point():
            mean = (states[0][name] + states[1][name]) / 2
            np.testing.assert_allclose(value, mean.half().float(), rtol=1e-3, atol=1e-6)
    # What is stored was scored: its own network, and not the members' answers.
    row = read_split(pair[0].path.parent / "split.csv").subset("test")[0]
    screening = Screener.load(joined.path).screen(phantoms / row.path)
    table = scores(joined)
    stored = table.p_pneumonia[table.path == row.path][0]
    assert screening.p_pneumonia == pytest.approx(stored, abs=1e-6)


def test_one_bundle_whose_answer_is_averaged_over_zooms(
    pair: list[Bundle], phantoms: Path, tmp_path: Path, console: Console
) -> None:
    member, out = pair[0], tmp_path / "zoomed"
    joined = join([member], Source(phantoms), out, console, name="zoomed", zoom_average=True)
    assert joined.config["model"] == {**member.config["model"], "zoom_average": True}
    assert joined.manifest["num_parameters"] == member.manifest["num_parameters"]
    card = (joined.path / "MODEL_CARD.md").read_text()
    assert f"Weights of {member.model_id}, unchanged" in card
    assert "the answer the mean over a film and four zooms of it" in card

    network = load_network(member)
    network.zoom_average = True  # type: ignore[assignment]
    found, row = scores(joined), read_split(member.path.parent / "split.csv").subset("test")[0]
    size = member.config["model"]["img_size"]
    pixels = np.asarray(open_cache(phantoms, [row], size, tmp_path / "cache"))
    logits = score_pixels(network, pixels)[0]
    np.testing.assert_allclose(found.logits[found.path == row.path][0], logits, atol=1e-6)
    val = found.subset("val")
    assert joined.threshold == choose_threshold_by_min_recall(val.y_true, val.p_pneumonia, 0.95)[0]
    assert abs(val.log_odds - scores(member).subset("val").log_odds).max() > 1e-3
    screening = Screener.load(joined.path).screen(phantoms / row.path)
    stored = found.p_pneumonia[found.path == row.path][0]
    assert screening.p_pneumonia == pytest.approx(stored, abs=1e-6)


def test_members_over_zooms(
    pair: list[Bundle], phantoms: Path, tmp_path: Path, console: Console
) -> None:
    source = Source(phantoms)
    zoomed = [
        scores(join([one], source, tmp_path / one.model_id, console, zoom_average=True))
        for one in pair
    ]
    joined = join(pair, source, tmp_path / "both", console, name="both", zoom_average=True)
    assert [member["zoom_average"] for member in joined.config["model"]["members"]] == [True, True]
    mean = np.mean([one.log_odds for one in zoomed], axis=0)
    np.testing.assert_allclose(scores(joined).log_odds, mean, atol=1e-5)

    def told(bundle: Bundle) -> str:
        with pytest.raises(UsageError) as caught:
            join([bundle], source, tmp_path / "again", console, zoom_average=True)
        return str(caught.value)

    one = open_bundle(tmp_path / pair[0].model_id)
    assert "is an ensemble already; join its members anew with --zoom-average" in told(joined)
    assert "answers over zooms already; join it with others" in told(one)


def test_what_was_joined_can_be_joined_again(
    pair: list[Bundle], phantoms: Path, tmp_path: Path, console: Console
) -> None:
    source = Source(phantoms)
    zoomed = join([pair[0]], source, tmp_path / "zoomed", console, name="z", zoom_average=True)
    mixed = join([zoomed, pair[1]], source, tmp_path / "mixed", console)
    views = [member.get("zoom_average", False) for member in mixed.config["model"]["members"]]
    assert views == [True, False]
    mean = (scores(zoomed).log_odds + scores(pair[1]).log_odds) / 2
    np.testing.assert_allclose(scores(mixed).log_odds, mean, atol=1e-5)
    nested = join([mixed, pair[0]], source, tmp_path / "nested", console, name="nested")
    mean = (scores(mixed).log_odds + scores(pair[0]).log_odds) / 2
    np.testing.assert_allclose(scores(nested).log_odds, mean, atol=1e-5)
    assert zoomed.manifest["recipe"]["bundle"] == pair[0].manifest["recipe"]["bundle"]
    # Ensembles that were made before they said their precision are kept in float32.
    recipe = {key: value for key, value in mixed.manifest["recipe"].items() if key != "bundle"}
    older = Bundle(mixed.path, {**mixed.manifest, "recipe": recipe})
    again = join([older, pair[0]], source, tmp_path / "older", console, name="older")
    assert again.manifest["recipe"]["bundle"] == {"dtype": "float32"}


def test_weights_that_have_no_mean_are_refused(
    pair: list[Bundle], phantoms: Path, tmp_path: Path, console: Console
) -> None:
    def told(members: list[Bundle]) -> str:
        with pytest.raises(UsageError) as caught:
            join(members, Source(phantoms), tmp_path / "out", console, average="weights")
        return str(caught.value)

    first, second = pair
    assert "were not fine-tuned from one checkpoint" in told(pair)
    differing = [started_from(first, "a" * 64), started_from(second, "b" * 64)]
    assert "were not fine-tuned from one checkpoint" in told(differing)
    other = Bundle(second.path, second.manifest)
    other.__dict__["config"] = {"model": {"name": "cnn", "img_size": 64, "in_chans": 3}}
    assert "are of different architectures" in told([started_from(first, "a" * 64), other])
    assert not (tmp_path / "out").exists()


def refusal(members: list[Bundle], source: Source, out: Path, console: Console) -> str:
    with pytest.raises(UsageError) as caught:
        join(members, source, out, console)
    assert not list(out.parent.glob(".*.partial"))
    return str(caught.value)


def test_what_cannot_be_joined_is_refused(
    pair: list[Bundle], phantoms: Path, own_phantoms: Path, tmp_path: Path, console: Console
) -> None:
    source, out = Source(phantoms), tmp_path / "out"
    first, second = pair
    assert refusal([first], source, out, console) == (
        "an ensemble of 1 bundle; name two or more, or one with --zoom-average"
    )
    assert refusal([first, second, first], source, out, console) == (
        f"{first.model_id} is named twice; name each bundle once"
    )
    data = {**second.manifest["data"], "split_sha256": "0" * 64}
    elsewhere = Bundle(second.path, {**second.manifest, "data": data})
    assert "were trained on different splits" in refusal([first, elsewhere], source, out, console)
    outsider = Bundle(second.path, {**second.manifest, "converted_from": {"file": "a.pth"}})
    assert "was trained elsewhere" in refusal([first, outsider], source, out, console)
    assert refusal(pair, source, first.path, console).startswith(f"{first.path} exists already")
    sorted((own_phantoms / "train" / "NORMAL").iterdir())[0].unlink()
    found = refusal(pair, Source(own_phantoms), out, console)
    assert "are divided otherwise than those that the members were trained on" in found
    assert not out.exists()
