"""The data part of a step of stage 2, beside opening, decoding and resizing at every step.

    python tests/bench/bench_clips.py [--minutes 10] [--steps 15] [--long 1000] [--short_side 240]

Long videos are made first (H.264, 320x240, a key frame every 250 frames), then their proxies. A
step takes clips of 16 frames at 128x128 from random videos: those of random snippets, which begin
at a multiple of 16 as in training, and, beside them, those from any place.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import av
import decord
import numpy as np
from PIL import Image

from vad.configs import ProxiesConfig
from vad.data.clips import Clips
from vad.data.manifest import Manifest, Video, save_version
from vad.data.resize import resize
from vad.reporting import Reporter
from vad.video.proxies import ProxyStore
from vad.video.proxy_build import build
from vad.video.reader import open_video

RATIO_BUDGET = 20.0  # of design.md: the published way's time over ours
SIZE, FRAMES, FPS, WIDTH, HEIGHT = (128, 128), 16, 30, 320, 240
FILES, VIDEOS = 2, 16  # each file stands for several videos, which have readers of their own
COPY_ERROR, RESIZE_ERROR = 12.0, 0.5  # of 255, on average over a clip: encoding, rounding
Window = tuple[str, np.ndarray]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10, help="length of a video")
    parser.add_argument("--steps", type=int, default=15, help="steps to time")
    parser.add_argument("--long", type=int, default=1000, help="steps to watch the memory over")
    parser.add_argument("--short_side", type=int, default=ProxiesConfig().short_side)
    args = parser.parse_args()
    decord.logging.set_level(decord.logging.QUIET)
    count = int(args.minutes * 60 * FPS)
    print(f"decord {decord.__version__}, PyAV {av.__version__}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest, store = prepare(folder, count, args.short_side)
        missed = False
        for batch in (2, 8):
            missed |= compare(manifest, store, batch, args.steps) < RATIO_BUDGET
            compare(manifest, store, batch, args.steps, anywhere=True)
        rates(manifest, store)
        memory(manifest, store, args.long)
    return int(missed)


def prepare(folder: Path, count: int, short_side: int) -> tuple[Manifest, ProxyStore]:
    begin = time.perf_counter()
    files = [write_video(folder / f"{i}.mp4", count, seed=i) for i in range(FILES)]
    made_s = time.perf_counter() - begin
    (folder / "version").mkdir()
    save_version(folder / "version", manifest_of(files, count), {})
    begin = time.perf_counter()
    build(
        ProxiesConfig(short_side=short_side),
        manifest_dir=folder / "version",
        output=folder / "run",
        reporter=Reporter(),
    )
    spent_s = time.perf_counter() - begin
    store = ProxyStore.open(folder / "run" / "proxies")
    size = sum(file.stat().st_size for file in files) / 1e6
    copied = sum(proxy.size_bytes for proxy in store.proxies.values()) / 1e6
    exact = sum(proxy.clip_bytes for proxy in store.proxies.values()) / 1e6
    print(
        f"{FILES} videos of {count:,} frames, {size:.1f} MB, made in {made_s:.0f} s; proxies "
        f"of {short_side} px {copied:.1f} MB and of the clips' size {exact:.1f} MB in "
        f"{spent_s:.0f} s, "
        f"{FILES * count / spent_s:,.0f} frames/s, mean error "
        f"{error(files[0], store.path('video-0')):.2f} of 255"
    )
    every = manifest_of([files[i % FILES] for i in range(VIDEOS)], count)
    proxies = {f"video-{i}": store.proxies[f"video-{i % FILES}"] for i in range(VIDEOS)}
    return every, ProxyStore(store.folder, store.fingerprint, proxies)


def manifest_of(files: Sequence[Path], count: int) -> Manifest:
    videos = tuple(
        Video(key=f"video-{i}", split="train", label=0, path=file.name, num_frames=count)
        for i, file in enumerate(files)
    )
    return Manifest(name="b", format="generic", videos=videos, media_root=str(files[0].parent))


def write_video(path: Path, count: int, seed: int) -> Path:
    """A textured scene that drifts, with things that cross it and a camera's noise."""
    rng = np.random.default_rng(seed)
    scene = rng.integers(40, 200, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    scene = np.asarray(Image.fromarray(scene).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    noise = rng.integers(0, 6, (16, HEIGHT, WIDTH, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", 250
        for i in range(count):
            picture = np.roll(scene, i // 10, axis=1) + noise[rng.integers(16)]
            for thing in range(3):
                x, y = (i * (thing + 1) * 2) % (WIDTH - 30), 40 + 60 * thing
                picture[y : y + 40, x : x + 20] = 60 * thing + 30
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def error(source: Path, copy: Path) -> float:
    """Mean absolute difference of both files' first frames."""
    with open_video(source) as a, open_video(copy) as b:
        theirs = resize(a.frames(0, 64), (b.height, b.width))
        return float(np.abs(theirs.astype(np.int16) - b.frames(0, 64)).mean())


def windows(step: int, batch: int, count: int, anywhere: bool = False) -> list[Window]:
    """Clips of one step: normal and abnormal videos, `batch` of each."""
    rng = np.random.default_rng(step)
    keys = rng.permutation(VIDEOS)[: 2 * batch]
    snippet = 1 if anywhere else FRAMES
    starts = rng.integers((count - FRAMES) // snippet, size=len(keys)) * snippet
    return [
        (f"video-{k}", start + np.arange(FRAMES)) for k, start in zip(keys, starts, strict=True)
    ]


def published(manifest: Manifest, wanted: Sequence[Window]) -> np.ndarray:
    """Open, decode, resize each frame: what the published code does at every step."""
    paths = {v.key: manifest.media_path(v.path) for v in manifest.videos}
    clips = []
    for key, frames in wanted:
        reader = decord.VideoReader(str(paths[key]))
        decoded = reader.get_batch(frames).asnumpy()
        resized = [
            Image.fromarray(f).resize(SIZE[::-1], Image.Resampling.BILINEAR) for f in decoded
        ]
        clips.append(np.stack([np.asarray(image) for image in resized]))
    return np.stack(clips)


def compare(
    manifest: Manifest, store: ProxyStore, batch: int, steps: int, anywhere: bool = False
) -> float:
    """Ratio of the medians, the published way's time over ours."""
    count = manifest.videos[0].num_frames
    with (
        Clips(manifest, size=SIZE, proxies=store, held_bytes=0) as ours,
        Clips(manifest, size=SIZE, held_bytes=0) as sources,
    ):
        ways: list[Callable[[list[Window]], np.ndarray]] = [
            ours.get,
            sources.get,
            lambda wanted: published(manifest, wanted),
        ]
        for clips in (ours, sources):  # readers open, sources tried, as after the first steps
            clips.get([(v.key, np.arange(FRAMES)) for v in manifest.videos])
        spent: list[list[float]] = [[] for _ in ways]
        cpu_s = [0.0] * len(ways)
        wrong = 0
        for step in range(steps):
            found = []
            wanted = windows(step, batch, count, anywhere)
            for at, way in enumerate(ways):  # in turns: a busy moment hits all
                begin, cpu = time.perf_counter(), time.process_time()
                found.append(way(wanted))
                spent[at].append(time.perf_counter() - begin)
                cpu_s[at] += time.process_time() - cpu
            if apart(found[0], found[1]).max() > COPY_ERROR:
                raise SystemExit("the clips over proxies are not those over the sources")
            wrong += int((apart(found[2], found[1]) > RESIZE_ERROR).sum())
    own, plain, theirs = (statistics.median(times) for times in spent)
    places = "from any place" if anywhere else "of snippets"
    print(
        f"step, {batch}+{batch} clips {places}: {own * 1e3:.1f} ms over proxies, "
        f"{plain * 1e3:.0f} ms over the sources, the published way {theirs * 1e3:.0f} ms: "
        f"{theirs / own:.1f} times as fast at the median, "
        f"{min(spent[2]) / min(spent[0]):.1f} at the fastest (budget "
        f"{RATIO_BUDGET:.0f}), {cpu_s[2] / cpu_s[0]:.1f} in CPU time"
    )
    if wrong:  # it gives up when its threads get no time: "Failed to skip frames effectively"
        print(f"  of the published way's {steps * 2 * batch} clips {wrong} showed other frames")
    return theirs / own


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean absolute difference of each clip: [B]."""
    return np.abs(a.astype(np.int16) - b).mean(axis=(1, 2, 3, 4))


def rates(manifest: Manifest, store: ProxyStore) -> None:
    """Frames a second: clips from random places, beside a file in order."""
    count = manifest.videos[0].num_frames
    reader = decord.VideoReader(str(store.path("video-0")), num_threads=1)
    last = min(count, 6000)
    begin = time.perf_counter()
    for at in range(0, last, 64):
        reader.get_batch(range(at, min(at + 64, last)))
    in_order = last / (time.perf_counter() - begin)
    with Clips(manifest, size=SIZE, proxies=store, held_bytes=0) as clips:
        clips.get([(v.key, np.arange(FRAMES)) for v in manifest.videos])
        begin = time.perf_counter()
        shown = sum(len(clips.get(windows(step, 8, count, True))) * FRAMES for step in range(20))
        spent = time.perf_counter() - begin
    print(
        f"clips from random places of proxies, resized: {shown / spent:,.0f} frames/s; decord "
        f"decodes the same file in order at {in_order:,.0f}: {shown / spent / in_order:.2f}"
    )


def memory(manifest: Manifest, store: ProxyStore, steps: int) -> None:
    count = manifest.videos[0].num_frames
    with Clips(manifest, size=SIZE, proxies=store, held_bytes=0) as clips:
        marks = []
        for step in range(steps + 100):
            if step >= 100 and (step - 100) % (steps // 4) == 0:
                marks.append(resident())
            clips.get(windows(step, 2, count))
        marks.append(resident())
    print(
        f"memory over {steps:,} steps of 2+2 clips: "
        + ", ".join(f"{mark / 1e6:.0f}" for mark in marks)
        + " MB"
    )


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(main())
