"""What Prometheus is told: facts of the database, the same from every process of every host.

They are true when all workers are gone, and need no registry that processes share. Labels are few:
states, causes, kinds, names of workers; never an id. Every scrape is the same few queries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min
from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vad.errors import CATALOGUE
from webapp.fleet.listing import FORGOTTEN
from webapp.fleet.models import Worker
from webapp.notify.models import Delivery, Look, Status
from webapp.runs import backlog, waiting
from webapp.runs.models import CLAIMED, Attempt, Run, State

DEVICES = ("auto", "cuda", "cpu")
MB = 1 << 20

Samples = Iterable[tuple[tuple[str, ...], float]]


def text() -> bytes:
    """The answer to a scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Facts())
    return generate_latest(registry)


class Facts(Collector):
    def collect(self) -> Iterator[Metric]:
        now = timezone.now()
        yield from _queue(now)
        yield from _runs(now)
        yield from _workers(now)
        yield from _clock(now)


def gauge(name: str, what: str, samples: Samples, *labels: str) -> GaugeMetricFamily:
    """A family of samples, each with the values of its labels."""
    family = GaugeMetricFamily(f"vadlab_{name}", what, labels=labels)
    for label_values, value in samples:
        family.add_metric(label_values, value)
    return family


def _queue(now: datetime) -> Iterator[Metric]:
    rows = waiting.startable().order_by().values_list("device")
    found = {
        device: (count, _age_s(oldest, now))
        for device, count, oldest in rows.annotate(Count("pk"), oldest=Min(waiting.since()))
    }
    yield gauge(
        "queue_runs", "Queued runs that wait for a slot.",
        (((device,), found.get(device, (0, 0))[0]) for device in DEVICES), "device",
    )  # fmt: skip
    yield gauge(
        "queue_oldest_seconds", "How long the oldest of them has waited; 0 when none does.",
        (((device,), found.get(device, (0, 0))[1]) for device in DEVICES), "device",
    )  # fmt: skip


def _runs(now: datetime) -> Iterator[Metric]:
    counts = {(str(state), ""): 0 for state in State.values if state != State.FAILED}
    counts[State.FAILED.value, "unexpected"] = 0
    rows = Run.objects.order_by().values_list("state", "error__code").annotate(Count("pk"))
    for state, code, count in rows:
        cause = (code if code in CATALOGUE else "unexpected") if state == State.FAILED else ""
        counts[state, cause] = counts.get((state, cause), 0) + count
    yield gauge(
        "runs", "Runs by state, and of failed ones by the code of their error.",
        counts.items(), "state", "cause",
    )  # fmt: skip
    ended = Attempt.objects.filter(ended_at__gte=now - timedelta(days=1)).order_by()
    yield gauge(
        "attempts_last_day", "Attempts that ended in the last 24 hours, by how.",
        (((end,), count) for end, count in ended.values_list("end").annotate(Count("pk"))), "end",
    )  # fmt: skip


def _workers(now: datetime) -> Iterator[Metric]:
    every = list(Worker.objects.order_by("name"))
    heard = [w for w in every if now - w.seen_at < FORGOTTEN]
    counts = Counter(w.condition(now) for w in heard)
    yield gauge(
        "workers", "Workers heard of in the last two days, by condition.",
        (((name,), counts[name]) for name in Worker.CONDITIONS), "condition",
    )  # fmt: skip
    yield gauge(
        "worker_heartbeat_age_seconds", "Since each worker that did not stop was heard of.",
        (((w.name,), _age_s(w.seen_at, now)) for w in heard if w.stopped_at is None), "worker",
    )  # fmt: skip
    newest = max((w.seen_at for w in every), default=None)
    yield gauge(
        "heartbeat_age_seconds", "Since any worker was heard of; absent if none ever was.",
        [((), _age_s(newest, now))] if newest else (),
    )  # fmt: skip
    claiming = [w for w in heard if w.condition(now) in ("alive", "drained")]
    yield from _slots(claiming, now)
    yield from _devices(claiming)


def _slots(workers: list[Worker], now: datetime) -> Iterator[Metric]:
    busy: Counter[str] = Counter()
    beats = []
    for slot, beat_at in Run.objects.filter(state__in=CLAIMED).values_list("slot", "beat_at"):
        busy[slot.partition(":")[0]] += len(backlog.slot_indices(slot))
        beats += [beat_at] if beat_at else []
    offered = {"gpu": sum(w.gpu_slots for w in workers), "cpu": sum(w.cpu_slots for w in workers)}
    yield gauge(
        "slots", "Slots of living workers.",
        (((kind,), count) for kind, count in offered.items()), "kind",
    )  # fmt: skip
    yield gauge(
        "slots_busy", "Slots that runs hold, those of silent workers included.",
        (((kind,), busy[kind]) for kind in offered), "kind",
    )  # fmt: skip
    yield gauge(
        "run_heartbeat_age_seconds", "The oldest heartbeat of what runs; 0 when nothing does.",
        [((), _age_s(min(beats, default=None), now))],
    )  # fmt: skip


def _devices(workers: list[Worker]) -> Iterator[Metric]:
    """GPUs by number, as slots may share one; what a driver does not say is left out."""
    stats = {
        (worker.name, str(number)): worker.device_stats.get(device, {})
        for worker in workers
        for number, device in enumerate(dict.fromkeys(worker.device_ids))
    }
    for name, what, member, unit in (
        ("device_use_ratio", "Share of time in which the GPU computed.", "use_percent", 0.01),
        ("device_memory_used_bytes", "Memory of the GPU that is taken.", "used_mb", MB),
        ("device_memory_bytes", "Memory of the GPU.", "memory_mb", MB),
    ):
        said: dict[tuple[str, ...], Any] = {key: of.get(member) for key, of in stats.items()}
        known = ((key, unit * value) for key, value in said.items() if value is not None)
        yield gauge(name, what, known, "worker", "device")


def _clock(now: datetime) -> Iterator[Metric]:
    look = Look.objects.first()
    yield gauge(
        "clock_age_seconds", "Since the clock was heard by a worker; absent if it never was.",
        [((), _age_s(look.at, now))] if look else (),
    )  # fmt: skip
    lately = Delivery.objects.filter(created_at__gte=now - timedelta(days=1)).order_by()
    found = dict(lately.values_list("status").annotate(Count("pk")))
    yield gauge(
        "notifications_last_day", "Messages of the last 24 hours, by what became of them.",
        (((str(status),), found.get(status, 0)) for status in Status.values), "status",
    )  # fmt: skip


def _age_s(at: datetime | None, now: datetime) -> float:
    return max(0.0, (now - at).total_seconds()) if at else 0.0
