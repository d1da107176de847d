"""Filters of pages that show an evaluation."""

from __future__ import annotations

from django import template

from webapp.evaluations.models import Evaluation
from webapp.evaluations.numbers import HEADLINE, Number, numbers

register = template.Library()


@register.filter
def headline(evaluation: Evaluation) -> list[Number]:
    """The few numbers that stand at the top."""
    return numbers(evaluation, HEADLINE)


@register.filter
def all_numbers(evaluation: Evaluation) -> list[Number]:
    return numbers(evaluation)
