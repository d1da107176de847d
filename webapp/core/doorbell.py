"""Telling the workers that there is work. The rows decide; this is only a bell.

A bell may be lost, doubled or late: the periodic sweep rings again. So a broker that is down
never fails a request.
"""

from __future__ import annotations

import tempfile
from functools import cache

import structlog
from celery import Celery
from django.conf import settings

from webapp.core import broker

SERVE_TASK = "workers.serve"
VISIBILITY_S = 43_200  # the shortest of all clients of a Redis counts, so all say the same

log = structlog.get_logger(__name__)


def broker_options(url: str) -> dict[str, object]:
    """Transport options, the same for everybody who uses the broker."""
    if url.startswith("filesystem://"):
        broker.install()
        folder = settings.CELERY_BROKER_DIR
        for name in ("messages", "control"):
            (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        return {
            "data_folder_in": str(folder / "messages"),
            "data_folder_out": str(folder / "messages"),
            "control_folder": str(folder / "control"),
        }
    return {
        "visibility_timeout": VISIBILITY_S,
        "socket_connect_timeout": 2,
        "socket_timeout": 5,
    }


@cache
def _producer() -> Celery:
    app = Celery("vadlab", broker=settings.CELERY_BROKER_URL, set_as_current=False)
    app.conf.update(
        broker_transport_options=broker_options(settings.CELERY_BROKER_URL),
        task_ignore_result=True,
        task_serializer="json",
    )
    return app


def check() -> None:
    """Reach the broker, or raise the transport's own error."""
    with _producer().connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=3)
        connection.default_channel  # noqa: B018, opening it is what speaks to Redis
    if settings.CELERY_BROKER_URL.startswith("filesystem://"):
        with tempfile.TemporaryFile(dir=settings.CELERY_BROKER_DIR / "messages"):
            pass


def ring(queue: str) -> bool:
    """Ring for a queue; False when the broker did not take it, which the sweep makes good."""
    try:
        _producer().send_task(
            SERVE_TASK, kwargs={"queue": queue}, queue=queue, retry=False, expires=300
        )
    except Exception as exc:  # any transport's own error; the row stays queued
        log.warning("doorbell.lost", queue=queue, cause=exc)
        return False
    return True
