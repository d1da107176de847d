"""What a decision costs with many runs queued: a claim, and the order that the queue page shows.

    python tests/bench/bench_decisions.py [--queued 10000] [--people 20] [--database URL]

Without --database: SQLite in a temporary folder. Another database must be empty; it is migrated,
filled, and emptied again. The claims are real: rows are locked, moved and noted.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

CLAIM_BUDGET_S = 0.020


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--queued", type=int, default=10_000)
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--claims", type=int, default=100)
    parser.add_argument("--database", default="")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vadlab-bench-") as folder:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "webapp.settings",
            "DATABASE_URL": args.database or f"sqlite:///{folder}/db.sqlite3",
            "CELERY_BROKER_URL": "filesystem://",
            "VADLAB_DATA_DIR": folder,
            "VADLAB_LOG_LEVEL": "WARNING",
        }
        subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], cwd=ROOT, check=True)
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        try:
            _fill(args.queued, args.people)
            print(f"{connection.vendor}, {args.queued:,} queued of {args.people} people, "
                  f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")  # fmt: skip
            _claims(args.claims)
            _orders()
        finally:
            if args.database:
                call_command("flush", interactive=False, verbosity=0)


def _fill(queued: int, people: int) -> None:
    from django.db import connection
    from django.utils import timezone

    from vad.configs import config_class
    from webapp.accounts.models import Project, User
    from webapp.fleet.models import Worker
    from webapp.runs.models import Run, State

    chance = random.Random(1)
    now = timezone.now()
    users = [User.objects.create_user(f"person{i}") for i in range(people)]
    projects = [Project.objects.create(name=f"p{i}", slug=f"p{i}") for i in range(4)]
    config = config_class("train-urdmu").from_dict({}).to_dict()
    Run.objects.bulk_create(
        [
            Run(
                project=projects[i % people % 4], owner=users[chance.randrange(people)],
                name=f"run {i}", kind="train-urdmu", config=config, state=State.QUEUED,
                queued_at=now - timedelta(seconds=chance.uniform(0, 86_400)),
                priority=chance.choice((0, 0, 0, 1, 5)), gpus=chance.choice((1, 1, 1, 2)),
                by_hand=chance.choice((None,) * 9 + (i,)),
            )
            for i in range(queued)
        ],
        batch_size=500,
    )  # fmt: skip
    worker = Worker.objects.create(
        name="bench", host="bench", version="0", data_dir="-", gpu_slots=8, cpu_slots=1,
        devices=["GPU"] * 8, device_ids=[str(i) for i in range(8)], memory_mb=[80_000] * 8,
        started_at=now, seen_at=now + timedelta(hours=1),
    )  # fmt: skip
    ended = [
        Run(
            project=projects[0], owner=users[i % people], name=f"old {i}", kind="train-urdmu",
            config=config, state=State.SUCCEEDED, queued_at=now, started_at=now, ended_at=now,
            total=100, done=100, spent_s=60.0,
        )
        for i in range(200)
    ]  # fmt: skip
    Run.objects.bulk_create(ended)
    for i in range(7):
        Run.objects.create(
            project=projects[0], owner=users[i], name=f"busy {i}", kind="train-urdmu",
            config=config, state=State.RUNNING, claim=uuid.uuid4(), worker=worker, slot=f"gpu:{i}",
            claimed_at=now, beat_at=now + timedelta(hours=1), done=10, total=100, rate=0.5,
        )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _claims(count: int) -> None:
    from webapp.core import doorbell
    from webapp.fleet.models import Worker
    from webapp.runs import lifecycle
    from webapp.runs.lifecycle import Outcome, Slot

    doorbell.ring = lambda queue: True
    worker = Worker.objects.get()
    spent = []
    for _ in range(count):
        started_s, cpu_s = time.perf_counter(), time.process_time()
        claim = lifecycle.claim_best(worker=worker, slot=Slot("gpu", 7))
        spent.append((time.perf_counter() - started_s, time.process_time() - cpu_s))
        assert claim is not None
        lifecycle.finish(claim, Outcome(kind="lost", reason="bench"))
    _print("claim", spent, CLAIM_BUDGET_S)


def _orders() -> None:
    from webapp.accounts.models import Project
    from webapp.runs import waiting

    project = Project.objects.order_by("pk").first()
    _print("order of everything", _timed(waiting.line))
    _print("queue page's rows (500)", _timed(lambda: waiting.in_order(project)))


def _timed(call: Callable[[], object], times: int = 10) -> list[tuple[float, float]]:
    spent = []
    for _ in range(times):
        started_s, cpu_s = time.perf_counter(), time.process_time()
        call()
        spent.append((time.perf_counter() - started_s, time.process_time() - cpu_s))
    return spent


def _print(what: str, spent: list[tuple[float, float]], budget_s: float | None = None) -> None:
    """Wall time, and the CPU time of this process, which a busy machine changes less."""
    wall = sorted(wall_s for wall_s, _ in spent)
    cpu = statistics.median(cpu_s for _, cpu_s in spent)
    p95 = wall[max(0, -(-95 * len(wall) // 100) - 1)]
    times = f"{len(wall)} times" + (f", budget {1000 * budget_s:g} ms" if budget_s else "")
    p50 = statistics.median(wall)
    print(f"{what}: best {1000 * wall[0]:.1f} ms, p50 {1000 * p50:.1f} ms, "
          f"p95 {1000 * p95:.1f} ms; CPU {1000 * cpu:.1f} ms ({times})")  # fmt: skip


if __name__ == "__main__":
    main()
