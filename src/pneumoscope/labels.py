"""The one table of labels: ``NORMAL`` = 0, ``PNEUMONIA`` = 1."""

from enum import IntEnum


class Label(IntEnum):
    """The reference label of a film; the value is the class index of every network."""

    NORMAL = 0
    PNEUMONIA = 1


CLASS_NAMES: tuple[str, ...] = tuple(label.name for label in Label)
"""Class names in the order of the logits."""

DISCLAIMER = "Research use only. Not a medical device; not for diagnosis or treatment."
"""Stands in the README, in ``--help``, on every report and in every output."""
