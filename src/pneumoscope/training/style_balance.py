"""Films drawn so that their style tells less of their class.

Where sick and healthy children were filmed on different machines, a network can learn the
machine. Style alone foretells the class of Kermany's training films with an AUROC of .96, though
some normal films look as those of the sick do. So a film is drawn the more often, the less its
style would have made one expect its class: inverse propensity weighting, with a logistic
regression of the class on :mod:`pneumoscope.data.style` as the propensity. The cap on weights and
classes that overlap little leave some of it: of these films, an AUROC of .68.

Source: Rosenbaum and Rubin, "The central role of the propensity score in observational studies
for causal effects", Biometrika 70 (1983) 41-55, for the propensity; Robins, Hernan and Brumback,
"Marginal structural models and causal inference in epidemiology", Epidemiology 11 (2000) 550-560,
for the weights.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pneumoscope.data.style import describe_style
from pneumoscope.labels import Label

LEAST_PROPENSITY = 0.05
"""What a film's own class is given at least: no film is drawn over twenty times another's share."""


def foretell_class(
    known: NDArray[np.float64], labels: NDArray[np.int64], styles: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns the probability of pneumonia (N,) that ``styles`` (N, F) give, classes balanced.

    Args:
        known: styles (M, F) of the films to learn from.
        labels: their class indices (M,), each class present.
        styles: styles of the films in question.
    """
    model = make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced")
    )
    p: NDArray[np.float64] = model.fit(known, labels).predict_proba(styles)[:, Label.PNEUMONIA]
    return p


def balancing_weights(labels: NDArray[np.int64], p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the weight (N,) of each film; those of each class sum to 1.

    Args:
        labels: class indices (N,).
        p: what style gives for pneumonia (N,), see :func:`foretell_class`.
    """
    own = np.where(labels == Label.PNEUMONIA, p, 1.0 - p)
    weights: NDArray[np.float64] = 1.0 / np.maximum(own, LEAST_PROPENSITY)
    for label in np.unique(labels):
        weights[labels == label] /= weights[labels == label].sum()
    return weights


def style_weights(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns :func:`balancing_weights` of training films (N, S, S), learned from themselves."""
    styles = describe_style(pixels)
    return balancing_weights(labels, foretell_class(styles, labels, styles))
