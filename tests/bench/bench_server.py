"""What the server's reads and writes cost: the runs table, the comparison, metric ingestion.

    python tests/bench/bench_server.py [--runs 10000]

On a fresh SQLite file, or in an empty database that DATABASE_URL names. Whole requests are timed
through Django's test client, without a network; CPU time shows what a busy machine adds.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

folder = tempfile.TemporaryDirectory(prefix="vadlab-bench-")
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "webapp.settings", "VADLAB_DATA_DIR": folder.name,
    "VADLAB_HOSTS": "testserver", "VADLAB_LOG_LEVEL": "ERROR",
}  # fmt: skip
sys.path.insert(0, str(Path(__file__).parents[2]))

import django  # noqa: E402

django.setup()

import numpy as np  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.utils import timezone  # noqa: E402
from timing import timed  # noqa: E402

from vad.configs import EvaluateConfig, UrdmuConfig  # noqa: E402
from vad.results import Metrics  # noqa: E402
from webapp.accounts.models import User  # noqa: E402
from webapp.accounts.services import project_create  # noqa: E402
from webapp.datasets.models import Dataset, DatasetVersion, FeatureSet  # noqa: E402
from webapp.evaluations.models import Evaluation  # noqa: E402
from webapp.fleet.models import Worker  # noqa: E402
from webapp.runs import chunks, recording  # noqa: E402
from webapp.runs.claims import Slot  # noqa: E402
from webapp.runs.lifecycle import claiming  # noqa: E402
from webapp.runs.models import MetricSummary, Run  # noqa: E402

KEYS = ("loss/total", "loss/kl", "validation/video_auc", "test/frame_auc", "time/step_s")


def fill(count: int) -> tuple[User, list[Run]]:
    """A project with `count` runs, half of them evaluations, each training with five metrics."""
    rng = np.random.default_rng(0)
    user = User.objects.create_user("bench")
    project = project_create(name="Bench", by=user)
    dataset = Dataset.objects.create(project=project, name="set", created_by=user)
    version = DatasetVersion.objects.create(
        dataset=dataset, number=1, format="generic", fingerprint="f", created_by=user
    )
    features = FeatureSet.objects.create(version=version, name="motion", ready=True, dim=1024)
    common: dict[str, Any] = {
        "project": project, "owner": user, "version": version, "feature_set": features,
        "state": "succeeded",
    }  # fmt: skip
    config, test = UrdmuConfig().to_dict(), EvaluateConfig().to_dict()
    trained = [
        Run(name=f"run {i}", kind="train-urdmu", config=config, **common) for i in range(count // 2)
    ]
    tested = [
        Run(name=f"test {i}", kind="evaluate", config=test, of_run=run, **common)
        for i, run in enumerate(trained)
    ]
    Run.objects.bulk_create([*trained, *tested], batch_size=500)
    MetricSummary.objects.bulk_create(
        [
            MetricSummary(run=r, key=k, count=1, last_step=1, last=float(rng.random()))
            for r in trained
            for k in KEYS
        ],
        batch_size=1000,
    )
    Evaluation.objects.bulk_create(
        [
            Evaluation(
                run=t, of_run=t.of_run, version=version, feature_set=features, fingerprint="p",
                selection="last", frame_auc=float(rng.random()), frame_ap=float(rng.random()),
                scores_sha256="",
            )
            for t in tested
        ],
        batch_size=500,
    )  # fmt: skip
    for run in trained[:10]:
        chunks.append(run, {KEYS[0]: (np.arange(100_000), rng.normal(size=100_000))})
    return user, trained


def ingest(user: User, steps: int, batches: int) -> None:
    """Metrics of ten keys under a claim, as a supervisor stores them."""
    run = Run.objects.create(
        project=user.projects.get(), owner=user, name="live", kind="train-urdmu", config={},
        state="queued", queued_at=timezone.now(),
    )  # fmt: skip
    now = timezone.now()
    worker, _ = Worker.objects.get_or_create(
        name="bench", defaults={"host": "-", "started_at": now, "seen_at": now, "cpu_slots": 1}
    )
    claim = claiming.claim_best(worker=worker, slot=Slot("cpu"))
    assert claim is not None
    assert claim.run_id == run.pk
    begin, spent = time.perf_counter(), time.process_time()
    for batch in range(batches):
        at = range(batch * steps, (batch + 1) * steps)
        recording.record_batch(
            claim, [Metrics(step=i, values={f"k/{k}": i * 0.1 for k in range(10)}) for i in at]
        )
    points = 10 * steps * batches
    wall, cpu = time.perf_counter() - begin, time.process_time() - spent
    print(
        f"ingestion, {steps:>4} steps x 10 keys a batch: {points / wall:9,.0f} points/s, "
        f"{points / cpu:9,.0f} per CPU second  budget 50,000"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    count = parser.parse_args().runs
    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    user, trained = fill(count)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    browser = Client()
    browser.force_login(user)
    sizes: dict[str, int] = {}

    def get(address: str) -> None:
        answer = browser.get(address)
        assert answer.status_code == 200, answer.content[:500]
        sizes[address] = len(answer.content)

    table_ms = 100 if connection.vendor == "sqlite" else 50
    print(f"{connection.vendor}, {count} runs")
    timed("runs table, newest", lambda: get("/runs/"), table_ms)
    timed("runs table, by loss", lambda: get("/runs/?sort=-loss"), table_ms)
    timed("runs table, by AUC", lambda: get("/runs/?sort=-auc"), table_ms)
    timed("API, 50 runs", lambda: get("/api/v1/runs/"))
    ids = ",".join(str(run.pk) for run in trained[:10])
    compare = f"/api/v1/compare/?keys={KEYS[0]}&max_points=1000&runs={ids}"
    timed("comparison, 10 runs x 100,000 points", lambda: get(compare), 300)
    print(f"{'':<46} {sizes[compare] / 1e3:.0f} kB  budget 500")
    ingest(user, steps=100, batches=50)
    ingest(user, steps=500, batches=20)


if __name__ == "__main__":
    main()
    connection.close()
    folder.cleanup()
