"""Groups of films and their gaps, against counts by hand, scipy and statsmodels."""

import numpy as np
import pytest
from scipy.stats import chi2_contingency, fisher_exact
from statsmodels.stats.multitest import multipletests

from pneumoscope.data.quality import QUALITY_ATTRIBUTES
from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.film_table import FilmTable
from pneumoscope.evaluation.intervals import newcombe_interval, wilson_interval
from pneumoscope.evaluation.predictions import Predictions
from pneumoscope.evaluation.subgroups import SERIES, measure_subgroups
from pneumoscope.labels import Label

NUM_FILMS = 120


@pytest.fixture(scope="module")
def films():
    """60 NORMAL films of two series, 60 PNEUMONIA films of two causes."""
    rng = np.random.default_rng(8)
    names = [f"IM-{i:04}-0001.jpeg" for i in range(20)]
    names += [f"NORMAL2-IM-{i:04}-0001.jpeg" for i in range(40)]
    names += [f"person{i}_bacteria_{i}.jpeg" for i in range(35)]
    names += [f"person{i + 100}_virus_{i}.jpeg" for i in range(25)]
    y = np.array([0] * 60 + [1] * 60)
    log_odds = 3 * y - 1.5 + rng.normal(0, 2, NUM_FILMS)
    return Predictions.from_logits(
        path=[f"test/{name}" for name in names],
        patient_id=[name.rsplit("_", 1)[0] for name in names],
        split=["test"] * NUM_FILMS,
        y_true=y,
        logits=np.stack([-log_odds / 2, log_odds / 2], axis=1),
    )


@pytest.fixture(scope="module")
def table(films):
    rng = np.random.default_rng(9)
    values = {name: rng.random(NUM_FILMS) for name in QUALITY_ATTRIBUTES}
    values["height_px"] = rng.integers(200, 900, NUM_FILMS).astype(float)
    values["width_px"] = rng.integers(200, 900, NUM_FILMS).astype(float)
    hashes = np.array([f"{i:064x}" for i in range(NUM_FILMS)])
    return FilmTable(films.path, hashes, values)


def test_file_names_give_cause_and_series(films):
    found = measure_subgroups(films, 0.5)
    groups = {group.name: group for group in found.groups}
    assert set(groups) == {"IM", "NORMAL2", "bacterial", "viral"}
    called = films.p_pneumonia >= 0.5
    bacterial = np.array(["bacteria" in path for path in films.path])
    assert groups["bacterial"].summary["tp"] == np.sum(called & bacterial)
    assert groups["bacterial"].summary["fn"] == np.sum(~called & bacterial)
    assert groups["bacterial"].summary["specificity"] is None
    assert groups["bacterial"].auroc_interval is None
    assert groups["IM"].summary["tn"] == np.sum(~called[:20])
    assert groups["IM"].specificity_interval == wilson_interval(int(np.sum(~called[:20])), 20)


def test_gaps_are_newcombes_with_fishers_test(films):
    recall, specificity = sorted(measure_subgroups(films, 0.5).gaps, key=lambda gap: -gap.label)
    called = films.p_pneumonia >= 0.5
    hits = [int(called[60:95].sum()), int(called[95:].sum())]
    assert (recall.label, recall.first, recall.last) == (Label.PNEUMONIA, "bacterial", "viral")
    assert recall.difference == pytest.approx(hits[1] / 25 - hits[0] / 35)
    assert recall.interval == newcombe_interval(hits[1], 25, hits[0], 35)
    expected = fisher_exact([[hits[0], 35 - hits[0]], [hits[1], 25 - hits[1]]]).pvalue
    assert recall.p_value == pytest.approx(expected)
    assert (specificity.first, specificity.last) == ("IM", "NORMAL2")
    p_holm = multipletests([recall.p_value, specificity.p_value], method="holm")[1]
    assert [recall.p_holm, specificity.p_holm] == pytest.approx(p_holm)


def test_measured_films_come_in_quarters(films, table):
    found = measure_subgroups(films, 0.5, table)
    attributes = list(dict.fromkeys(group.attribute for group in found.groups))
    assert attributes == [
        SERIES, "width / height", "image size, megapixels", "brightness", "contrast", "sharpness",
    ]  # fmt: skip
    for attribute in attributes[1:]:
        groups = [group for group in found.groups if group.attribute == attribute]
        sizes = [sum(g.summary[c] for c in ("tp", "fp", "fn", "tn")) for g in groups]
        assert sizes == [30, 30, 30, 30]
    bright = [g for g in found.groups if g.attribute == "brightness"][-1]
    rows = table.values["brightness"] >= np.quantile(table.values["brightness"], 0.75)
    assert bright.name.endswith("and above")
    assert bright.summary["tp"] == np.sum(rows & (films.y_true == 1) & (films.p_pneumonia >= 0.5))


def test_more_than_two_groups_are_tested_by_chi_square(films, table):
    found = measure_subgroups(films, 0.5, table)
    (gap,) = [g for g in found.gaps if (g.attribute, g.label) == ("sharpness", Label.PNEUMONIA)]
    groups = [g.summary for g in found.groups if g.attribute == "sharpness"]
    counts = [[s["tp"], s["fn"]] for s in groups]
    assert gap.p_value == pytest.approx(chi2_contingency(counts).pvalue)
    recalls = [tp / (tp + fn) for tp, fn in counts]
    assert gap.largest == pytest.approx(max(recalls) - min(recalls))
    assert gap.difference == pytest.approx(recalls[-1] - recalls[0])
    assert len(found.gaps) == 2 * 6


def test_the_table_may_stand_in_another_order_but_must_hold_every_film(films, table):
    order = np.random.default_rng(1).permutation(NUM_FILMS)
    shuffled = FilmTable(
        table.path[order],
        table.sha256[order],
        {name: values[order] for name, values in table.values.items()},
    )
    assert measure_subgroups(films, 0.5, shuffled) == measure_subgroups(films, 0.5, table)
    fewer = FilmTable(
        table.path[1:], table.sha256[1:], {n: values[1:] for n, values in table.values.items()}
    )
    with pytest.raises(EvaluationError, match="lacks 1 of 120 films"):
        measure_subgroups(films, 0.5, fewer)


def test_an_attribute_that_does_not_vary_makes_no_group(films, table):
    same = FilmTable(
        table.path,
        table.sha256,
        {**table.values, **{name: np.full(NUM_FILMS, 224.0) for name in ("height_px", "width_px")}},
    )
    attributes = {group.attribute for group in measure_subgroups(films, 0.5, same).groups}
    assert attributes == {SERIES, "brightness", "contrast", "sharpness"}


def test_values_that_round_alike_keep_their_groups(films, table):
    close = {**table.values, "brightness": np.linspace(0.481, 0.4849, NUM_FILMS)}
    found = measure_subgroups(films, 0.5, FilmTable(table.path, table.sha256, close))
    groups = [g for g in found.groups if g.attribute == "brightness"]
    assert len({g.name for g in groups}) == 4
    assert sum(sum(g.summary[c] for c in ("tp", "fp", "fn", "tn")) for g in groups) == NUM_FILMS


def test_where_every_group_is_right_nothing_differs(films):
    found = measure_subgroups(films, 0.0)  # all are called
    (recall,) = [gap for gap in found.gaps if gap.label == Label.PNEUMONIA]
    assert (recall.difference, recall.largest, recall.p_value) == (0, 0, 1)


def test_names_of_another_form_make_no_groups(make_result):
    result = make_result()
    assert measure_subgroups(result.films("test"), result.threshold).groups == ()
    assert measure_subgroups(result.films("test"), result.threshold).gaps == ()
