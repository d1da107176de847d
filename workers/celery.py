"""The Celery app. A message is a doorbell and nothing else: the rows decide.

So messages are acknowledged at once, kept nowhere, and hold only the name of a queue. A lost one
is made good by the sweep, a doubled one finds nothing to claim.

    celery -A workers worker --pool threads -Q gpu,cpu        a worker
    celery -A workers worker --pool threads -Q gpu,cpu -B     the only worker, with the clock
    celery -A workers beat                                    the clock of several workers

Beside others, a worker listens only to the queues of slots that it has: a bell that it answers
without one is spent.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any

import django
from celery import Celery, signals
from celery.worker import state as celery_state

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
django.setup()

from django.conf import settings  # noqa: E402

from webapp.core import doorbell  # noqa: E402
from workers import fleet, leaving, slots  # noqa: E402

SWEEP_TASK = "workers.sweep"
TIDY_TASK = "workers.tidy"
REAP_TASK = "workers.reap"
REAP_EVERY_S = 3600.0
NOTIFY_TASK = "workers.notify"
POLL_S = 1.0  # how often the filesystem transport looks for messages
SPARE_THREADS = 3  # a bell, the sweep and the other clockwork never wait behind runs


def _expiry_s(period_s: float) -> float:
    """A worker that was away finds one message of the clock, not a thousand; but it finds one."""
    return max(0.9 * period_s, 3 * POLL_S)


# No fix-ups: Celery's one for Django would import every page to run the system checks. What it
# does besides, closing connections, database.py does for each of our threads.
app = Celery("vadlab", broker=settings.CELERY_BROKER_URL, fixups=[], include=["workers.tasks"])
app.conf.update(
    broker_transport_options=doorbell.broker_options(settings.CELERY_BROKER_URL),
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    visibility_timeout=doorbell.VISIBILITY_S,
    result_backend_transport_options={"visibility_timeout": doorbell.VISIBILITY_S},
    worker_pool="threads",
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=settings.CELERY_BROKER_URL.startswith("redis"),
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    task_acks_late=False,
    task_reject_on_worker_lost=False,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    task_create_missing_queues=True,
    task_default_queue="cpu",
    timezone="UTC",
    beat_schedule={
        "sweep": {
            "task": SWEEP_TASK,
            "schedule": settings.SWEEP_EVERY_S,
            "options": {"queue": "cpu", "expires": _expiry_s(settings.SWEEP_EVERY_S)},
        },
        "notify": {
            "task": NOTIFY_TASK,
            "schedule": settings.SWEEP_EVERY_S,
            "options": {"queue": "cpu", "expires": _expiry_s(settings.SWEEP_EVERY_S)},
        },
        "tidy": {
            "task": TIDY_TASK,
            "schedule": settings.TIDY_EVERY_S,
            "options": {"queue": "cpu", "expires": _expiry_s(settings.TIDY_EVERY_S)},
        },
        "reap": {
            "task": REAP_TASK,
            "schedule": REAP_EVERY_S,
            "options": {"queue": "cpu", "expires": _expiry_s(REAP_EVERY_S)},
        },
    },
    beat_sync_every=1,  # the file is as new as the last beat: a health check looks at it
    beat_schedule_filename=str(settings.DATA_DIR / "beat-schedule"),
)


@signals.setup_logging.connect
def _keep_logging(**_: Any) -> None:
    """Celery's loggers go to the handlers of the settings, like everybody else's.

    Except what each message says twice: a sweep every few seconds would bury all that matters.
    """
    for name in ("celery.worker.strategy", "celery.app.trace", "celery.beat", "kombu.connection"):
        logging.getLogger(name).setLevel(logging.ERROR)


@signals.celeryd_init.connect
def _size_the_pool(conf: Any, **_: Any) -> None:
    """One thread a slot, and three; devices are looked up here, in a worker, and nowhere else."""
    conf.worker_concurrency = slots.table().total + SPARE_THREADS


@signals.worker_ready.connect
def _begin(sender: Any, **_: Any) -> None:
    _leave_before_waiting(sender.pool)
    fleet.begin()


@signals.worker_shutting_down.connect
def _leave(**_: Any) -> None:
    leaving.leave()


@signals.worker_shutdown.connect
def _end(**_: Any) -> None:
    fleet.end()


def _leave_before_waiting(pool: Any) -> None:
    """Tell the runs to leave before the pool waits for their threads.

    A cold stop (SIGQUIT, a second Ctrl-C) waits for the pool before any signal of Celery's is
    sent, and would wait for hours.
    """
    wait = pool.on_stop

    def on_stop() -> None:
        leaving.leave(at_once=bool(celery_state.should_terminate))
        wait()

    pool.on_stop = on_stop


@signals.beat_embedded_init.connect
def _end_with_the_worker(**_: Any) -> None:
    """The embedded clock is a process of its own; without this it outlives a killed worker."""
    worker = os.getppid()

    def watch() -> None:
        while os.getppid() == worker:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="worker-watch", daemon=True).start()
