"""Numbers that people read have a minus, not a hyphen."""

from __future__ import annotations

import pytest

from webapp.core import numbers


@pytest.mark.parametrize(
    ("text", "read"), [("-0.5", "\u22120.5"), ("0.5", "0.5"), ("-2e-05", "\u22122e-05"), ("", "")]
)
def test_a_minus_stands_where_a_hyphen_was_the_sign(text, read):
    assert numbers.true_minus(text) == read


def test_an_interval_of_a_difference_says_both_signs():
    assert numbers.signed_interval(-0.1302, 0.0049) == "\u22120.130\u00a0to\u00a0+0.005"


@pytest.mark.parametrize(
    ("text", "read"),
    [("1e-05", "1e-5"), ("2.5e-10", "2.5e-10"), ("1e+06", "1e+6"), ("0.05", "0.05")],
)
def test_an_exponent_has_no_leading_zero(text, read):
    assert numbers.short_exponent(text) == read
