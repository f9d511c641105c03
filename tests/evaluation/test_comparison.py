"""The comparison folder: complete, consistent with the scores, and replaced as a whole."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pneumoscope.errors import EvaluationError, StorageError
from pneumoscope.evaluation.comparison import compare, prepare_results
from pneumoscope.evaluation.metrics import bundle_metrics
from pneumoscope.evaluation.predictions import Predictions
from pneumoscope.labels import DISCLAIMER

FILES = {
    "results.md",
    "results.json",
    "predictions.csv",
    "overview.png",
    "roc.png",
    "pr.png",
    "confusion.png",
    "scores.png",
    "training_curves.png",
}


REPORT = {"report.html", "report.md", "report.json"}


def content(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_comparison_is_complete_and_repeatable(tmp_path, make_result):
    results = [make_result("cnn", seed=0), make_result("cnn", seed=1), make_result("vit", seed=2)]
    out = tmp_path / "new" / "comparison"
    comparison = compare(results, out)
    first = content(out)
    assert set(first) == {path.relative_to(out).as_posix() for path in comparison.files}
    figures = {name for name in first if name.startswith("figures/")}
    assert set(first) == FILES | REPORT | figures
    assert len(figures) > 10
    assert comparison.overview == out / "overview.png"
    assert comparison.report == out / "report.html"
    assert not comparison.phantom
    names = [result.name for result in comparison.results]
    assert names == ["cnn (seed 0)", "cnn (seed 1)", "vit"]
    for name in FILES:
        if name.endswith(".png"):
            assert Image.open(out / name).format == "PNG"
        else:
            assert b"PHANTOM:" not in first[name]

    report = json.loads(first["results.json"])
    assert report["phantom"] is False
    assert report["disclaimer"] == DISCLAIMER
    assert report["reference_study"] == []
    for model, result in zip(report["models"], comparison.results, strict=True):
        assert model["metrics"] == bundle_metrics(result.predictions, result.threshold)
        assert (model["name"], model["seed"]) == (result.name, result.seed)
        assert model["threshold"] == result.threshold
    (seeds,) = report["seeds"]
    assert (seeds["name"], seeds["seeds"]) == ("cnn", [0, 1])
    a, b = (m["metrics"]["test"]["at_threshold"]["specificity"] for m in report["models"][:2])
    assert seeds["test"]["at_threshold"]["specificity"] == pytest.approx(
        {"mean": (a + b) / 2, "sd": abs(a - b) / 2**0.5}
    )

    rows = list(csv.reader((out / "predictions.csv").read_text().splitlines()))
    assert rows[0][:3] == ["model", "path", "patient_id"]
    assert [row[0] for row in rows[1:]] == [name for name in names for _ in range(100)]
    assert [float(row[-1]) for row in rows[1:101]] == results[0].predictions.p_pneumonia.tolist()

    markdown = first["results.md"].decode()
    assert markdown.count(DISCLAIMER) == markdown.count("| --- |") == 3
    assert "reach recall 0.95 on validation" in markdown

    (out / "roc.png").write_bytes(b"of an earlier version")
    (out / "figures" / "of-an-earlier-version.svg").write_bytes(b"<svg/>")
    compare(results, out)
    assert content(out) == first


def test_models_are_compared_film_by_film_whatever_the_order_of_their_files(make_result):
    one, other = make_result("one", seed=1), make_result("other", seed=2)
    order = np.random.default_rng(0).permutation(len(other.predictions))
    shuffled = replace(other, predictions=other.predictions.take(order))
    _, expected = prepare_results([one, other])
    _, found = prepare_results([one, shuffled])
    assert list(found.films("test").rows()) == list(expected.films("test").rows())


def test_one_film_of_two_patients_is_refused(make_result):
    one, other = make_result("one"), make_result("other", seed=1)
    p = other.predictions
    patients = [f"x{patient}" for patient in p.patient_id.tolist()]
    moved = Predictions.from_logits(p.path.tolist(), patients, p.split.tolist(), p.y_true, p.logits)
    with pytest.raises(EvaluationError, match=r"test/0\.jpeg is of patient t0 for one but of xt0"):
        prepare_results([one, replace(other, predictions=moved)])


def test_names_that_look_like_ours_stay_distinct(make_result):
    results = [
        replace(make_result("a", seed=s), seed=None, name=n)
        for s, n in enumerate(("a", "a", "a (#2)"))
    ]
    names = [result.name for result in prepare_results(results)]
    assert names == ["a (#1)", "a (#2)", "a (#2)'"]


def test_phantoms_are_named_everywhere(tmp_path, make_result):
    comparison = compare([make_result(phantom=True)], tmp_path)
    assert comparison.phantom
    assert json.loads((tmp_path / "results.json").read_text())["phantom"] is True
    markdown = (tmp_path / "results.md").read_text()
    assert markdown.startswith("# PHANTOM: ")
    titles = [line for line in markdown.splitlines() if line.startswith("**")]
    assert len(titles) == 3
    assert all(title.startswith("**PHANTOM: ") for title in titles)


def test_official_test_set_brings_the_reference_rows(tmp_path, shared_dir, make_result):
    root = shared_dir / "data" / "chest_xray"
    films = sorted(path.relative_to(root) for path in root.glob("test/*/*.jpeg"))
    result = make_result(
        test_paths=[film.as_posix() for film in films],
        test_labels=[int(film.parent.name == "PNEUMONIA") for film in films],
    )
    compare([result], tmp_path)
    markdown = (tmp_path / "results.md").read_text()
    row = "0.7788 | 0.7520 | 0.9641 | 0.4701 | 0.8449 | 0.8892 | 0.2890 |"
    assert f"| Reference ViT from scratch, recall-first | 4.99 | - | {row}" in markdown
    report = json.loads((tmp_path / "results.json").read_text())
    b16 = report["reference_study"][1]
    assert (b16["num_parameters"], b16["test"]["at_0.5"]["auroc"]) == (85_800_000, 0.9007)


def test_folder_that_cannot_be_written_is_one_line(tmp_path, make_result):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot write .*file"):
        compare([make_result()], tmp_path / "file")


def test_failed_write_leaves_no_half_file(tmp_path, make_result):
    (tmp_path / "roc.png").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*roc\.png"):
        compare([make_result()], tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert json.loads((tmp_path / "results.json").read_text())["phantom"] is False


@pytest.mark.parametrize(
    ("runs", "names"),
    [
        ([("a", "patient", 0), ("b", "patient", 0)], ["a", "b"]),
        ([("a", "patient", 0), ("a", "patient", 1)], ["a (seed 0)", "a (seed 1)"]),
        (
            [("a", "patient", 0), ("a", "stratified", 0)],
            ["a (patient, seed 0)", "a (stratified, seed 0)"],
        ),
        (
            [("a", "patient", 0), ("b", "patient", 0), ("a", "patient", 0)],
            ["a (#1)", "b", "a (#2)"],
        ),
    ],
)
def test_names_are_made_distinct(make_result, runs, names):
    results = [make_result(r, split_kind=kind, seed=seed) for r, kind, seed in runs]
    assert [result.name for result in prepare_results(results)] == names


def with_test_labels(result, labels):
    return replace(
        result,
        predictions=Predictions.from_logits(
            result.predictions.path,
            result.predictions.patient_id,
            result.predictions.split,
            result.films("val").y_true.tolist() + labels,
            result.predictions.logits,
        ),
    )


def test_models_of_different_test_sets_are_refused(make_result):
    a, b = make_result("a"), make_result("b")
    fewer = make_result("b", test_labels=[0, 1, 1] * 10)
    with pytest.raises(
        EvaluationError, match=r"a and b were tested on 60 and 30 films, of which 30"
    ):
        prepare_results([a, fewer])
    renamed = make_result("b", test_paths=[f"test/{i}.jpeg" for i in range(59)] + ["test/x.jpeg"])
    with pytest.raises(
        EvaluationError, match=r"of which 2 are not in both \(such as test/59.jpeg\)"
    ):
        prepare_results([a, renamed])
    relabelled = with_test_labels(b, [1, 0, 1, 1, 1] * 12)
    with pytest.raises(
        EvaluationError, match=r"test/0\.jpeg is NORMAL for a but PNEUMONIA for b; only models"
    ):
        prepare_results([a, relabelled])
    with pytest.raises(EvaluationError, match="b was tested on phantoms and a on patients' films"):
        prepare_results([a, replace(b, phantom=True)])


def test_order_of_films_does_not_matter(make_result):
    a = make_result("a")
    p = a.predictions
    reversed_films = Predictions.from_logits(
        p.path[::-1], p.patient_id[::-1], p.split[::-1], p.y_true[::-1], p.logits[::-1]
    )
    b = replace(a, recipe="b", predictions=reversed_films)
    first, second = prepare_results([a, b])
    assert first.summaries("test") == second.summaries("test")


def test_nothing_to_compare_is_refused(make_result):
    with pytest.raises(EvaluationError, match="there are no models to compare"):
        prepare_results([])
    result = make_result()
    for split, kept in (("test", "val"), ("val", "test")):
        with pytest.raises(EvaluationError, match=f"cnn has no scores of {split} films"):
            prepare_results([replace(result, predictions=result.films(kept))])
    with pytest.raises(EvaluationError, match="all test films of cnn are PNEUMONIA"):
        prepare_results([with_test_labels(result, [1] * 60)])
