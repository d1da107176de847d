"""People, projects and rows that the server's tests start from."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from vad.configs import config_class
from webapp.accounts.models import Membership, Project, Role, User
from webapp.datasets.models import Dataset, DatasetVersion, FeatureSet
from webapp.fleet.models import Worker
from webapp.runs.models import CLAIMED, Run, State

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def data_dir(settings: Any, tmp_path: Path) -> Path:
    """A data folder of the test's own."""
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_ROOTS = []
    settings.DATA_DIR.mkdir()
    return settings.DATA_DIR


@pytest.fixture
def footage(data_dir: Path) -> Path:
    """The only data root."""
    folder = data_dir / "footage"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def bells(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Queues that were rung for; nothing reaches a broker."""
    rung: list[str] = []
    monkeypatch.setattr("webapp.core.doorbell.ring", lambda queue: bool(rung.append(queue)) or True)
    return rung


@pytest.fixture
def make_user(db: None) -> Callable[..., User]:
    def make(name: str = "", *, project: Project | None = None, role: str = "member") -> User:
        user = User.objects.create_user(name or f"person{next(_numbers)}", password="a-long-one-42")
        if project is not None:
            Membership.objects.create(project=project, user=user, role=role)
        return user

    return make


@pytest.fixture
def project(db: None) -> Project:
    n = next(_numbers)
    return Project.objects.create(name=f"Project {n}", slug=f"project-{n}")


@pytest.fixture
def user(make_user: Callable[..., User], project: Project) -> User:
    """A member of `project`."""
    return make_user(project=project, role=Role.MEMBER)


@pytest.fixture
def viewer(make_user: Callable[..., User], project: Project) -> User:
    return make_user(project=project, role=Role.VIEWER)


@pytest.fixture
def stranger(make_user: Callable[..., User], db: None) -> User:
    """Somebody of another project."""
    n = next(_numbers)
    return make_user(project=Project.objects.create(name=f"Other {n}", slug=f"other-{n}"))


@pytest.fixture
def sign_in() -> Callable[[User], Client]:
    def make(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def client(user: User, sign_in: Callable[[User], Client]) -> Client:
    """A browser in which `user` is signed in."""
    return sign_in(user)


@pytest.fixture
def version(project: Project, user: User) -> DatasetVersion:
    """A data set version; rows only, no files."""
    dataset = Dataset.objects.create(project=project, name=f"set {next(_numbers)}", created_by=user)
    return DatasetVersion.objects.create(
        dataset=dataset, number=1, format="generic", fingerprint=uuid.uuid4().hex, created_by=user
    )


@pytest.fixture
def feature_set(version: DatasetVersion) -> FeatureSet:
    return FeatureSet.objects.create(version=version, name="motion", ready=True, dim=32)


@pytest.fixture
def worker(db: None) -> Worker:
    """A living worker with one CPU slot."""
    return _worker(cpu_slots=1)


@pytest.fixture
def gpu_worker(db: None) -> Worker:
    return _worker(cpu_slots=1, gpu_slots=1, devices=["GPU"])


def _worker(**fields: Any) -> Worker:
    now = timezone.now()
    return Worker.objects.create(
        name=f"worker{next(_numbers)}",
        host="host",
        version="0",
        data_dir="-",
        started_at=now,
        seen_at=now,
        **fields,
    )


@pytest.fixture
def make_run(project: Project, user: User) -> Callable[..., Run]:
    """A run in any state, as a row; a claimed one has a claim and a fresh beat."""

    def make(*, state: str = State.QUEUED, kind: str = "train-urdmu", **fields: Any) -> Run:
        now = timezone.now()
        given = {"name": "a set", "root": "/data"} if kind == "register" else {}
        config = config_class(kind).from_dict(given | fields.pop("config", {})).to_dict()
        parents = fields.pop("parents", ())
        if state in CLAIMED:
            fields.setdefault("claim", uuid.uuid4())
            fields.setdefault("beat_at", now)
        values = {
            "project": project,
            "owner": user,
            "name": f"run {next(_numbers)}",
            "queued_at": now,
            "device": config.get("device", "auto"),
        }
        run = Run.objects.create(state=state, kind=kind, config=config, **{**values, **fields})
        run.parents.set(parents)
        return run

    return make
