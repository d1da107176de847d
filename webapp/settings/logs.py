"""How log lines are written: one event a line, as JSON, or as text for who reads along.

What is bound to the context (request id, user, run id) is in every line of it, also in those of
Django, Celery and gunicorn, which know nothing of structlog. Tracebacks have no local variables,
since those hold what people typed.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.contextvars import merge_contextvars
from structlog.stdlib import ProcessorFormatter

JSON, TEXT = "json", "text"
HIDDEN = "hidden"  # bound by core/requestlog.py: the part of the address that is a secret

Event = MutableMapping[str, Any]


def configure(*, level: str, style: str) -> dict[str, Any]:
    """Set structlog up and return Django's `LOGGING`."""
    every: list[Any] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level, *every,
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )  # fmt: skip
    last: Any = structlog.dev.ConsoleRenderer(colors=False)
    if style == JSON:
        last = structlog.processors.JSONRenderer(default=str)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "event": {
                "()": ProcessorFormatter,
                "foreign_pre_chain": every,
                "processors": [
                    ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    hide,
                    last,
                ],
            }
        },
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "event"}},
        "root": {"handlers": ["console"], "level": level},
        # gunicorn gives its own logger a handler; its lines look like the others
        "loggers": {"gunicorn.error": {"handlers": ["console"], "propagate": False}},
    }


def hide(_: Any, __: str, event: Event) -> Event:
    """Leave out the secret of the address, which Django writes into what it says of a request."""
    secret = event.pop(HIDDEN, "")
    if len(secret) >= 8:  # less is no secret, and would be found in every word
        for name, value in event.items():
            if isinstance(value, str):
                event[name] = value.replace(secret, "…")
    return event
