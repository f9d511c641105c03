"""Intervals of fractions, and the type that all intervals share."""

import math
from typing import Literal

from scipy.stats import binomtest

CONFIDENCE = 0.95
"""The level of every interval in the project."""

Interval = list[float] | None
"""[low, high], a list as in JSON; ``None`` where the data cannot give one."""


def wilson_interval(num_hits: int, num_cases: int) -> Interval:
    """Returns the 95 % Wilson score interval of a fraction; ``None`` where there is no case.

    It holds its level on average for small numbers and near 0 and 1, where recall lives, and it
    never leaves [0, 1]. Films count as independent.

    Args:
        num_hits: how many of the cases, 0 to ``num_cases``.
        num_cases: the number of cases.

    Source: Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212; computed by scipy.

    Example:
        >>> low, high = wilson_interval(81, 263)
        >>> round(low, 4), round(high, 4)
        (0.2553, 0.3662)
    """
    return _binomial_interval(num_hits, num_cases, "wilson")


def clopper_pearson_interval(num_hits: int, num_cases: int) -> Interval:
    """Returns the 95 % Clopper-Pearson interval of a fraction; ``None`` where there is no case.

    It reaches its level whatever the true fraction is, and is therefore wider than Wilson's.
    Films count as independent.

    Args:
        num_hits: how many of the cases, 0 to ``num_cases``.
        num_cases: the number of cases.

    Source: Clopper and Pearson, Biometrika 26 (1934) 404-413; computed by scipy.

    Example:
        >>> low, high = clopper_pearson_interval(81, 263)
        >>> round(low, 4), round(high, 4)
        (0.2527, 0.3676)
    """
    return _binomial_interval(num_hits, num_cases, "exact")


def newcombe_interval(
    num_hits: int, num_cases: int, other_num_hits: int, other_num_cases: int
) -> Interval:
    """Returns the 95 % interval of one fraction less another, of different films.

    ``None`` where either has no case. Films count as independent.

    Args:
        num_hits: how many of the cases, 0 to ``num_cases``.
        num_cases: the number of cases.
        other_num_hits: the same of the fraction that is subtracted.
        other_num_cases: its number of cases.

    Source: Newcombe, Stat. Med. 17 (1998) 873-890, method 10, from Wilson's intervals.

    Example:
        >>> low, high = newcombe_interval(56, 70, 48, 80)
        >>> round(low, 4), round(high, 4)
        (0.0524, 0.3339)
    """
    one = wilson_interval(num_hits, num_cases)
    other = wilson_interval(other_num_hits, other_num_cases)
    if one is None or other is None:
        return None
    p, q = num_hits / num_cases, other_num_hits / other_num_cases
    return [
        p - q - math.hypot(p - one[0], other[1] - q),
        p - q + math.hypot(one[1] - p, q - other[0]),
    ]


def _binomial_interval(
    num_hits: int, num_cases: int, method: Literal["wilson", "exact"]
) -> Interval:
    if num_cases == 0:
        return None
    interval = binomtest(num_hits, num_cases).proportion_ci(CONFIDENCE, method=method)
    return [float(interval.low), float(interval.high)]
