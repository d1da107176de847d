"""Every address, asked by everybody: who is not signed in, not in the project, or may only look.

test_every_route.py says who may open what; here stands what whom it is not for must not change or
read. Settings and people are there alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from django.apps import apps
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from vad.bags import Bags
from vad.data.manifest import Manifest, Truth, save_version
from vad.data.manifest import Video as Manifested
from vad.evaluation.patch_scores import PatchScores, VideoPatches
from vad.evaluation.scores import ScoreSet
from webapp.accounts.models import BrowserSession, Role
from webapp.datasets.models import Video
from webapp.evaluations.models import Evaluation
from webapp.runs.models import Checkpoint, RunPin, SavedView, State

OPEN = {"login", "healthz", "readyz", "metrics", "logout", "join"}
PERSONAL = ("settings/", "api/v1/tokens/", "api/v1/projects/", "api/v1/notifications/")
METHODS = ("get", "post", "put", "patch", "delete")


def addresses(
    resolver: URLResolver | None = None, prefix: str = ""
) -> Iterator[tuple[str, URLPattern]]:
    for entry in (resolver or get_resolver()).url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from addresses(entry, route)
        else:
            yield route, entry


ROUTES = sorted(
    {r for r, entry in addresses() if entry.name not in OPEN and not r.startswith(PERSONAL)}
)


@pytest.fixture
def world(make_run, version, feature_set, user, worker, settings) -> dict[str, Any]:
    """One of everything, in `project`."""
    training = make_run(state=State.SUCCEEDED, version=version, feature_set=feature_set)
    checkpoint = Checkpoint.objects.create(run=training, step=5, path="c", sha256="a", size_bytes=1)
    run = make_run(
        kind="evaluate", state=State.SUCCEEDED, of_run=training, version=version,
        feature_set=feature_set,
    )  # fmt: skip
    video = Video.objects.create(version=version, key="a", split="test", label=1, path="a.mp4")
    root = settings.DATA_DIR / "footage"
    root.mkdir()
    _film(root / "a.mp4")
    version.folder.mkdir(parents=True)
    manifest = Manifest(
        name="a set", format="generic", media_root=str(root),
        videos=(Manifested(key="a", split="test", label=1, path="a.mp4"),),
    )  # fmt: skip
    save_version(version.folder, manifest, {"a": Truth(intervals=((0, 16),))})
    scores = ScoreSet(
        keys=("a", "b"), labels=np.array([1, 0], dtype=np.int8), classes=(("Fight",), ()),
        offsets=np.array([0, 2, 4]), scores=np.array([0.9, 0.2, 0.1, 0.3], dtype=np.float32),
        frames=np.full(4, 16), positives=np.array([16, 0, 0, 0]),
    )  # fmt: skip
    run.folder.mkdir(parents=True)
    sha256 = scores.save(run.folder / "scores.safetensors")
    maps = np.array([0.9, 0.2], dtype=np.float32)
    patches = VideoPatches(
        key="a", maps=maps[:, None, None], kept=np.ones((2, 1, 1), dtype=bool), stage1=maps,
        stage2=maps, frames=np.array([16, 16]),
    )  # fmt: skip
    PatchScores.build([patches], rows=1, columns=1).save(run.folder / "patches.safetensors")
    (run.folder / "log.txt").write_text("hello\n")
    (run.folder / "c").write_bytes(b"weights")
    Checkpoint.objects.create(run=run, step=5, path="c", sha256="a", size_bytes=7)
    Evaluation.objects.create(
        run=run, of_run=training, checkpoint=checkpoint, version=version, feature_set=feature_set,
        fingerprint="p", selection="validation", frame_auc=0.9, frame_ap=0.5,
        metrics={"auc": 0.9, "ap_step": 0.5}, scores_sha256=sha256, counts={"videos": 2},
    )  # fmt: skip
    flat = np.full((2, 4), 0.25, dtype=np.float32)
    slots = np.zeros((2, 4, 16), dtype=np.uint8)
    Bags(
        step=5, keys=("n", "a"), labels=(0, 1), top=1, scores=flat, abnormal=flat, normal=flat,
        carried=flat, abnormal_slots=slots, normal_slots=slots,
    ).save(run.folder)  # fmt: skip
    view = SavedView.objects.create(
        project=run.project, name="mine", query="sort=auc", created_by=user
    )
    return {
        "run_id": run.pk, "version_id": version.pk, "feature_set_id": feature_set.pk,
        "dataset_id": version.dataset_id, "kind": "evaluate", "action": "stop", "name": "roc",
        "video_id": video.pk, "view_id": view.pk, "step": 5, "worker_id": worker.pk,
    }  # fmt: skip


def _film(path: Path) -> None:
    """A real one of 32 frames: its picture is decoded."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(32):
            black = np.zeros((48, 64, 3), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(black, format="rgb24")))
        file.mux(stream.encode(None))


