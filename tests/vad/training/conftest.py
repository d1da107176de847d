"""Fixtures of the training tests; what they make is in `conftest_training` and its neighbour."""

from conftest_training import whole, world
from conftest_two_stage import clip_world

__all__ = ["clip_world", "whole", "world"]
