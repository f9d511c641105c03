"""DeLong's variance against its definition, another derivation, simulation and the textbook."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm
from sklearn.metrics import roc_auc_score

from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.delong import (
    difference,
    equality,
    estimate_aurocs,
    interval_of,
    standard_error,
)


def by_definition(y, scores, patients=None):
    """AUROCs and covariance from every pair of films, in loops (DeLong; Obuchowski by patient)."""
    y, scores = np.asarray(y), [np.asarray(s) for s in scores]
    patients = np.arange(len(y)) if patients is None else np.asarray(patients)
    positive, negative = np.flatnonzero(y == 1), np.flatnonzero(y == 0)

    def wins(s, i, j):
        return 1.0 if s[i] > s[j] else 0.5 if s[i] == s[j] else 0.0

    won = np.array([[np.mean([wins(s, i, j) for j in negative]) for i in positive] for s in scores])
    lost = np.array(
        [[np.mean([wins(s, i, j) for i in positive]) for j in negative] for s in scores]
    )
    values = won.mean(axis=1)
    ids = sorted(set(patients))
    sick = [i for i in ids if i in set(patients[positive])]
    healthy = [i for i in ids if i in set(patients[negative])]

    def summed(components, rows, who):
        return (components[:, patients[rows] == who] - values[:, np.newaxis]).sum(axis=1)

    m, n = len(positive), len(negative)
    cov10 = sum(np.outer(*2 * [summed(won, positive, i)]) for i in sick)
    cov01 = sum(np.outer(*2 * [summed(lost, negative, i)]) for i in healthy)
    cov11 = sum(
        np.outer(summed(won, positive, i), summed(lost, negative, i))
        for i in set(sick) & set(healthy)
    ) + np.zeros((len(scores), len(scores)))
    return values, (
        len(sick) / (len(sick) - 1) * cov10 / m**2
        + len(healthy) / (len(healthy) - 1) * cov01 / n**2
        + len(ids) / (len(ids) - 1) * (cov11 + cov11.T) / (m * n)
    )


def draw(seed, num_films=40, num_models=2):
    rng = np.random.default_rng(seed)
    y = np.array([0, 1] * (num_films // 2))
    scores = [
        np.round(1 / (1 + np.exp(-rng.normal(1.2 * y, 1))), 1) for _ in range(num_models)
    ]  # with ties
    return y, scores, rng.integers(0, num_films // 3, num_films)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_its_definition_with_and_without_patients(seed):
    y, scores, patients = draw(seed, num_models=3)
    for ids in (None, patients):
        found = estimate_aurocs(y, scores, ids)
        values, covariance = by_definition(y, scores, ids)
        assert found.values == pytest.approx(values)
        assert found.covariance == pytest.approx(covariance, abs=1e-15)
    assert found.values.tolist() == pytest.approx([roc_auc_score(y, s) for s in scores])


def test_one_film_a_patient_is_plain_delong():
    y, scores, _ = draw(5)
    plain = estimate_aurocs(y, scores)
    single = estimate_aurocs(y, scores, [f"p{i}" for i in range(len(y))])
    assert single.covariance == pytest.approx(plain.covariance)


def test_films_of_one_patient_widen_the_interval():
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.normal(0, 1, 60), 4)
    y = np.repeat(np.arange(60) % 2, 4)
    p = 1 / (1 + np.exp(-(truth + y)))
    patients = np.repeat(np.arange(60), 4)
    by_film, by_patient = estimate_aurocs(y, [p]), estimate_aurocs(y, [p], patients)
    assert standard_error(by_patient) == pytest.approx(2 * standard_error(by_film), rel=0.05)


def test_the_area_is_mann_whitneys_statistic():
    y, (p, _), _ = draw(6)
    statistic = mannwhitneyu(p[y == 1], p[y == 0]).statistic
    assert estimate_aurocs(y, [p]).values[0] == pytest.approx(statistic / (20 * 20))


@pytest.mark.parametrize("films_a_patient", [1, 3])
def test_the_interval_covers(films_a_patient):
    rng = np.random.default_rng(2)
    num_patients, hits, naive = 60, [], []
    y = np.repeat(np.arange(num_patients) % 2, films_a_patient)
    patients = np.repeat(np.arange(num_patients), films_a_patient)
    truth = norm.cdf(1.5 / np.sqrt(2))
    for _ in range(500):
        shared = np.repeat(rng.normal(size=num_patients), films_a_patient)
        score = 1.5 * y + np.sqrt(0.8) * shared + np.sqrt(0.2) * rng.normal(size=len(y))
        p = 1 / (1 + np.exp(-score))
        for found, ids in ((hits, patients), (naive, None)):
            low, high = interval_of(estimate_aurocs(y, [p], ids))
            found.append(low <= truth <= high)
    assert 0.92 <= np.mean(hits) <= 0.98
    if films_a_patient > 1:
        assert np.mean(naive) < 0.88


def test_the_test_of_a_difference_keeps_its_level():
    rng = np.random.default_rng(3)
    y = np.repeat([0, 1], 50)
    rejected = []
    for _ in range(500):
        common = rng.normal(1.3 * y, 1)
        scores = [1 / (1 + np.exp(-(common + rng.normal(0, 0.7, 100)))) for _ in range(2)]
        rejected.append(difference(estimate_aurocs(y, scores)).p_value < 0.05)
    assert 0.025 <= np.mean(rejected) <= 0.08


def test_a_difference_is_a_contrast_of_two():
    y, scores, _ = draw(7)
    found = estimate_aurocs(y, scores)
    delta = difference(found)
    covariance = found.covariance
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert delta.value == pytest.approx(found.values[0] - found.values[1])
    assert delta.interval == pytest.approx(
        [delta.value - 1.959964 * error, delta.value + 1.959964 * error]
    )
    assert delta.p_value == pytest.approx(2 * norm.sf(abs(delta.value) / error))
    assert difference(found, 1, 0).value == -delta.value
    # For two models the test of equality is the square of that.
    both = equality(found)
    assert (both.num_degrees, both.statistic) == (1, pytest.approx((delta.value / error) ** 2))
    assert both.p_value == pytest.approx(delta.p_value)


def test_equality_of_several_models_does_not_depend_on_their_order():
    y, scores, _ = draw(8, num_films=80, num_models=4)
    one, other = (equality(estimate_aurocs(y, s)) for s in (scores, scores[::-1]))
    assert one.num_degrees == 3
    assert one.statistic == pytest.approx(other.statistic)


def test_models_that_rank_alike_do_not_differ():
    y, (p, _), _ = draw(9)
    found = estimate_aurocs(y, [p, p / 2])
    assert difference(found) == type(difference(found))(0.0, [0.0, 0.0], 1.0)
    assert equality(found) is None
    assert equality(estimate_aurocs(y, [p])) is None


def test_perfect_and_equal_scores_have_defined_answers():
    y = np.array([0, 0, 1, 1])
    perfect = estimate_aurocs(y, [[0.1, 0.2, 0.8, 0.9]])
    assert perfect.values[0] == 1
    assert interval_of(perfect) is None
    flat = estimate_aurocs(y, [[0.3] * 4])
    assert interval_of(flat) == [0.5, 0.5]


@pytest.mark.parametrize(
    ("y", "patients"),
    [([1, 1], None), ([0], None), ([0, 1, 1], None), ([0, 0, 1, 1], ["a", "a", "b", "c"])],
)
def test_too_few_films_or_patients_of_a_class_give_nothing(y, patients):
    assert estimate_aurocs(y, [np.linspace(0.1, 0.9, len(y))], patients) is None


def test_unsound_input_is_refused():
    with pytest.raises(EvaluationError, match=r"p1\[1\] is nan"):
        estimate_aurocs([0, 1], [[0.1, np.nan]])
    with pytest.raises(EvaluationError, match="2 films but 1 patient ids"):
        estimate_aurocs([0, 1], [[0.1, 0.9]], ["a"])


def test_it_is_the_published_example():
    """Outcome after aneurysmal subarachnoid haemorrhage by the WFNS grade, 1 to 5, with ties.

    Source: the data aSAH of Turck et al., Intensive Care Med. 36 (2010) 107-115, as counts; AUROC
        and DeLong's variance as published with pROC (Robin et al., BMC Bioinform. 12 (2011) 77).
    """
    good, poor = [37, 20, 3, 8, 4], [2, 12, 1, 8, 18]
    y = np.repeat([0, 1], [sum(good), sum(poor)])
    grade = np.concatenate([np.repeat(np.arange(5), good), np.repeat(np.arange(5), poor)])
    found = estimate_aurocs(y, [grade / 4])
    assert found.values[0] == pytest.approx(0.8237, abs=5e-5)
    assert found.covariance[0, 0] == pytest.approx(0.00146991470882363, rel=1e-12)
