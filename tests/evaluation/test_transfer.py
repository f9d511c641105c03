"""The threshold carried from validation to test."""

import pytest

from pneumoscope.errors import EvaluationError
from pneumoscope.evaluation.intervals import clopper_pearson_interval, wilson_interval
from pneumoscope.evaluation.operating_point import (
    choose_threshold_by_min_recall,
    summarize_at_threshold,
)
from pneumoscope.evaluation.transfer import TARGETS, realise, try_targets


def test_each_target_is_chosen_on_validation_and_only_read_on_test(make_result):
    result = make_result(seed=4)
    val, test = result.films("val"), result.films("test")
    found = try_targets(val, test)
    assert [target.min_recall for target in found] == list(TARGETS)
    for target in found:
        threshold, recall, _ = choose_threshold_by_min_recall(
            val.y_true, val.p_pneumonia, target.min_recall
        )
        assert target.threshold == threshold
        assert target.val.summary["recall"] == recall >= target.min_recall
        assert target.test.summary == summarize_at_threshold(
            test.y_true, test.p_pneumonia, threshold
        )
    thresholds = [target.threshold for target in found]
    assert thresholds == sorted(thresholds, reverse=True)


def test_intervals_are_of_the_right_counts(make_result):
    result = make_result()
    at = realise(result.films("test"), result.threshold)
    s = at.summary
    assert at.recall_wilson == wilson_interval(s["tp"], s["tp"] + s["fn"])
    assert at.recall_exact == clopper_pearson_interval(s["tp"], s["tp"] + s["fn"])
    assert at.specificity_wilson == wilson_interval(s["tn"], s["tn"] + s["fp"])
    assert at.specificity_exact == clopper_pearson_interval(s["tn"], s["tn"] + s["fp"])


def test_a_class_that_is_missing_on_test_has_no_interval(make_result):
    result = make_result(test_labels=[1, 1, 1])
    at = realise(result.films("test"), result.threshold)
    assert at.specificity_wilson is None
    assert at.specificity_exact is None


def test_without_pneumonia_on_validation_nothing_can_be_chosen(make_result):
    films = make_result(test_labels=[0, 0]).films("test")
    with pytest.raises(EvaluationError, match="none of the 2 labels is positive"):
        try_targets(films, films)
