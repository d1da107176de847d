"""When pages are seen: first paint, and until their curves stand, in a real Chromium.

    python tests/bench/bench_paint.py [--runs 10000] [--points 100000]

The runs table of a project with many runs (`manage.py load_seed`), and the comparison of ten of
them whose scores of 290 test videos (1.1 million frames) and losses of all steps are there. The web
server is the real one, a process of its own. Cold is a fresh browser profile, so every style and
script comes over the wire and is compiled; warm is the same page opened again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

folder = tempfile.TemporaryDirectory(prefix="vadlab-bench-")
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "webapp.settings", "VADLAB_DATA_DIR": folder.name,
    "VADLAB_HOSTS": "testserver,127.0.0.1", "VADLAB_LOG_LEVEL": "ERROR",
    "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
}  # fmt: skip
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import django  # noqa: E402

django.setup()

import numpy as np  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402
from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402

from vad.configs import EvaluateConfig  # noqa: E402
from vad.data.manifest import Truth, Video  # noqa: E402
from vad.evaluation import frame  # noqa: E402
from vad.evaluation.protocol import Protocol  # noqa: E402
from vad.evaluation.scores import ScoreSet  # noqa: E402
from vad.timeline import SnippetRule  # noqa: E402
from webapp.accounts.models import User  # noqa: E402
from webapp.accounts.services import project_create  # noqa: E402
from webapp.demo.load import Load, load  # noqa: E402
from webapp.evaluations.models import Evaluation  # noqa: E402
from webapp.runs.models import Run, State  # noqa: E402

VIDEOS, SNIPPETS = 290, 237  # of 16 frames: 1.1 million frames, as UCF-Crime's test split
REPEAT = 7
PAINT_MS = 1000
PAINTED = """() => ({
  paint: performance.getEntriesByName('first-contentful-paint')[0]?.startTime,
  answer: performance.getEntriesByType('navigation')[0].responseStart,
})"""
TABLE = "() => document.querySelector('.table-runs')"
DRAWN = "() => ['roc', 'pr'].every(n => document.querySelector(`#${n} .main-svg`))"


def evaluate(runs: list[Run]) -> None:
    """Scores of a whole test split for each run, measured by the code that always does."""
    videos, truth, rng = [], {}, np.random.default_rng(2)
    for n in range(VIDEOS):
        label, key = n % 2, f"test/video_{n:03d}"
        videos.append(
            Video(
                key=key, split="test", label=label, classes=("Class",) if label else (),
                path=f"{key}.mp4", num_frames=16 * SNIPPETS, fps=30.0, width=320, height=240,
            )
        )  # fmt: skip
        if label:
            truth[key] = Truth(intervals=((800, 1400),))
    inside = np.zeros(SNIPPETS)
    inside[50:88] = 1
    rule = SnippetRule()
    for place, of_run in enumerate(runs):
        given = {
            v.key: 1 / (1 + np.exp(1.5 - (1 + place / 10) * inside * v.label
                                   - rng.standard_normal(SNIPPETS)))
            for v in videos
        }  # fmt: skip
        scores = ScoreSet.build(given, videos=videos, truth=truth, rule=rule)
        run = Run.objects.create(
            project=of_run.project, owner=of_run.owner, name=f"Evaluate {of_run.name}",
            kind="evaluate", state=State.SUCCEEDED, config=EvaluateConfig().to_dict(),
            of_run=of_run, version=of_run.version, feature_set=of_run.feature_set,
        )  # fmt: skip
        run.folder.mkdir(parents=True, exist_ok=True)
        protocol = Protocol.of(
            dataset="set", videos=videos, truth=truth, rule=rule, tail="hold"
        )  # fmt: skip
        found = frame.evaluate(scores)
        Evaluation.objects.create(
            run=run, of_run=of_run, version=of_run.version, feature_set=of_run.feature_set,
            protocol=protocol.to_dict(), fingerprint=protocol.fingerprint, selection="last",
            frame_auc=found["metrics"]["auc"], frame_ap=found["metrics"]["ap_step"],
            metrics=found["metrics"], intervals={}, per_class=found["per_class"],
            counts=found["counts"], scores_sha256=scores.save(run.folder / "scores.safetensors"),
        )  # fmt: skip


def serve() -> tuple[subprocess.Popen[bytes], str]:
    """The web server as `manage.py serve` starts it, on a free port."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "webapp.wsgi", "--bind", f"127.0.0.1:{port}",
               "--worker-class", "gthread", "--threads", "8"]  # fmt: skip
    server = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    for _ in range(200):
        with socket.socket() as tried:
            if not tried.connect_ex(("127.0.0.1", port)):
                return server, f"http://127.0.0.1:{port}"
        time.sleep(0.1)
    raise RuntimeError("the server did not start")


def look(page: Page, address: str, drawn: str) -> dict[str, float]:
    """Milliseconds from the address to the answer, to the first paint, and until it is drawn."""
    page.goto(address, wait_until="commit")
    page.wait_for_function(drawn, polling="raf")
    ready = page.evaluate("() => performance.now()")
    page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length")
    return page.evaluate(PAINTED) | {"ready": ready}


def tell(what: str, found: list[dict[str, float]], budget_ms: float) -> None:
    parts = []
    for name in ("answer", "paint", "ready"):
        values = [each[name] for each in found]
        parts.append(f"{name} {np.median(values):5.0f} / {max(values):5.0f}")
    print(f"{what:<42} {'  '.join(parts)} ms (p50 / slowest)  budget of paint {budget_ms:g}")


def measure(browser: Browser, at: str, cookie: dict[str, Any], pages: dict[str, Any]) -> None:
    def fresh() -> Page:
        context = browser.new_context(base_url=at, viewport={"width": 1440, "height": 900})
        context.add_cookies([cookie | {"url": at}])  # type: ignore[list-item]
        return context.new_page()

    for what, (address, drawn) in pages.items():
        cold = []
        for _ in range(REPEAT + 1):
            page = fresh()
            cold.append(look(page, address, drawn))
            page.context.close()
        cold = cold[1:]  # without the server's own first time
        tell(f"{what}, cold", cold, PAINT_MS)
        page = fresh()
        tell(f"{what}, warm", [look(page, address, drawn) for _ in range(REPEAT + 1)][1:], PAINT_MS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=100_000)
    args = parser.parse_args()
    chromium = os.environ.get("VADLAB_CHROMIUM") or shutil.which("chromium")
    if not chromium:
        print("no Chromium on this machine: nothing was measured")
        return
    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    user = User.objects.create_user("bench")
    project = project_create(name="Bench", by=user)
    runs = load(
        project=project, by=user, size=Load(runs=args.runs, points=args.points),
        say=lambda text: None,
    )[:10]  # fmt: skip
    evaluate(runs)
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    cookie = {"name": name, "value": client.cookies[name].value}
    compare = "/compare/?" + "&".join(f"run={run.pk}" for run in runs)
    pages = {
        f"runs table, 50 of {args.runs:,}": ("/runs/?sort=-auc", TABLE),
        f"comparison, 10 runs x {args.points:,} points": (compare, DRAWN),
    }  # fmt: skip
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    server, at = serve()
    try:
        with sync_playwright() as playwright:
            flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
            browser = playwright.chromium.launch(executable_path=chromium, args=flags)
            measure(browser, at, cookie, pages)
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
    folder.cleanup()
