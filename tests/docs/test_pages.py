"""What the tests of pages go by."""

import math

import pytest
from pages import agrees


def test_figures_agree_as_far_as_they_are_written_out():
    assert agrees(".98 and 1,043", 0.9849, 1043)
    assert agrees("-.003 to .008", -0.0029, 0.0084)


@pytest.mark.parametrize("value", [0.986, 0.974, None, math.nan, math.inf])
def test_figures_do_not_agree(value):
    assert not agrees(".98", value)


def test_a_figure_too_many_or_too_few():
    with pytest.raises(AssertionError):
        agrees(".98", 0.98, 0.98)
    with pytest.raises(AssertionError):
        agrees(".98 and .99", 0.98)
