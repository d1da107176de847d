"""Numbers as people read them: with a minus, not a hyphen. Files and the API keep the hyphen,
and so do settings, which people copy back into a field."""

from __future__ import annotations

import re

MINUS = "\u2212"


def true_minus(text: str) -> str:
    """A formatted number with the sign that is as wide as a plus."""
    return MINUS + text[1:] if text.startswith("-") else text


def signed(value: float, decimals: int = 4) -> str:
    """'+0.0123'."""
    return true_minus(f"{value:+.{decimals}f}")


def signed_interval(low: float, high: float, decimals: int = 3) -> str:
    """'+0.004 to +0.017': a dash between them would read as a third minus. It does not break."""
    return f"{signed(low, decimals)}\u00a0to\u00a0{signed(high, decimals)}"


def short_exponent(text: str) -> str:
    """'1e-5' of '1e-05', as people write a setting."""
    return re.sub(r"e([+-])0+(?=\d)", r"e\1", text)
