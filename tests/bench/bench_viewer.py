"""What the viewer costs on a 10-minute video: a minute of maps from the server, a frame on screen.

    python tests/bench/bench_viewer.py [--rows 14] [--columns 14] [--tubelets 8]

Two runs with maps of the same video, a real film, a real Chromium. The server's answers are timed
whole, through Django's test client; drawing is timed in the browser, each time until a pixel can be
read back. The first lines are the budgets of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

folder = tempfile.TemporaryDirectory(prefix="vadlab-bench-")
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "webapp.settings", "VADLAB_DATA_DIR": folder.name,
    "VADLAB_HOSTS": "testserver,localhost", "VADLAB_LOG_LEVEL": "ERROR",
    "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
}  # fmt: skip
sys.path.insert(0, str(Path(__file__).parents[2]))

import django  # noqa: E402

django.setup()

import av  # noqa: E402
import numpy as np  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, connections  # noqa: E402
from django.templatetags.static import static  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.testcases import LiveServerThread, _StaticFilesHandler  # noqa: E402
from playwright.sync_api import Page, sync_playwright  # noqa: E402

from vad.configs import EvaluateConfig, UrdmuConfig  # noqa: E402
from vad.data.manifest import Manifest, Truth, Video, save_version  # noqa: E402
from vad.evaluation.patch_scores import PatchScores, VideoPatches  # noqa: E402
from vad.evaluation.scores import ScoreSet  # noqa: E402
from vad.timeline import SnippetRule  # noqa: E402
from webapp.accounts.models import User  # noqa: E402
from webapp.accounts.services import project_create  # noqa: E402
from webapp.datasets.models import Dataset, DatasetVersion, FeatureSet  # noqa: E402
from webapp.datasets.models import Video as VideoRow  # noqa: E402
from webapp.evaluations.models import Evaluation  # noqa: E402
from webapp.runs.models import Run  # noqa: E402

FPS, SECONDS = 25, 600
FRAMES, SNIPPETS = FPS * SECONDS, FPS * SECONDS // 16
MINUTE = FPS * 60 // 16  # snippets
REPEAT = 30
KEY = "test/long"
DESK = "document.querySelector('[data-viewer]')?.vadlab"

PAINT = """async ([mapModule, mapsModule, addresses]) => {
  const { Painter } = await import(mapModule);
  const { decode } = await import(mapsModule);
  const fetched = await Promise.all(addresses.map(async (a) => (await fetch(a)).arrayBuffer()));
  const [a, b] = fetched.map((buffer) => Object.assign(decode(buffer), { has: () => true }));
  const painter = new Painter(document.querySelector('[data-viewer-canvas]'));
  painter.resize();
  const options = { map: true, truth: true, opacity: 0.7, threshold: 0.5 };
  const truth = { boxes: [[0.1, 0.2, 0.4, 0.6]], patches: [] };
  const part = (maps) => ({ maps, truth, picked: [3] });
  const ways = {
    one: (frame) => painter.paint(a, frame, truth, options, [3]),
    wipe: (frame) => painter.wipe(part(a), part(b), 0.5, frame, options),
    difference: (frame) => painter.difference(a, b, frame, truth, options, [3]),
  };
  const found = {};
  for (const [name, paint] of Object.entries(ways)) {
    const took = [];
    for (let frame = 0; frame < a.frames; frame += 71) {
      const begun = performance.now();
      paint(frame);
      painter.context.getImageData(0, 0, 1, 1);
      took.push(performance.now() - begun);
    }
    found[`a frame of the map, ${name}`] = took;
  }
  found['decoding the whole video'] = Array.from({ length: 30 }, () => {
    const begun = performance.now();
    decode(fetched[0]);
    return performance.now() - begun;
  });
  const { matrix } = document.querySelector('[data-viewer]').vadlab;
  found['the matrix, all of it'] = Array.from({ length: 15 }, () => {
    const begun = performance.now();
    matrix.order();
    matrix.best.fill(512);
    matrix.gather(0, matrix.view.a.n);
    matrix.draw();
    matrix.canvas.getContext('2d').getImageData(0, 0, 1, 1);
    return performance.now() - begun;
  });
  found['the matrix, a frame of playing'] = Array.from({ length: 200 }, (_, i) => {
    const begun = performance.now();
    matrix.follow(i);
    return performance.now() - begun;
  });
  return found;
}"""


def film(path: Path) -> None:
    """Grey with a square that moves, a key frame each second."""
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "34", "g": str(FPS)}
        for n in range(FRAMES):
            picture = np.full((120, 160, 3), 90, dtype=np.uint8)
            picture[40:60, n % 140 : n % 140 + 20] = 200
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())


def fill(rows: int, columns: int, tubelets: int) -> tuple[User, list[Evaluation]]:
    """A version with one long test video, and two evaluations of two stages."""
    user = User.objects.create_user("bench")
    project = project_create(name="Bench", by=user)
    dataset = Dataset.objects.create(project=project, name="set", created_by=user)
    video = Video(
        key=KEY, split="test", label=1, classes=("Long",), path="long.mp4", num_frames=FRAMES,
        fps=float(FPS), width=160, height=120,
    )  # fmt: skip
    truth = {KEY: Truth(intervals=((4000, 5200), (11_000, 11_400)))}
    media = settings.DATA_DIR / "footage"
    film(media / "long.mp4")
    version = DatasetVersion(dataset=dataset, number=1, format="generic", created_by=user)
    version.folder.mkdir(parents=True)
    manifest = Manifest(name="set", format="generic", videos=(video,), media_root=str(media))
    version.fingerprint = save_version(version.folder, manifest, truth)
    version.save()
    VideoRow.objects.create(
        version=version, key=KEY, split="test", label=1, classes=["Long"], path="long.mp4",
        num_frames=FRAMES, fps=FPS, width=160, height=120,
    )  # fmt: skip
    features = FeatureSet.objects.create(version=version, name="motion", ready=True, dim=64)
    rng = np.random.default_rng(0)
    made = []
    for color, (high, wide) in enumerate(((rows, columns), (rows + 2, columns - 2))):
        common: dict[str, Any] = {
            "project": project, "owner": user, "version": version, "feature_set": features,
            "state": "succeeded", "color": color,
        }  # fmt: skip
        trained = Run.objects.create(
            name=f"run {color}", kind="train-urdmu", config=UrdmuConfig().to_dict(), **common
        )
        run = Run.objects.create(
            name=f"test {color}", kind="evaluate", config=EvaluateConfig().to_dict(),
            of_run=trained, **common,
        )  # fmt: skip
        run.folder.mkdir(parents=True)
        given = {KEY: rng.random(SNIPPETS).astype(np.float32) ** 3}
        scores = ScoreSet.build(given, videos=[video], truth=truth, rule=SnippetRule())
        maps = rng.random((SNIPPETS, tubelets, high * wide), dtype=np.float32) ** 4
        kept = rng.random(maps.shape) < 0.7
        maps[~kept] = 0
        patches = PatchScores.build(
            [
                VideoPatches(
                    key=KEY, maps=maps, kept=kept, stage1=given[KEY],
                    stage2=maps.max(axis=(1, 2)), frames=scores.frames,
                )
            ],
            rows=high,
            columns=wide,
        )  # fmt: skip
        made.append(
            Evaluation.objects.create(
                run=run, of_run=trained, version=version, feature_set=features, fingerprint="p",
                selection="last", scores_sha256=scores.save(run.folder / "scores.safetensors"),
                patch={"sha256": patches.save(run.folder / "patches.safetensors")},
            )
        )  # fmt: skip
    return user, made


def tell(what: str, took_ms: list[float], budget_ms: float | None = None) -> None:
    p50, p95 = np.percentile(took_ms, [50, 95])
    budget = f"  budget {budget_ms:g}" if budget_ms else ""
    print(f"{what:<46} p50 {p50:7.2f}  p95 {p95:7.2f} ms{budget}")


def timed(browser: Client, what: str, address: str, budget_ms: float | None = None) -> None:
    took, size = [], 0
    for _ in range(REPEAT):
        begun = time.perf_counter()
        answer = browser.get(address)
        took.append((time.perf_counter() - begun) * 1e3)
        assert answer.status_code == 200, answer.content[:500]
        size = len(answer.content)
    tell(f"{what}, {size / 1e3:,.0f} kB", took, budget_ms)


def in_browser(page: Page, viewer: str, maps: list[str]) -> None:
    for name in ("from the address to the first map", "from the address to all maps"):
        state = "ready" if "first" in name else "complete"
        took = []
        for frame in (3000, 9000, 14_000):
            page.goto(f"{viewer}&frame={frame}", wait_until="commit")
            page.wait_for_function(
                f"() => {DESK} && ({DESK}.matrix?.view) && {DESK}.{state}", polling="raf"
            )
            took.append(page.evaluate("() => performance.now()"))
        tell(name, took)
    names = [static("js/viewer-map.js"), static("js/viewer-maps.js")]
    for name, took in page.evaluate(PAINT, [*names, maps]).items():
        tell(name, took, 8 if name.startswith("a frame") else None)
    page.keyboard.press("Space")
    page.wait_for_timeout(4000)
    page.keyboard.press("Space")
    quality = "document.querySelector('[data-viewer-video]').getVideoPlaybackQuality()"
    lost = page.evaluate(f"() => {quality}.droppedVideoFrames")
    shown = page.evaluate(f"() => {quality}.totalVideoFrames")
    worst = page.evaluate(f"() => {DESK}.stats.worst")
    print(f"playing 4 s: {lost} of {shown} frames dropped, worst drawing {worst:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=14)
    parser.add_argument("--columns", type=int, default=14)
    parser.add_argument("--tubelets", type=int, default=8)
    args = parser.parse_args()
    chromium = os.environ.get("VADLAB_CHROMIUM") or shutil.which("chromium")
    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    user, evaluations = fill(args.rows, args.columns, args.tubelets)
    browser = Client()
    browser.force_login(user)
    apis = [f"/api/v1/evaluations/{e.pk}/maps/?video={KEY}" for e in evaluations]
    viewer = f"/evaluations/viewer/?video={KEY}&" + "&".join(f"run={e.pk}" for e in evaluations)
    print(
        f"{SECONDS // 60} minutes at {FPS} frames/s, {SNIPPETS} snippets, "
        f"{args.tubelets} tubelets, {args.rows} x {args.columns} patches"
    )
    timed(browser, "a minute of maps", f"{apis[0]}&from=400&to={400 + MINUTE}", 100)
    timed(browser, "all ten minutes", apis[0])
    timed(browser, "the page", viewer)
    timed(browser, "the curve, with a patch", viewer.replace("viewer/", "viewer/timeline/")
          + f"&patch={evaluations[0].pk}.3.4")  # fmt: skip
    if not chromium:
        print("no Chromium on this machine: nothing of the browser was measured")
        return
    server = LiveServerThread("localhost", _StaticFilesHandler, connections_override={})
    server.daemon = True
    server.start()
    server.is_ready.wait()
    with sync_playwright() as playwright:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        running = playwright.chromium.launch(executable_path=chromium, args=flags)
        address = f"http://localhost:{server.port}"
        context = running.new_context(base_url=address, viewport={"width": 1440, "height": 900})
        cookie = browser.cookies[settings.SESSION_COOKIE_NAME].value
        context.add_cookies(
            [{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": address}]
        )
        in_browser(context.new_page(), viewer, apis)
        running.close()
    server.terminate()
    server.join()


if __name__ == "__main__":
    main()
    connection.close()
    connections.close_all()
    folder.cleanup()