NAMES = {"bags/figures/": "scores", "compare/tables/": "metrics"}  # of <slug:name>, else "roc"
TWO_RUNS = ("api/v1/compare/pairs/", "api/v1/compare/explain/")  # 400 with one


def fill(route: str, world: dict[str, Any]) -> str:
    named = next((name for part, name in NAMES.items() if part in route), world["name"])
    for name, value in (world | {"name": named}).items():
        for converter in ("uuid", "int", "slug", "str"):
            route = route.replace(f"<{converter}:{name}>", str(value))
    assert "<" not in route, f"add a value for {route}"
    return "/" + route


def everything() -> dict[str, list]:
    """All rows of all our tables but what is a person's own: sessions and pins."""
    ours = [
        m for m in apps.get_models(include_auto_created=True) if m not in (BrowserSession, RunPin)
    ]
    return {m._meta.label: list(m.objects.order_by("pk").values_list()) for m in ours}


def query(world: dict[str, Any], route: str) -> str:
    run = world["run_id"]
    to = f"&to={world['version_id']}" if "differences" in route else ""  # elsewhere it is a step
    return f"?run={run}&runs={run}&key=a&video=a&find=hello{to}"


@pytest.mark.django_db
@pytest.mark.parametrize("route", ROUTES)
def test_nobody_sees_anything_without_signing_in(route, world):
    address, browser = fill(route, world), Client()
    for method in METHODS:
        answer = getattr(browser, method)(address + query(world, route))
        if address.startswith("/api/"):
            assert answer.status_code == 401
            assert answer.json()["code"] == "not-signed-in"
        else:
            assert answer.status_code in (302, 405)
            assert answer.status_code == 405 or answer["Location"].startswith("/login/")


@pytest.mark.django_db
def test_an_open_page_whose_session_ended_is_not_filled_with_the_sign_in_page(world):
    run, browser = f"/runs/{world['run_id']}/", Client()

    part = browser.get(f"{run}status/", headers={"HX-Request": "true"})
    figure = browser.get(f"{run}figures/loss/", headers={"Accept": "application/json"})

    assert (part.status_code, figure.status_code) == (401, 401)
    assert b"<html" not in part.content
    assert figure.json()["code"] == "not-signed-in"


@pytest.mark.django_db
@pytest.mark.parametrize("route", ROUTES)
def test_a_stranger_finds_nothing_of_another_project(route, world, stranger, sign_in):
    address, browser = fill(route, world), sign_in(stranger)
    before = everything()
    named = "<uuid" in route or "<int" in route
    for method in METHODS:
        answer = getattr(browser, method)(
            address + query(world, route), {} if method in ("get", "post") else b"{}"
        )
        if named:
            assert answer.status_code in (404, 405), method
        else:
            assert str(world["version_id"]) not in answer.content.decode()
    assert everything() == before


@pytest.mark.django_db
@pytest.mark.parametrize("route", ROUTES)
def test_a_viewer_writes_nothing(route, world, viewer, sign_in):
    address, browser = fill(route, world), sign_in(viewer)
    before = everything()
    body = {
        "run": str(world["run_id"]), "action": "stop", "kind": "train-urdmu", "of_run": "",
        "feature_set": str(world["feature_set_id"]), "train": {}, "config": {},
        "name": "taken over",
    }  # fmt: skip
    for method in METHODS[1:]:
        json = address.startswith("/api/")
        answer = getattr(browser, method)(
            address,
            body if json or method == "post" else b"",
            **({"content_type": "application/json"} if json else {}),
        )
        assert answer.status_code in (302, 400, 403, 404, 405, 409, 422), (method, answer.content)
        if json and answer.status_code >= 400:
            assert set(answer.json()) == {"code", "message", "hint", "problems", "fields"}
    after = everything()
    assert after == before


@pytest.mark.django_db
@pytest.mark.parametrize("role", [Role.VIEWER, Role.MEMBER])
@pytest.mark.parametrize("route", ROUTES)
def test_a_person_of_the_project_reads_every_address(
    route, world, make_user, project, role, sign_in
):
    browser = sign_in(make_user(project=project, role=role))

    answer = browser.get(fill(route, world) + query(world, route))

    if role == Role.VIEWER and answer.status_code in (403, 404):
        assert "delete" in route or "new" in route, "only pages that are there to write"
    else:
        allowed = (400,) if route in TWO_RUNS else (200, 302, 405)
        assert answer.status_code in allowed, answer.content[:500]


@pytest.mark.django_db
def test_an_unknown_id_is_not_found_in_the_one_shape(client):
    answer = client.get(f"/api/v1/runs/{uuid.uuid4()}/")

    assert answer.status_code == 404
    assert answer.json()["code"] == "not-found"
