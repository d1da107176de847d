"""What the queue costs: from queued to a child at work, and a run beside the same command by hand.

    python tests/bench/bench_queue.py [--runs 12] [--repeats 3] [--broker URL]

Without --broker it starts a Redis of its own, or takes the filesystem transport where there is
none. The database is SQLite in a temporary folder (DATABASE_URL is not looked at).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

LATENCY_BUDGET_S = 3.0  # p95, queued to training, on an idle slot with Redis
OVERHEAD_BUDGET = 0.03
TINY = {"num_epochs": 1, "batch_size": 2, "num_segments": 4, "memory_slots": 16}
LONG = {"batch_size": 4, "num_segments": 16, "memory_slots": 16, "checkpoint_every": 1_000_000}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--broker", default="")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # take the servers along
    with tempfile.TemporaryDirectory(prefix="vadlab-bench-") as name:
        folder = Path(name)
        with _broker(folder, args.broker) as url:
            os.environ |= {
                "DJANGO_SETTINGS_MODULE": "webapp.settings",
                "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
                "CELERY_BROKER_URL": url,
                "VADLAB_DATA_DIR": name,
                "VADLAB_GPU_SLOTS": "0",
                "VADLAB_CPU_SLOTS": "1",
                "VADLAB_LOG_LEVEL": "WARNING",
                "OMP_NUM_THREADS": "1",
            }
            subprocess.run(
                [sys.executable, "manage.py", "migrate", "-v", "0"], cwd=ROOT, check=True
            )
            import django

            django.setup()
            with _worker() as worker:
                print(f"broker {url.split(':')[0]}, SQLite, {os.cpu_count()} cores, "
                      f"load {os.getloadavg()[0]:.1f}")  # fmt: skip
                inputs = _inputs()
                _latency(inputs, args.runs)
                _overhead(inputs, worker, steps=args.steps, repeats=args.repeats)


def _latency(inputs: dict[str, Any], count: int) -> None:
    from webapp.runs.models import RunEvent

    parts: dict[str, list[float]] = {"queued to claimed": [], "queued to training": []}
    for _ in range(count):
        run = _through(inputs, TINY)
        at = dict(RunEvent.objects.filter(run=run).values_list("kind", "at"))
        parts["queued to claimed"].append((at["claimed"] - at["created"]).total_seconds())
        parts["queued to training"].append((at["started"] - at["created"]).total_seconds())
    for name, values in parts.items():
        p50, p95 = statistics.median(values), sorted(values)[max(0, -(-95 * count // 100) - 1)]
        print(f"{name}: p50 {p50:.2f} s, p95 {p95:.2f} s ({count} runs)")
    by_hand_s = _by_hand_start(run)
    print(f"  of which `python -m vad train` to its first record: {by_hand_s:.2f} s by hand")
    print(f"  budget: p95 {LATENCY_BUDGET_S:g} s")


def _overhead(inputs: dict[str, Any], worker: int, *, steps: int, repeats: int) -> None:
    ratios, spent, cpu_s = [], [], 0.0
    for i in range(repeats):
        before_s = _cpu_s(worker)
        run = _through(inputs, {**LONG, "num_epochs": steps, "eval_every": steps, "seed": i})
        cpu_s += _cpu_s(worker) - before_s
        claimed = run.events.get(kind="claimed").at
        queue_s = (run.ended_at - claimed).total_seconds()
        hand_s = _by_hand(run)
        ratios.append(queue_s / hand_s - 1)
        spent.append(queue_s)
        print(f"  {steps} steps: {queue_s:.2f} s through the queue, {hand_s:.2f} s by hand")
    print(f"overhead: median {statistics.median(ratios):+.1%} (from {min(ratios):+.1%} to "
          f"{max(ratios):+.1%}), budget {OVERHEAD_BUDGET:.0%}; "
          f"the supervisor's CPU time is {cpu_s / sum(spent):.1%} of the runs' time")  # fmt: skip


def _by_hand(run: Any) -> float:
    """The same command again, as a person starts it: seconds."""
    output = run.folder.with_name(f"{run.pk}-by-hand")
    started_s = time.monotonic()
    subprocess.run(
        _command(run, output), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )  # fmt: skip
    spent_s = time.monotonic() - started_s
    shutil.rmtree(output)
    return spent_s


def _by_hand_start(run: Any) -> float:
    output = run.folder.with_name(f"{run.pk}-start")
    started_s = time.monotonic()
    with subprocess.Popen(
        [*_command(run, output), "--json"], stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        spent_s = time.monotonic() - started_s
        process.stdout.read()
    return spent_s


def _command(run: Any, output: Path) -> list[str]:
    return [
        sys.executable, "-m", "vad", "train", "urdmu",
        "--manifest", str(run.version.folder), "--features", str(run.feature_set.folder),
        "--config", str(run.folder / "config.json"), "--output", str(output),
    ]  # fmt: skip


def _through(inputs: dict[str, Any], config: dict[str, Any]) -> Any:
    """Queue a training run as the server does, and wait for its end."""
    from vad.configs import config_class
    from webapp.runs.lifecycle import commands
    from webapp.runs.models import ENDED, Run, State

    config = config_class("train-urdmu").from_dict({"validation_share": 0.25, **config}).to_dict()
    run = Run.objects.create(name="bench", kind="train-urdmu", config=config, **inputs)
    commands.enter(run, by=inputs["owner"])
    while run.state not in ENDED:
        time.sleep(0.1)
        run.refresh_from_db()
    if run.state != State.SUCCEEDED:
        sys.exit(f"a run {run.state}: {json.dumps(run.error)}")
    return run


def _inputs() -> dict[str, Any]:
    """Rows and files that a training run needs: 64 made-up videos of 1024 numbers a snippet."""
    import numpy as np

    from vad.data.feature_writer import StoreWriter
    from vad.data.manifest import Manifest, Truth, Video, save_version
    from vad.timeline import SnippetRule
    from webapp.accounts.models import Project, User
    from webapp.datasets.models import Dataset, DatasetVersion, FeatureSet

    owner = User.objects.create_user("bench")
    project = Project.objects.create(name="bench", slug="bench")
    dataset = Dataset.objects.create(project=project, name="made up", created_by=owner)
    version = DatasetVersion.objects.create(
        dataset=dataset, number=1, format="generic", fingerprint="0", created_by=owner
    )
    features = FeatureSet.objects.create(version=version, name="made up", dim=1024, ready=True)
    noise = np.random.default_rng(7)
    videos, truth = [], {}
    rule = SnippetRule()
    with StoreWriter(features.folder, dim=1024, rule=rule, extractor="made up") as writer:
        for i in range(64):
            label, split = i % 2, "test" if i < 8 else "train"
            video = Video(
                key=f"video{i}", split=split, label=label, num_frames=512,
                classes=("Odd",) if label else (),
            )  # fmt: skip
            videos.append(video)
            writer.add(video.key, noise.normal(size=(1, 32, 1024)).astype(np.float32) + label)
            if label:
                truth[video.key] = Truth(intervals=((128, 256),))
        writer.close()
    version.folder.mkdir(parents=True)
    save_version(
        version.folder, Manifest(name="made up", format="generic", videos=tuple(videos)), truth
    )
    return {"owner": owner, "project": project, "version": version, "feature_set": features}


@contextmanager
def _worker() -> Iterator[int]:
    from webapp.fleet.models import Worker

    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "workers", "worker", "--pool", "threads",
         "-Q", "gpu,cpu"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        while not Worker.objects.exists():
            if process.poll() is not None:
                sys.exit("the worker did not start; start it by hand to see why")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


@contextmanager
def _broker(folder: Path, given: str) -> Iterator[str]:
    if given or not shutil.which("redis-server"):
        yield given or "filesystem://"
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
         "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()


def _cpu_s(pid: int) -> float:
    """User and system time of a process so far, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
