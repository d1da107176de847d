"""This worker's row: who it is, what it offers, that it lives."""

from __future__ import annotations

import socket
import threading
import time

import structlog
from django.conf import settings
from django.db import connections
from django.db.models.functions import Now

import vad
from webapp.fleet import identity
from webapp.fleet.models import Worker
from workers import database, devices, slots

STATS_EVERY_S = 15.0

log = structlog.get_logger(__name__)

_lock = threading.Lock()
_worker: Worker | None = None
_ended = threading.Event()


def worker() -> Worker:
    """This process' row, made or taken over at the first call.

    Raises:
        OperationalError: the database is away; call again later.
    """
    global _worker
    with _lock:
        if _worker is None:
            _worker = _register()
        return _worker


def name() -> str:
    return settings.WORKER_NAME or socket.gethostname()


def begin() -> None:
    """Say every few seconds that this worker lives, until `end`."""
    threading.Thread(target=_beat, name="fleet-beat", daemon=True).start()


def end() -> None:
    """Say that this worker left on purpose. Nothing waits for a database that is away."""
    _ended.set()
    with database.closing():
        try:
            Worker.objects.filter(name=name()).update(stopped_at=Now())
        except database.DOWN as exc:
            log.warning("fleet.end_not_recorded", cause=exc)


def beat(*, stats: dict[str, devices.Stats] | None = None) -> None:
    """One sign of life; a row that was deleted meanwhile is made again.

    Args:
        stats: what the devices do now, when it was looked at.
    """
    global _worker
    said: dict[str, object] = {"seen_at": Now(), "stopped_at": None, "refused": _refused()}
    if stats is not None:
        said["device_stats"] = stats
    if not Worker.objects.filter(pk=worker().pk).update(**said):
        with _lock:
            _worker = None
        worker()


def _beat() -> None:
    failing = False
    look_at_s = 0.0
    while True:
        try:
            stats = None
            if slots.table().gpus and time.monotonic() >= look_at_s:
                look_at_s = time.monotonic() + STATS_EVERY_S
                stats = devices.look()
            beat(stats=stats)
            failing = False
        except Exception as exc:  # whatever it is, the next sign of life is worth a try
            if not failing:
                log.warning("fleet.beat_failed", cause=exc)
            failing = True
            connections.close_all()
        if _ended.wait(settings.RUN_BEAT_S):
            connections.close_all()
            return


def _refused() -> str:
    return identity.why_refused(version=vad.__version__, data_dir=settings.DATA_DIR)


def _register() -> Worker:
    table = slots.table()
    stats = devices.look() if table.gpus else {}
    refused = _refused()
    if refused:
        log.warning("fleet.refused", cause=refused)
    row, _ = Worker.objects.update_or_create(
        name=name(),
        defaults={
            "host": socket.gethostname(),
            "version": vad.__version__,
            "data_dir": str(settings.DATA_DIR),
            "cpu_slots": table.cpu_slots,
            "gpu_slots": len(table.gpus),
            "devices": [device.name for device in table.gpus],
            "device_ids": [device.id for device in table.gpus],
            "memory_mb": [stats[d.id]["memory_mb"] if d.id in stats else None for d in table.gpus],
            "device_stats": stats,
            "refused": refused,
            "started_at": Now(),
            "seen_at": Now(),
            "stopped_at": None,
        },
    )
    log.info("fleet.registered", worker=row.name, cpu_slots=row.cpu_slots, gpu_slots=row.gpu_slots)
    return row
