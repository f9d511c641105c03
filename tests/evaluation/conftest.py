"""Fixtures of the evaluation tests: models made of drawn scores."""

from collections.abc import Callable

import numpy as np
import pytest

from pneumoscope.evaluation.operating_point import choose_threshold_by_min_recall
from pneumoscope.evaluation.predictions import Predictions
from pneumoscope.evaluation.results import History, ModelResult


@pytest.fixture
def make_result() -> Callable[..., ModelResult]:
    """Returns a maker of models with 40 validation and 60 test films, 2 films a patient."""

    def make(
        recipe: str = "cnn",
        *,
        seed: int = 0,
        split_kind: str = "patient",
        phantom: bool = False,
        test_paths: list[str] | None = None,
        test_labels: list[int] | None = None,
    ) -> ModelResult:
        rng = np.random.default_rng(seed)
        val_labels = [0, 1, 1, 1] * 10
        if test_labels is None:
            test_labels = [0, 0, 1, 1, 1] * 12
        if test_paths is None:
            test_paths = [f"test/{i}.jpeg" for i in range(len(test_labels))]
        y = np.array(val_labels + test_labels)
        log_odds = 4 * y - 1.5 + rng.normal(0, 1.5, len(y))
        predictions = Predictions.from_logits(
            path=[f"train/{i}.jpeg" for i in range(40)] + test_paths,
            patient_id=[f"v{i // 2}" for i in range(40)]
            + [f"t{i // 2}" for i in range(len(test_labels))],
            split=["val"] * 40 + ["test"] * len(test_labels),
            y_true=y,
            logits=np.stack([-log_odds / 2, log_odds / 2], axis=1),
        )
        val = predictions.subset("val")
        threshold, _, _ = choose_threshold_by_min_recall(val.y_true, val.p_pneumonia)
        epochs = np.arange(1.0, 4.0)
        return ModelResult(
            name=recipe,
            recipe=recipe,
            model="cnn",
            model_id=f"{recipe}-s{seed}-0123456789ab",
            seed=seed,
            split_kind=split_kind,
            num_parameters=1_234_567,
            train_time_s=90.0 + 60 * seed,
            phantom=phantom,
            threshold=threshold,
            min_recall=0.95,
            predictions=predictions,
            history=History(
                epochs, 1 / epochs, 2 / epochs, 1 - 0.1 / epochs, 0 * epochs + 1e-3, 30 * epochs
            ),
        )

    return make
