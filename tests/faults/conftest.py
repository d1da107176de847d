"""Real workers, brokers and databases, to be killed, stopped and started again.

The workers use the database and the data folder of the test, so that rows are looked at directly.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from django.db import connection

from vad.configs import config_class
from webapp.accounts.models import Project, User
from webapp.core import doorbell
from webapp.datasets.models import Dataset, DatasetVersion, FeatureSet
from webapp.fleet.models import Worker
from webapp.runs import metrics
from webapp.runs.lifecycle import commands
from webapp.runs.models import Run, RunEvent, State

ROOT = Path(__file__).resolve().parents[2]
TRAINER = Path(__file__).with_name("trainer.py")
CONSOLE = Path(__file__).with_name("console.py")
PATIENCE_S = 60.0  # until a test gives up; a busy machine starts a worker in several seconds
LOST_AFTER_S = 3.0

_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.slow)


def wait_until(true: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    until_s = time.monotonic() + patience_s
    while not (value := true()):
        assert time.monotonic() < until_s, f"waited {patience_s:g} s for {what}"
        time.sleep(0.05)
    return value


def database_url() -> str:
    """The test's database, as the environment of another process names it."""
    found = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{found['NAME']}"
    secret = f"{quote(found['USER'])}:{quote(found['PASSWORD'])}"
    port = f":{found['PORT']}" if found["PORT"] else ""
    return f"postgres://{secret}@{found['HOST']}{port}/{quote(found['NAME'])}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return True
    return state == "Z"


@pytest.fixture(name="gone")
def gone_fixture() -> Callable[[int], bool]:
    """Whether no such process lives any more."""
    return gone


class Host:
    """A machine with workers: one data folder, one broker, one database."""

    def __init__(self, folder: Path, *, broker: str, database: str) -> None:
        self.folder = folder
        self.workers: list[subprocess.Popen[bytes]] = []
        self.env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "webapp.settings",
            "DATABASE_URL": database,
            "CELERY_BROKER_URL": broker,
            "VADLAB_DATA_DIR": str(folder),
            "VADLAB_BEAT_S": "0.5",
            "VADLAB_LOST_AFTER_S": str(LOST_AFTER_S),
            "VADLAB_SWEEP_S": "1",
            "VADLAB_GRACE_S": "20",
            "VADLAB_RETRY_S": "0",
            "VADLAB_CPU_SLOTS": "1",
            "VADLAB_GPU_SLOTS": "0",
            "OMP_NUM_THREADS": "1",
        }
        self.gate = folder / "gate"  # while this file is there, training stands still
        self.train_with(step_s=0.01)

    def train_with(self, *, step_s: float) -> None:
        self.env["VADLAB_CHILD_COMMAND"] = f"{sys.executable} {TRAINER} {step_s} {self.gate}"

    def start(self, *options: str, name: str = "") -> subprocess.Popen[bytes]:
        """A worker, as docs/operations.md starts it. Returns before it is ready."""
        name = name or f"worker{len(self.workers) + 1}"
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "workers", "worker",
                 "--pool", "threads", "-Q", "gpu,cpu", "-n", f"{name}@%h", *options],
                cwd=ROOT, env={**self.env, "VADLAB_WORKER_NAME": name}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.workers.append(process)
        return process

    def start_ready(self, *options: str, name: str = "") -> subprocess.Popen[bytes]:
        name = name or f"worker{len(self.workers) + 1}"
        process = self.start(*options, name=name)
        wait_until(lambda: self._ready(process, name), f"{name} to be ready")
        return process

    def _ready(self, process: subprocess.Popen[bytes], name: str) -> bool:
        if process.poll() is not None:
            pytest.fail(f"{name} ended: {self.log(name)}")
        return Worker.objects.filter(name=name, stopped_at=None).exists()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def close(self) -> None:
        """Kill what is left, its children (in sessions of their own) included."""
        for worker in self.workers:
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()


@pytest.fixture
def make_host(
    transactional_db: None, tmp_path: Path, settings: Any
) -> Iterator[Callable[..., Host]]:
    """A host whose broker this process rings as well."""
    hosts: list[Host] = []

    def make(broker: str = "filesystem://", *, database: str = "") -> Host:
        settings.DATA_DIR = tmp_path
        settings.CELERY_BROKER_URL = broker
        settings.CELERY_BROKER_DIR = tmp_path / "broker"
        doorbell._producer.cache_clear()
        hosts.append(Host(tmp_path, broker=broker, database=database or database_url()))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()
    doorbell._producer.cache_clear()


@pytest.fixture
def host(make_host: Callable[..., Host]) -> Host:
    """One machine with nothing but a disk: the filesystem transport."""
    return make_host()


