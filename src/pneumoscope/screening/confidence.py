"""How sure: probabilities that mean what they say, and what a decision is worth elsewhere."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import expit, logit

from pneumoscope.bundle import Bundle
from pneumoscope.errors import UsageError
from pneumoscope.evaluation.calibration import fit_temperature
from pneumoscope.evaluation.operating_point import summarize_at_threshold
from pneumoscope.evaluation.predictions import read_predictions
from pneumoscope.evaluation.predictive_value import predictive_values

_LAST = 1e-12  # from here on p in float64 has no log-odds worth the name


@dataclass(frozen=True)
class Confidence:
    """What a bundle's validation and test scores say of its answers.

    Attributes:
        temperature: by which log-odds are divided; above 1 the network is too sure of itself.
        val_prevalence: share of PNEUMONIA among the validation films that it was fitted on.
        prevalence: the share expected among those screened, or ``None`` for the former.
        expectation: what to expect of decisions there; one line, or ``None``.
    """

    temperature: float
    val_prevalence: float
    prevalence: float | None
    expectation: str | None

    @classmethod
    def of(cls, bundle: Bundle, prevalence: float | None) -> Self:
        """Returns it for a bundle, from its ``predictions.csv`` alone.

        Raises:
            UsageError: ``prevalence`` is not in (0, 1).
        """
        if prevalence is not None and not 0 < prevalence < 1:
            raise UsageError(f"--prevalence {prevalence}: expected a share between 0 and 1")
        predictions = read_predictions(bundle.path / "predictions.csv")
        val = predictions.subset("val")
        temperature = fit_temperature(val.y_true, val.logits[:, 1] - val.logits[:, 0])
        expectation = None
        if prevalence is not None:
            test = predictions.subset("test")
            measured, name = (test, "test") if len(test) else (val, "validation")
            counts = summarize_at_threshold(measured.y_true, measured.p_pneumonia, bundle.threshold)
            values = predictive_values(counts, prevalence)
            if values is not None and values.ppv is not None and values.npv is not None:
                low, high = values.ppv_interval or (0.0, 1.0)
                expectation = (
                    f"At a prevalence of {prevalence:.1%}, {values.ppv:.1%} of the films called "
                    f"PNEUMONIA would have it (95 % {low:.1%} to {high:.1%}) and {values.npv:.1%} "
                    f"of those called NORMAL would not, if recall and specificity stay what they "
                    f"are on the {name} films."
                )
        return cls(float(temperature), float(val.y_true.mean()), prevalence, expectation)

    def p_calibrated(self, p_pneumonia: float) -> float:
        """Returns the score as a probability: at the validation films' prevalence, or the stated.

        Source: Guo et al. (arXiv:1706.04599) for the temperature; Saerens et al., Neural
        Computation 14 (2002) 21-41, equation 4, for another prevalence.
        """
        log_odds = float(logit(np.clip(p_pneumonia, _LAST, 1 - _LAST))) / self.temperature
        if self.prevalence is not None:
            log_odds += float(logit(self.prevalence) - logit(self.val_prevalence))
        return float(expit(log_odds))
