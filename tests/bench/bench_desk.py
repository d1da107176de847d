"""What the desk costs with 10,000 runs: table, filter, groups, completion, comparison.

    python tests/bench/bench_desk.py [--runs 10000] [--points 100000]

On a fresh SQLite file, and after it in a fresh database of the PostgreSQL server that
VADLAB_BENCH_POSTGRES names (default: 127.0.0.1:5432, left out when nothing answers). The runs are
those of `manage.py load_seed`. Whole requests are timed through Django's test client, without a
network; the CPU time is that of this process, so what PostgreSQL itself computes is not in it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from timing import timed

ROOT = Path(__file__).parents[2]
FILTER = quote("auc > 0.8 and config.lr <= 1e-4 and not tag:paper")
TABLE_MS = {"sqlite": 100, "postgresql": 50}
COMPARE_MS, COMPARE_KB = 300, 500
MANY_MS = 2000  # 200 runs selected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        measure(args.runs, args.points)
        return
    server = os.environ.get("VADLAB_BENCH_POSTGRES", "postgres://postgres@127.0.0.1:5432")
    with tempfile.TemporaryDirectory(prefix="vadlab-bench-") as folder:
        once(f"sqlite:///{folder}/db.sqlite3", folder)
    name = f"bench_desk_{uuid.uuid4().hex[:8]}"
    if not administer(server, f"CREATE DATABASE {name}"):
        print("postgresql: no server answers; left out")
        return
    try:
        with tempfile.TemporaryDirectory(prefix="vadlab-bench-") as folder:
            once(f"{server}/{name}", folder)
    finally:
        administer(server, f"DROP DATABASE {name}")


def once(database: str, folder: str) -> None:
    """Measure in a process of its own, since Django keeps its first database."""
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "webapp.settings", "VADLAB_DATA_DIR": folder,
        "VADLAB_HOSTS": "testserver", "VADLAB_LOG_LEVEL": "ERROR", "DATABASE_URL": database,
    }  # fmt: skip
    subprocess.run([sys.executable, __file__, *sys.argv[1:], "--here"], env=env, check=True)


def administer(server: str, statement: str) -> bool:
    import psycopg

    try:
        with psycopg.connect(
            f"{server}/postgres", autocommit=True, connect_timeout=3
        ) as connection:
            connection.execute(statement)
    except psycopg.OperationalError:
        return False
    return True


def measure(count: int, points: int) -> None:
    sys.path.insert(0, str(ROOT))
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client

    from webapp.accounts.models import User
    from webapp.accounts.services import project_create
    from webapp.demo.load import Load, load
    from webapp.runs.models import Run, State

    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    user = User.objects.create_user("bench")
    project = project_create(name="Bench", by=user)
    begin = time.perf_counter()
    runs = load(
        project=project, by=user, size=Load(runs=count, points=points), say=lambda text: None
    )
    print(f"\n{connection.vendor}, {count:,} runs filled in {time.perf_counter() - begin:.1f} s, "
          f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")  # fmt: skip
    browser = Client()
    browser.force_login(user)
    sizes: dict[str, int] = {}

    def get(address: str) -> Callable[[], Any]:
        def ask() -> None:
            answer = browser.get(address)
            assert answer.status_code == 200, answer.content[:500]
            sizes[address] = len(answer.content)

        return ask

    table_ms = TABLE_MS[connection.vendor]
    metric, config = quote("-min(loss/total)"), quote("config.lr")
    columns = quote("auc,ap,patch_auc,config.lr,min(loss/total),last(validation/video_auc),took")
    timed("table, newest", get("/runs/"), table_ms)
    timed("table, by a metric", get(f"/runs/?sort={metric}"), table_ms)
    timed("table, by a metric, filtered", get(f"/runs/?sort={metric}&q={FILTER}"), table_ms)
    timed("table, by AUC", get("/runs/?sort=-auc"), table_ms)
    timed("table, by AUC, filtered", get(f"/runs/?sort=-auc&q={FILTER}"), table_ms)
    timed("table, by a setting, filtered", get(f"/runs/?sort={config}&q={FILTER}"), table_ms)
    timed("table, seven columns of all kinds", get(f"/runs/?cols={columns}&sort=-patch_auc"))
    timed("table, its last page by a metric", get(f"/runs/?sort={metric}&page=9999"))
    timed("groups of seeds", get("/runs/?group=seeds&sort=-auc"))
    timed("groups of seeds, filtered", get(f"/runs/?group=seeds&sort=-auc&q={FILTER}"))
    timed("completion", get("/api/v1/runs/complete/?q=auc+%3E+0.8+and+tag%3A&at=18"))
    timed("API, 50 runs by a metric, filtered", get(f"/api/v1/runs/?sort={metric}&q={FILTER}"))
    ids = ",".join(str(run.pk) for run in runs[:10])
    compare = f"/api/v1/compare/?keys=loss/total&max_points=1000&runs={ids}"
    timed(f"comparison, 10 runs x {points:,} points", get(compare), COMPARE_MS)
    print(f"{'':<42} {sizes[compare] / 1e3:.0f} kB  budget {COMPARE_KB}")
    trained = Run.objects.filter(project=project, kind="train-urdmu", state=State.SUCCEEDED)
    many = "&".join(f"run={pk}" for pk in trained.values_list("pk", flat=True)[:200])
    for what, address in {
        "comparison page, 200 runs": f"/compare/?{many}",
        "the same, in groups of seeds": f"/compare/?{many}&group=seed",
        "its training curves (50 drawn)": f"/compare/figures/curves/?{many}&key=loss/total",
    }.items():
        timed(what, get(address), MANY_MS)
    connection.close()


if __name__ == "__main__":
    main()
