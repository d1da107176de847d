"""Fixtures of the training tests; the tiny data set itself is in `conftest_training`."""

from conftest_training import whole, world

__all__ = ["whole", "world"]
