"""The bootstrap over patients: against a plain loop, and its coverage in simulation."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation import bootstrap as module
from pneumoscope.evaluation.bootstrap import (
    auroc_interval,
    mean_interval,
    percentile_band,
    percentile_interval,
    resample,
    resampled_means,
    varies,
)


@pytest.fixture(scope="module")
def films():
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 60)
    p = np.clip(0.3 * y + 0.7 * rng.random(60), 0, 1)
    return y, p, rng.integers(0, 25, 60)


def draws(patients, num_resamples, seed=0):
    """Film weights of every resample, drawn one at a time."""
    ids, patient_of_film = np.unique(patients, return_inverse=True)
    rng = np.random.default_rng(seed)
    odds = np.full(len(ids), 1 / len(ids))
    return [rng.multinomial(len(ids), odds)[patient_of_film] for _ in range(num_resamples)]


def test_every_resample_draws_as_many_patients_as_there_are_and_whole_ones(films):
    _, _, patients = films
    weights = resample(patients, lambda rows: rows, num_resamples=200)
    assert weights.shape == (200, 60)
    for row in weights:
        of_patient = {patient: set(row[patients == patient]) for patient in set(patients)}
        assert all(len(weight) == 1 for weight in of_patient.values())
        assert sum(weight.pop() for weight in of_patient.values()) == len(set(patients))


def test_it_is_a_plain_loop(films, monkeypatch):
    y, p, patients = films
    expected = [roc_auc_score(y, p, sample_weight=weight) for weight in draws(patients, 300)]
    low, high = auroc_interval(y, p, patients, num_resamples=300)
    assert [low, high] == pytest.approx(np.quantile(expected, [0.025, 0.975]))
    means = [np.average(p, weights=weight) for weight in draws(patients, 300)]
    found = resampled_means(p[:, np.newaxis], patients, num_resamples=300)
    assert found[:, 0] == pytest.approx(means)
    monkeypatch.setattr(module, "_MAX_WEIGHTS", 7 * 60)  # a few resamples at a time
    in_parts = resampled_means(p[:, np.newaxis], patients, num_resamples=300)
    assert in_parts == pytest.approx(found, abs=1e-12)


def test_two_calls_share_their_draws_whatever_the_order_of_films(films):
    _, p, patients = films
    order = np.random.default_rng(1).permutation(60)
    one = resampled_means(p[:, np.newaxis], patients, num_resamples=50)
    other = resampled_means(p[order, np.newaxis], patients[order], num_resamples=50)
    assert one == pytest.approx(other)


@pytest.mark.parametrize(("films_a_patient", "num_patients"), [(1, 150), (4, 120)])
def test_the_interval_of_a_mean_covers_where_films_of_a_patient_are_alike(
    films_a_patient, num_patients
):
    """By patient it holds its level; film by film it would not, with four films of each."""
    rng = np.random.default_rng(0)
    by_patient, by_film = [], []
    for _ in range(300):
        luck = np.repeat(rng.random(num_patients), films_a_patient)
        hit = (0.8 * luck + 0.2 * rng.random(len(luck))) < 0.5
        patients = np.repeat(np.arange(num_patients), films_a_patient)
        for found, ids in ((by_patient, patients), (by_film, np.arange(len(luck)))):
            low, high = mean_interval(hit, ids, num_resamples=400)
            found.append(low <= 0.5 <= high)
    assert 0.91 <= np.mean(by_patient) <= 0.98
    if films_a_patient > 1:
        assert np.mean(by_film) < 0.8


def test_the_interval_of_an_auroc_covers():
    rng = np.random.default_rng(1)
    hits = []
    for _ in range(250):
        y = np.repeat([0, 1], 60)
        score = rng.normal(y * 1.3, 1)
        low, high = auroc_interval(y, 1 / (1 + np.exp(-score)), np.arange(120), num_resamples=400)
        hits.append(low <= 0.82100 <= high)  # normal scores 1.3 apart: Phi(1.3 / sqrt(2))
    assert 0.91 <= np.mean(hits) <= 0.98


def test_what_cannot_vary_has_no_interval():
    assert auroc_interval([0, 0, 1], [0.1, 0.2, 0.9], ["a", "b", "c"]) is None
    assert auroc_interval([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], ["a", "b", "c", "c"]) is None
    assert mean_interval([1, 0], ["a", "a"]) is None
    assert mean_interval([1], ["a"]) is None
    assert not varies(np.array([0, 0]), ["a", "b"])


def test_equal_scores_are_at_chance_for_sure_and_perfect_ones_at_1():
    y, patients = np.repeat([0, 1], 20), np.arange(40)
    assert auroc_interval(y, np.full(40, 0.3), patients) == [0.5, 0.5]
    assert auroc_interval(y, 0.2 + 0.6 * y, patients) == [1.0, 1.0]


def test_unsound_input_is_refused():
    with pytest.raises(EvaluationError, match="there are 2 films but 3 patient ids"):
        auroc_interval([0, 1], [0.1, 0.9], ["a", "b", "c"])
    with pytest.raises(EvaluationError, match=r"p1\[0\] is nan"):
        auroc_interval([0, 1], [np.nan, 0.9], ["a", "b"])


def test_undefined_resamples_are_left_out():
    assert percentile_interval(np.array([np.nan, 1.0, 2.0, 3.0])) == pytest.approx([1.05, 2.95])
    assert percentile_interval(np.array([np.nan, np.nan])) is None
    low, high = percentile_band(np.array([[np.nan, 1.0], [0.0, 2.0], [1.0, 4.0]]))
    assert (low.tolist(), high.tolist()) == (
        pytest.approx([0.025, 2.05]), pytest.approx([0.975, 3.95])
    )  # fmt: skip
    assert percentile_band(np.full((2, 2), np.nan)) is None