@pytest.fixture
def queue_run(transactional_db: None) -> Callable[..., Run]:
    """A training run of so many steps, queued as the server queues it."""

    def make(*, steps: int = 200, checkpoint_every: int = 20, **config: Any) -> Run:
        n = next(_numbers)
        user = User.objects.create_user(f"person{n}")
        project = Project.objects.create(name=f"Project {n}", slug=f"project-{n}")
        dataset = Dataset.objects.create(project=project, name="set", created_by=user)
        version = DatasetVersion.objects.create(
            dataset=dataset, number=1, format="generic", fingerprint=str(n), created_by=user
        )
        features = FeatureSet.objects.create(version=version, name="features", ready=True)
        kind = config_class("train-urdmu")
        values = {"num_epochs": steps, "checkpoint_every": checkpoint_every, **config}
        run = Run.objects.create(
            project=project, owner=user, name=f"run {n}", kind="train-urdmu",
            config=kind.from_dict(values).to_dict(), version=version, feature_set=features,
        )  # fmt: skip
        commands.enter(run, by=user)
        return run

    return make


class Watch:
    """What became of a run."""

    def __init__(self, run: Run) -> None:
        self.pk = run.pk

    @property
    def run(self) -> Run:
        return Run.objects.get(pk=self.pk)

    def until(self, *states: str) -> Run:
        wait_until(lambda: self.run.state in states, f"{states}; it is {self.run.state}")
        return self.run

    def until_recorded(self, step: int, *, attempt: int = 1) -> Run:
        """Until the given attempt runs and its metrics are there up to a step."""

        def there() -> bool:
            run = self.run
            assert run.state not in (State.SUCCEEDED, State.FAILED), f"it is {run.state} already"
            return (
                run.state == State.RUNNING
                and run.attempt == attempt
                and max(self.steps(), default=0) >= step
            )

        wait_until(there, f"step {step} of attempt {attempt}")
        return self.run

    def steps(self, key: str = "loss/total") -> list[int]:
        return metrics.read_raw(self.run, key).steps.tolist()

    def events(self, kind: str) -> list[str]:
        return [e.message for e in RunEvent.objects.filter(run_id=self.pk, kind=kind)]


@pytest.fixture
def watch() -> Callable[[Run], Watch]:
    return Watch


@pytest.fixture
def until() -> Callable[..., Any]:
    return wait_until


class Redis:
    """A Redis of the test's own, which can be stopped and started again on its port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
             "--dir", str(self._folder), "--maxmemory-policy", "noeviction"],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(self._answers, "Redis")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    if not shutil.which("redis-server"):
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs redis-server")
        pytest.skip("redis-server is not on this machine")
    server = Redis(tmp_path)
    server.start()
    yield server
    server.stop()


class Postgres:
    """A PostgreSQL of the test's own. It refuses to run as root, so then it runs as `postgres`."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"postgres://vadlab@127.0.0.1:{self.port}/postgres"
        self._folder = folder
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            self._as = {"user": "postgres", "group": "postgres", "extra_groups": []}
        self._run("initdb", "-D", str(folder / "data"), "-U", "vadlab", "--auth", "trust",
                  "--no-sync", "--no-locale", "-E", "UTF8")  # fmt: skip

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self._folder} -c fsync=off"
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-w", "-o", options,
                  "-l", str(self._folder / "log"), "start")  # fmt: skip

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *args: str) -> None:
        subprocess.run(
            [postgres_program(program), *args], check=True, cwd="/", stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self._as,
        )  # fmt: skip


def postgres_program(name: str) -> str:
    """Its path, also where a distribution keeps it off PATH; empty when there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name) or ""


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    if not postgres_program("initdb") or not postgres_program("pg_ctl"):
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs PostgreSQL's initdb and pg_ctl")
        pytest.skip("PostgreSQL's initdb is not on this machine")
    folder = Path(tempfile.mkdtemp(prefix="vadlab-pg-"))
    server = Postgres(folder)
    server.start()
    yield server
    with contextlib.suppress(subprocess.CalledProcessError):
        server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def own_database(make_host: Callable[..., Host], postgres: Postgres) -> Callable[..., Host]:
    """A machine whose rows are in a PostgreSQL of its own, not in the test's database."""

    def make(broker: str = "filesystem://") -> Host:
        host = make_host(broker, database=postgres.url)
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
            cwd=ROOT, env=host.env, check=True,
        )  # fmt: skip
        return host

    return make


@pytest.fixture
def console(host: Host) -> Callable[..., Any]:
    """What is in such a database; see console.py."""

    def call(*args: str) -> Any:
        command = [sys.executable, str(CONSOLE), *args]
        done = subprocess.run(command, env=host.env, check=True, stdout=subprocess.PIPE)
        return json.loads(done.stdout)

    return call


@pytest.fixture
def ask(postgres: Postgres) -> Callable[[str], list[Any]]:
    """The rows that a query finds there, of one column."""

    def call(query: str) -> list[Any]:
        with psycopg.connect(postgres.url) as connection:
            return [row[0] for row in connection.execute(query)]

    return call
