"""How numbers look in the report: fractions to three decimals, "-" where there is none."""

from pneumoscope.evaluation.intervals import Interval

MISSING = "-"


def fraction(value: float | None) -> str:
    """Returns a fraction to three decimals.

    >>> fraction(0.97979), fraction(None)
    ('0.980', '-')
    """
    return MISSING if value is None else f"{value:.3f}"


def span(interval: Interval) -> str:
    """Returns the two ends of an interval.

    >>> span([0.96918, 0.9868]), span(None)
    ('0.969 to 0.987', '-')
    """
    return MISSING if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def with_interval(value: float | None, interval: Interval) -> str:
    """Returns a fraction followed by its interval, where there is one.

    >>> with_interval(0.97979, [0.96918, 0.9868])
    '0.980 (0.969 to 0.987)'
    """
    return fraction(value) if interval is None else f"{fraction(value)} ({span(interval)})"


def signed(value: float | None, interval: Interval) -> str:
    """Returns a difference with its sign, followed by its interval, where there is one.

    >>> signed(0.0307, [0.01805, 0.04336]), signed(-0.0004, [-0.00694, 0.00613])
    ('+0.031 (+0.018 to +0.043)', '+0.000 (-0.007 to +0.006)')
    """
    if value is None:
        return MISSING
    shown = f"{value:+z.3f}"
    return f"{shown} ({interval[0]:+z.3f} to {interval[1]:+z.3f})" if interval else shown


def p_phrase(p: float) -> str:
    """Returns a p value to stand in a sentence.

    >>> p_phrase(0.0004), p_phrase(0.387695)
    ('p < 0.001', 'p = 0.388')
    """
    shown = p_value(p)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


def p_value(p: float | None) -> str:
    """Returns a p value to three decimals.

    >>> p_value(0.0004), p_value(0.387695)
    ('< 0.001', '0.388')
    """
    if p is None:
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
