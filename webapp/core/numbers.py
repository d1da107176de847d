"""Numbers as people read them: with a minus, not a hyphen. Files and the API keep the hyphen."""

from __future__ import annotations

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
