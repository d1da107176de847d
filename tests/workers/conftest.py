"""Claims to see through, and a child that does what a test tells it to."""

from __future__ import annotations

import itertools
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from vad.configs import config_class
from webapp.accounts.models import Project, User
from webapp.core import doorbell
from webapp.datasets.models import Dataset, DatasetVersion, FeatureSet
from webapp.fleet.models import Worker
from webapp.runs import metrics
from webapp.runs.claims import Claim, Slot
from webapp.runs.lifecycle import claiming
from webapp.runs.models import Run, State
from workers import leaving, slots

FAKE_CHILD = Path(__file__).with_name("fake_child.py")
CPU = Slot("cpu", 0)
PATIENCE_S = 20.0  # until a test gives up; nothing below takes a second on an idle machine

NEEDED = {"register": {"name": "set", "root": "/videos"}}

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def quick(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A data folder of the test's own, no broker, and beats many times a second."""
    settings.DATA_DIR = tmp_path
    settings.DATA_ROOTS = []
    settings.RUN_BEAT_S = 0.05
    settings.RUN_GRACE_S = 10.0
    monkeypatch.setattr("workers.child.TICK_S", 0.02)
    monkeypatch.setattr("workers.supervisor.STORE_EVERY_S", 0.05)
    monkeypatch.setattr("workers.database.RETRY_S", 0.05)
    monkeypatch.setattr(doorbell, "ring", lambda queue: True)
    table = slots.Table(cpu_slots=1, gpus=[])
    monkeypatch.setattr(slots, "table", lambda: table)
    leaving.reset()
    yield
    leaving.reset()


@pytest.fixture
def child(settings: Any) -> Callable[..., list[str]]:
    """Let every run's child behave as named; see fake_child.py."""

    def use(behaviour: str, *more: object) -> list[str]:
        settings.CHILD_COMMAND = [
            sys.executable, str(FAKE_CHILD), behaviour, *map(str, more), "--",
        ]  # fmt: skip
        return settings.CHILD_COMMAND

    return use


@pytest.fixture
def make_run(transactional_db: None) -> Callable[..., Run]:
    """A queued run with all the inputs that its kind needs."""

    def make(kind: str = "train-urdmu", /, **fields: Any) -> Run:
        n = next(_numbers)
        user = User.objects.create_user(f"person{n}")
        project = Project.objects.create(name=f"Project {n}", slug=f"project-{n}")
        dataset = Dataset.objects.create(project=project, name="set", created_by=user)
        version = DatasetVersion.objects.create(
            dataset=dataset, number=1, format="generic", fingerprint=str(n), created_by=user
        )
        values: dict[str, Any] = {
            "project": project,
            "owner": user,
            "name": f"run {n}",
            "kind": kind,
            "config": config_class(kind).from_dict(NEEDED.get(kind, {})).to_dict(),
            "version": version,
            "feature_set": FeatureSet.objects.create(version=version, name="motion", ready=True),
            "state": State.QUEUED,
            "queued_at": timezone.now(),
        }
        return Run.objects.create(**{**values, **fields})

    return make


@pytest.fixture
def worker(transactional_db: None) -> Worker:
    now = timezone.now()
    return Worker.objects.create(
        name=f"worker-{uuid.uuid4()}", host="here", data_dir="-", cpu_slots=1,
        started_at=now, seen_at=now,
    )  # fmt: skip


@pytest.fixture
def claim(make_run: Callable[..., Run], worker: Worker) -> Claim:
    """The claim of a training run on the CPU slot."""
    make_run()
    claim = claiming.claim_best(worker=worker, slot=CPU)
    assert claim is not None
    return claim


def wait_until(true: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Look often until something is true, and return it."""
    until_s = time.monotonic() + patience_s
    while not (value := true()):
        assert time.monotonic() < until_s, f"waited {patience_s:g} s for {what}"
        time.sleep(0.01)
    return value


class Background(threading.Thread):
    """Calls something in a thread; `result()` waits for what it returned or raised."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call, self._value, self._error = call, None, None
        self.start()

    def run(self) -> None:
        from django.db import connections

        try:
            self._value = self._call()
        except BaseException as exc:
            self._error = exc
        finally:
            connections.close_all()

    def result(self) -> Any:
        self.join(PATIENCE_S)
        assert not self.is_alive(), "it never ended"
        if self._error is not None:
            raise self._error
        return self._value


@pytest.fixture
def background() -> Callable[[Callable[[], Any]], Background]:
    return Background


@pytest.fixture
def until() -> Callable[..., Any]:
    return wait_until


@pytest.fixture
def metric_steps() -> Callable[[Run, str], list[int]]:
    """The steps at which a metric is stored."""
    return lambda run, key: metrics.read_raw(run, key).steps.tolist()
