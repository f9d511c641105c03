"""Every section on drawn models: the numbers are the statistics', and odd data have an answer."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pneumoscope.data.corruption import CLEAN, CORRUPTIONS, MARKER_ADDED, family
from pneumoscope.data.quality import QUALITY_ATTRIBUTES, Quality, quality_range
from pneumoscope.evaluation.comparison import prepare_results
from pneumoscope.evaluation.evidence import results_from_csv
from pneumoscope.evaluation.film_table import FilmTable
from pneumoscope.evaluation.metrics import bundle_metrics
from pneumoscope.evaluation.operating_point import (
    choose_threshold_by_min_recall,
    summarize_at_threshold,
)
from pneumoscope.evaluation.predictions import Predictions, write_predictions
from pneumoscope.evaluation.report.build import build_report, report_files
from pneumoscope.evaluation.report.document import Figure, Report, Section, Table, Text
from pneumoscope.evaluation.report.guidelines import GUIDELINES, PERSON, guideline_tables
from pneumoscope.evaluation.report.leakage import leakage_section
from pneumoscope.evaluation.report.operating_point import operating_point_section
from pneumoscope.evaluation.report.robustness import robustness_section
from pneumoscope.evaluation.shift_table import ShiftTable

SECTIONS = [
    "summary", "results", "discrimination", "operating-point", "calibration", "decision-curve",
    "subgroups", "pairs", "robustness", "population", "leakage", "intended-use", "paper-trail",
]  # fmt: skip


def report_on(*results) -> Report:
    named = prepare_results(results)
    return build_report(named, [bundle_metrics(r.predictions, r.threshold) for r in named])


def section(report: Report, name: str) -> Section:
    return next(one for one in report.sections if one.id == name)


def words(one: Section) -> str:
    return "\n".join(block.markdown for block in one.blocks if isinstance(block, Text))


def tables(one: Section) -> list[Table]:
    return [block for block in one.blocks if isinstance(block, Table)]


@pytest.fixture
def evaluated(make_result):
    """Makes a model with films measured and altered; ``shift`` is what a marker adds."""

    def make(name="cnn", seed=0, shift=0.0):
        result = make_result(name, seed=seed)
        films = result.films("test")
        rng = np.random.default_rng(seed)
        values = {attribute: rng.random(60) for attribute in QUALITY_ATTRIBUTES}
        values["height_px"] = values["width_px"] = np.full(60, 224.0)
        log_odds = {CLEAN: films.log_odds.astype(np.float32)}
        for variant in CORRUPTIONS:
            noise = rng.normal(0, 0.3, 60) if family(variant) != MARKER_ADDED else shift
            log_odds[variant] = (films.log_odds + noise).astype(np.float32)
        training = quality_range(
            Quality(224, 224, *rng.random(len(QUALITY_ATTRIBUTES) - 2)) for _ in range(500)
        )
        data = {"split_kind": "patient", "num_train": 500, "training_quality": training.to_dict()}
        return replace(
            result,
            film_table=FilmTable(films.path, np.array([f"{i:064x}" for i in range(60)]), values),
            shift_table=ShiftTable(films.path, log_odds),
            manifest={"data": data},
        )

    return make


def test_all_sections_in_reading_order(evaluated):
    report = report_on(evaluated("cnn"), evaluated("vit", seed=1))
    assert [one.id for one in report.sections] == SECTIONS
    for one in report.sections:
        assert one.blocks, one.id
    assert json.loads(report_files(report)["report.json"])  # no NaN, all plain


def test_one_model_is_not_compared(evaluated):
    assert [one.id for one in report_on(evaluated()).sections] == [
        name for name in SECTIONS if name != "pairs"
    ]


def test_scores_alone_make_a_report(tmp_path, make_result):
    path = tmp_path / "mine" / "predictions.csv"
    write_predictions(path, make_result().predictions)
    report = report_on(results_from_csv(path, 0.95)[0])
    assert [one.id for one in report.sections] == [n for n in SECTIONS if n != "pairs"]
    assert "grouped by file name alone" in words(section(report, "subgroups"))
    assert "No altered films were scored" in words(section(report, "robustness"))
    assert "not audited" in words(section(report, "leakage"))
    assert "were not compared" in words(section(report, "population"))
    assert report_files(report)["report.html"]


@pytest.mark.parametrize("labels", [[1] * 5, [0] * 5, [1], [0]])
def test_test_films_of_one_class_are_reported_as_far_as_it_goes(make_result, labels):
    result = make_result(test_labels=labels)
    summary = summarize_at_threshold(
        result.films("test").y_true, result.films("test").p_pneumonia, result.threshold
    )
    assert (summary["recall"] is None) == (labels[0] == 0)
    # ROC curves need both classes, so a comparison refuses such films; the sections do not.
    metrics = [bundle_metrics(result.predictions, result.threshold)]
    sections = [one.id for one in build_report([result], metrics).sections]
    assert "discrimination" not in sections
    assert "decision-curve" not in sections
    assert {"operating-point", "calibration", "subgroups", "population"} <= set(sections)


def test_equal_scores_are_reported(make_result):
    result = make_result()
    logits = np.zeros_like(result.predictions.logits)
    p = result.predictions
    flat = type(p).from_logits(
        p.path.tolist(), p.patient_id.tolist(), p.split.tolist(), p.y_true, logits
    )
    report = report_on(replace(result, predictions=flat, threshold=0.5))
    row = tables(section(report, "discrimination"))[0].rows[0]
    assert row[1] == "0.500"
    assert report_files(report)["report.json"]


def test_the_operating_points_figures_are_those_of_the_threshold(make_result):
    result = make_result(seed=5)
    found = section(report_on(result), "operating-point")
    at = result.summaries("test")[1]
    data = found.data[result.name]
    assert data["test"]["summary"] == at
    assert [t["min_recall"] for t in data["targets"]] == [0.9, 0.95, 0.975, 0.99]
    assert f"recall **{at['recall']:.3f}** and specificity **{at['specificity']:.3f}**" in words(
        found
    )
    transfer = tables(found)[0]
    assert transfer.rows[1][1] == f"{at['tp']}/{at['tp'] + at['fn']}"


def test_scores_that_moved_are_said_to_look_different(make_result):
    result = make_result(test_labels=[0] * 60 + [1] * 60)
    p = result.predictions
    logits = p.logits.copy()
    hard = (p.split == "test") & (p.y_true == 0)
    logits[hard] += [-2.0, 2.0]
    moved = type(p).from_logits(
        p.path.tolist(), p.patient_id.tolist(), p.split.tolist(), p.y_true, logits
    )
    report = report_on(replace(result, predictions=moved))
    assert "this population looks different" in words(section(report, "population"))
    assert "scores of NORMAL films" in words(section(report, "population"))


def test_seeds_stand_apart_from_sampling_error(evaluated):
    report = report_on(evaluated("cnn", 0), evaluated("cnn", 1), evaluated("cnn", 2))
    found = section(report, "pairs")
    assert len(found.data["pairs"]) == 3
    assert set(found.data["seeds"]["cnn"]) == {"AUROC", "recall", "specificity"}
    spread = found.data["seeds"]["cnn"]["AUROC"]
    assert spread["sd"] > 0
    assert spread["sampling_error"] > 0
    assert "degrees of freedom" in words(found)
    one_seed = section(report_on(evaluated("cnn"), evaluated("vit", seed=1)), "pairs")
    assert "One seed a recipe" in words(one_seed)


def test_markers_that_flip_decisions_are_counted(evaluated):
    calm = robustness_section([evaluated(shift=0.0)])
    assert "0 of 60 films" in words(calm)
    result = evaluated(shift=-30.0)
    loud = robustness_section([result])
    called = int((result.films("test").p_pneumonia >= result.threshold).sum())
    assert f"{called} of 60 films" in words(loud)
    assert {block.name for block in loud.blocks if isinstance(block, Figure)} == {
        "robustness-auroc", "robustness-recall", "robustness-specificity",
    }  # fmt: skip


def test_what_the_leak_is_worth_needs_both_splits(make_result):
    patient, leaky = make_result("a"), replace(
        make_result("b", split_kind="stratified"), name="b"
    )  # fmt: skip
    assert "What the leak is worth shows where" in words(leakage_section([patient]))
    told = words(leakage_section([patient, leaky]))
    assert "`b` against `a`" in told
    assert "validation AUROC +0.000" in told  # the same scores


def test_an_audit_is_shown_whole(make_result):
    audit = {
        "num_films": 60,
        "verdict": [{"level": "problem", "text": "2 files cannot be read"}],
        "splits": [
            {
                "kind": "stratified", "num_train": 40, "num_val": 10, "num_val_same_patient": 4,
                "num_val_same_number": 5, "num_val_copies": 1,
            }
        ],
    }  # fmt: skip
    found = leakage_section([replace(make_result(), audit=audit)])
    shown = [row for table in tables(found) for row in table.rows]
    assert ("`stratified`", "40", "10", "4 (40.0%)", "5 (50.0%)", "1") in shown
    assert ("**problem**", "2 files cannot be read") in shown


def test_guidelines_refer_to_sections_or_to_a_person(evaluated):
    report = report_on(evaluated("cnn"), evaluated("vit", seed=1))
    ids = {one.id for one in report.sections}
    for items in GUIDELINES.values():
        for item in items:
            assert set(item.sections) <= ids, item
    full, empty = guideline_tables(ids), guideline_tables(())
    for table, without in zip(full, empty, strict=True):
        assert any(PERSON in row[2] for row in table.rows)
        assert any("](#" in row[2] for row in table.rows)
        assert not any("](#" in row[2] for row in without.rows)
    # Scores alone have no manifest, no altered films and no gallery to refer to.
    bare = {row[0]: row[2] for row in guideline_tables(ids - {"robustness"})[0].rows}
    for item in ("22", "23", "24", "25", "31", "32"):
        assert bare[item].startswith(f"**{PERSON}**"), item
    assert "robustness" not in bare["30"]
    assert bare["27"] == "none in a single bundle"
    told = {
        row[0]: row[2] for row in guideline_tables({*ids, "manifest", "external films"})[0].rows
    }
    assert told["22"].startswith("[paper-trail]")
    assert told["32"] == "[population](#population)"


@pytest.mark.parametrize(
    ("shift_sick", "shift_healthy", "verdict"),
    [
        (-3, 3, "harder than those"),
        (3, 3, "The scores moved"),
        (-3, -3, "The scores moved"),
        (-3, 0, "More of the sick are missed"),
        (3, -3, "easier than those"),
        (0, 0, "No more than chance"),
    ],
)
def test_the_verdict_on_a_threshold_looks_at_both_figures(
    make_result, shift_sick, shift_healthy, verdict
):
    rng = np.random.default_rng(0)
    y = np.array([0, 1] * 300)
    log_odds = 3 * y - 1.5 + rng.normal(0, 1.5, 600)
    test = np.arange(600) >= 300
    log_odds = log_odds + test * np.where(y == 1, shift_sick, shift_healthy)
    films = Predictions.from_logits(
        [f"{i}.jpeg" for i in range(600)],
        [f"p{i}" for i in range(600)],
        np.where(test, "test", "val").tolist(),
        y,
        np.stack([-log_odds / 2, log_odds / 2], axis=1),
    )
    val = films.subset("val")
    threshold = choose_threshold_by_min_recall(val.y_true, val.p_pneumonia, 0.85)[0]
    result = replace(make_result(), predictions=films, threshold=threshold)
    (text,) = [
        block.markdown
        for block in operating_point_section([result]).blocks
        if isinstance(block, Text) and "asked for validation recall" in block.markdown
    ]
    assert verdict in text


def test_names_with_any_signs_are_shown_and_never_obeyed(evaluated):
    names = ["a $x^^y$", "_hidden", "x*y*<b>z](h)", "50%"]
    results = [replace(evaluated("m", seed), name=n) for seed, n in enumerate(names)]
    files = report_files(report_on(*results))
    html, markdown = files["report.html"].decode(), files["report.md"].decode()
    assert "<b>z" not in html
    assert "x\\*y\\*\\<b\\>z\\](h)" in markdown
    assert "<em>y</em>" not in html


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("CLAIM", [str(n) for n in range(1, 43)]), ("STARD-AI", None), ("TRIPOD+AI", None)],
)
def test_no_item_of_a_guideline_is_left_out(name, numbers):
    found = [item.number for item in GUIDELINES[name]]
    if numbers:
        assert found == numbers
    main = {number.rstrip("abcdefg-") for number in found if number != "AI"}
    assert main == {str(n) for n in range(1, {"CLAIM": 43, "STARD-AI": 31, "TRIPOD+AI": 28}[name])}
