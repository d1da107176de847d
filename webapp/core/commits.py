"""What is to happen once a transaction is committed, and may fail without harm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction


def after_commit(function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Call it then; a fault in it is logged, and nobody else hears of it.

    Django names the function in its log by `__qualname__`, which a `functools.partial` has not: it
    would end in another error.
    """

    def call() -> None:
        function(*args, **kwargs)

    call.__qualname__ = getattr(function, "__qualname__", repr(function))
    transaction.on_commit(call, robust=True)
