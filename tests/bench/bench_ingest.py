"""What external runs can log: points a second over HTTP, and one point at a time.

    python tests/bench/bench_ingest.py [--seconds 8] [--workers 2]

Starts gunicorn as docker-compose.yml does, on a fresh SQLite file or in an empty database that
DATABASE_URL names. Each client is a thread with one connection and a run of its own; its batches
(10 metrics of 100 steps each) are encoded before the clock starts, so that the server is measured.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
folder = tempfile.TemporaryDirectory(prefix="vadlab-bench-")
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "webapp.settings", "VADLAB_DATA_DIR": folder.name,
    "VADLAB_LOG_LEVEL": "ERROR",
}  # fmt: skip
sys.path.insert(0, str(ROOT))

import django  # noqa: E402

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402

from webapp.accounts import tokens  # noqa: E402
from webapp.accounts.models import User  # noqa: E402
from webapp.accounts.services import project_create  # noqa: E402
from webapp.core.launcher import free_port  # noqa: E402
from webapp.external import services  # noqa: E402

SINGLES = 200
KEYS = [f"group/metric{k}" for k in range(10)]
STEPS, CLIENTS = 100, (1, 8)
BUDGET_POINTS, BUDGET_MS = 50_000, 12


class Sender:
    """One connection, one run."""

    def __init__(self, port: int, token: str, run: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port)
        self.address = f"/api/v1/external/{run}/metrics/"
        self.token = token

    def send(self, body: bytes) -> None:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        self.connection.request("POST", self.address, body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{answer.status} {text[:300]!r}")


def batch(first: int, rng: np.random.Generator) -> bytes:
    steps = list(range(first, first + STEPS))
    metrics = {k: {"steps": steps, "values": rng.standard_normal(STEPS).tolist()} for k in KEYS}
    return json.dumps({"metrics": metrics}).encode()


def flood(
    server: subprocess.Popen[bytes], senders: list[Sender], seconds: float
) -> tuple[float, int, float]:
    """Points a second of all clients together, points, and CPU seconds of the server."""
    most = int(400 * seconds / len(senders))  # encoded before the clock starts
    batches = [
        [batch(STEPS * n, np.random.default_rng(k)) for n in range(most)]
        for k in range(len(senders))
    ]
    sent = [0] * len(senders)
    begin, barrier = [time.perf_counter()], threading.Barrier(len(senders) + 1)

    def work(k: int) -> None:
        senders[k].connection.close()  # the server has done so while the batches were encoded
        senders[k].connection.connect()
        barrier.wait()
        for body in batches[k]:
            senders[k].send(body)
            sent[k] += STEPS * len(KEYS)
            if time.perf_counter() - begin[0] > seconds:
                return

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(senders))]
    for thread in threads:
        thread.start()
    spent = cpu_s(server)
    barrier.wait()
    begin[0] = time.perf_counter()
    for thread in threads:
        thread.join()
    took_s = time.perf_counter() - begin[0]
    return sum(sent) / took_s, sum(sent), cpu_s(server) - spent


def cpu_s(server: subprocess.Popen[bytes]) -> float:
    """CPU seconds of gunicorn's processes so far: what a busy machine does not add to."""
    ticks = 0
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if server.pid in (int(fields[1]), int(place.parent.name)):
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def single(sender: Sender, count: int) -> tuple[float, float]:
    """p50 and p95 in ms of logging one point."""
    took = []
    for n in range(count):
        body = json.dumps({"rows": [{"step": n, "values": {"loss": 0.5}}]}).encode()
        begin = time.perf_counter()
        sender.send(body)
        took.append(1e3 * (time.perf_counter() - begin))
    p50, p95 = np.percentile(took[20:], [50, 95])
    return float(p50), float(p95)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    call_command("migrate", verbosity=0)
    user = User.objects.create_user("bench")
    project = project_create(name="Bench", by=user)
    _, token = tokens.token_create(by=user, name="bench", scope="write")
    runs = [
        str(services.run_start(project=project, by=user, name=f"run {n}").pk)
        for n in range(1 + sum(CLIENTS))
    ]
    connections.close_all()
    port = free_port(8300)
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "webapp.wsgi", "--bind", f"127.0.0.1:{port}",
         "--worker-class", "gthread", "--workers", str(args.workers), "--threads", "8",
         "--log-level", "error"],
        cwd=ROOT,
    )  # fmt: skip
    try:
        senders = [Sender(port, token, run) for run in runs]
        for _ in range(100):
            try:
                senders[0].connection.connect()
                break
            except OSError:
                time.sleep(0.2)
        for sender in (*senders, *senders):  # every process has loaded what it needs
            sender.send(batch(0, np.random.default_rng(0)))
            sender.connection.close()
        begun = cpu_s(server)
        p50, p95 = single(senders.pop(), SINGLES)
        own_ms = 1e3 * (cpu_s(server) - begun) / SINGLES
        print(
            f"one point at a time: p50 {p50:.1f} ms, p95 {p95:.1f} ms (budget p95 {BUDGET_MS}), "
            f"{own_ms:.1f} ms of the server's CPU"
        )
        for clients in CLIENTS:
            own = [senders.pop() for _ in range(clients)]
            rate, points, spent_s = flood(server, own, args.seconds)
            print(
                f"batches of 1,000, {clients} client{'s' * (clients > 1)}: "
                f"{rate:,.0f} points/s (budget {BUDGET_POINTS:,}), "
                f"{points / spent_s:,.0f} a second of the server's CPU"
            )
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
