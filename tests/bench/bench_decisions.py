"""What many queued runs cost: a claim, the order, the queue page and its poll, what monitors ask.

    python tests/bench/bench_decisions.py [--queued 10000] [--ended 10000] [--people 20]
        [--database URL]

Without --database: SQLite in a temporary folder. Another database must be empty; it is migrated,
filled, and emptied again. The claims are real: rows are locked, moved and noted.
"""

from __future__ import annotations

import argparse
import html
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
METRICS_KEY = "of this benchmark"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--queued", type=int, default=10_000)
    parser.add_argument("--ended", type=int, default=10_000)
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
            "VADLAB_METRICS_KEY": METRICS_KEY,
        }
        subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], cwd=ROOT, check=True)
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        try:
            _fill(args.queued, args.ended, args.people)
            print(f"{connection.vendor}, {args.queued:,} queued of {args.people} people, "
                  f"{args.ended:,} ended, "
                  f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")  # fmt: skip
            _claims(args.claims)
            _orders()
            _answers()
        finally:
            if args.database:
                call_command("flush", interactive=False, verbosity=0)


def _fill(queued: int, ended: int, people: int) -> None:
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
    done = [
        Run(
            project=projects[0], owner=users[i % people], name=f"old {i}", kind="train-urdmu",
            config=config, state=State.SUCCEEDED, queued_at=now, started_at=now, ended_at=now,
            total=100, done=100, spent_s=60.0,
        )
        for i in range(ended)
    ]  # fmt: skip
    Run.objects.bulk_create(done, batch_size=500)
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
    from webapp.runs.claims import Outcome, Slot
    from webapp.runs.lifecycle import claiming, ending

    doorbell.ring = lambda queue: True
    worker = Worker.objects.get()
    spent = []
    for _ in range(count):
        started_s, cpu_s = time.perf_counter(), time.process_time()
        claim = claiming.claim_best(worker=worker, slot=Slot("gpu", 7))
        spent.append((time.perf_counter() - started_s, time.process_time() - cpu_s))
        assert claim is not None
        ending.finish(claim, Outcome(kind="lost", reason="bench"))
    _print("claim", spent, CLAIM_BUDGET_S)


def _orders() -> None:
    from webapp.accounts.models import Project
    from webapp.runs import waiting

    project = Project.objects.order_by("pk").first()
    _print("order of everything", _timed(waiting.line))
    _print(
        "the first 50 of a project", _timed(lambda: waiting.InOrder(project, waiting.line())[:50])
    )


def _answers() -> None:
    """Whole requests: the page, its polls by htmx, and what monitors ask."""
    from django.conf import settings
    from django.core.management import call_command
    from django.test import Client
    from django.urls import reverse

    from webapp.accounts.models import User
    from webapp.monitor import readiness

    call_command("collectstatic", interactive=False, verbosity=0)
    settings.ALLOWED_HOSTS = ["*"]
    user = User.objects.create_superuser("boss", password=None)
    browser = Client()
    browser.force_login(user)

    def asked(address: str, **headers: str) -> Callable[[], int]:
        return lambda: browser.get(address, headers=headers).status_code

    page = reverse("fleet:queue")
    text = browser.get(page).content.decode()
    poll = html.unescape(text.partition('id="queue"')[2].partition('hx-get="')[2].partition('"')[0])
    asking = {"HX-Request": "true"}
    _print(f"queue page ({len(text) / 1000:,.0f} kB)", _timed(asked(page)))
    _print("a poll of it, all anew", _timed(asked(page, **asking)))
    text = browser.get(page).content.decode()  # its mark is good for some seconds
    asking["Queue-Mark"] = text.partition('"Queue-Mark": "')[2].partition('"')[0]
    _print("a poll of it, nothing changed", _timed(asked(poll, **asking)))
    _print("/metrics", _timed(asked("/metrics", Authorization=f"Bearer {METRICS_KEY}")))

    def ready() -> int:
        readiness.forget()
        return asked("/readyz")()

    _print("/readyz, looking anew", _timed(ready))


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
