"""What the tests of the viewer share: known maps, a film with numbers, where it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import seeding
from playwright.sync_api import Page, expect

from vad.data.manifest import load_manifest
from vad.evaluation.patch_scores import PatchScores, VideoPatches
from webapp.evaluations import scores as store
from webapp.evaluations.models import Evaluation

KEY = "test/running_053"
DESK = "document.querySelector('[data-viewer]').vadlab"
COMPLETE = f"() => document.querySelector('[data-viewer]')?.vadlab?.complete && {DESK}.ready"
PIXEL = """([selector, x, y]) => {
  const canvas = document.querySelector(selector);
  const at = [Math.floor(x * canvas.width), Math.floor(y * canvas.height)];
  return [...canvas.getContext('2d').getImageData(...at, 1, 1).data];
}"""
PICTURES = """() => ['[data-viewer-canvas]', '[data-viewer-matrix-canvas]'].map(
  (name) => document.querySelector(name).toDataURL())"""
MAP = "[data-viewer-canvas]"
ONE = (252, 255, 164, 178)  # inferno's end, 70 % opaque
HALF = (188, 55, 84, 79)  # its middle: of a score of 113 / 255, since its first tenth is cut
FILM = "document.querySelector('[data-viewer-video]')"
# The numbers in the pictures of the film itself and of its copy, see `numbered_film`.
NUMBERS = """() => [document.querySelector('[data-viewer-video]'),
  document.querySelector('.viewer-picture')].map((picture) => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 320, height: 240 });
    const context = canvas.getContext('2d');
    context.drawImage(picture, 0, 0, 320, 240);
    const bits = Array.from({ length: 11 }, (_, bit) =>
      context.getImageData(12 + 24 * bit, 12, 1, 1).data[0] > 128 ? 1 << bit : 0);
    return bits.reduce((sum, bit) => sum + bit, 0);
  })"""


def maps_of(
    evaluation: Evaluation,
    *,
    rows: int,
    columns: int,
    scores: dict[int, float],
    tubelets: int = 1,
    spike: tuple[int, int, int] | None = None,
) -> None:
    """The same map in every frame: these patches have these scores, the others none.

    `spike` is the snippet, tubelet and patch of one single score of 1.
    """
    frames = store.load(evaluation)
    made = []
    for video in frames.videos():
        maps = np.zeros((len(video.scores), tubelets, rows * columns), dtype=np.float32)
        for patch, score in scores.items():
            maps[:, :, patch] = score
        if spike and spike[0] < len(maps):
            maps[spike] = 1
        made.append(
            VideoPatches(
                key=video.key,
                maps=maps,
                kept=np.ones(maps.shape, dtype=bool),
                stage1=video.scores,
                stage2=maps.max(axis=(1, 2)),
                frames=video.frames.astype(np.int64),
            )
        )
    sha = PatchScores.build(made, rows=rows, columns=columns).save(evaluation.patches_path)
    evaluation.patch = {"sha256": sha}
    evaluation.save()


def numbered_film(seeded: seeding.Seeded) -> None:
    """Each picture has its number in it: eleven white or black squares, the lowest bit first."""
    manifest = load_manifest(seeded.version.folder)
    video = next(v for v in manifest.videos if v.key == KEY)
    with av.open(str(Path(manifest.media_root) / video.path), "w") as file:
        stream = file.add_stream("libx264", rate=int(video.fps))
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "24", "g": "12"}
        for n in range(video.num_frames):
            picture = np.zeros((video.height, video.width, 3), dtype=np.uint8)
            for bit in range(11):
                picture[:24, 24 * bit : 24 * bit + 24] = 255 * (n >> bit & 1)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())


def go(page: Page, runs: list[Evaluation], **more: Any) -> None:
    query = [
        *(f"run={e.pk}" for e in runs),
        *(f"{k}={v}" for k, v in {"video": KEY, **more}.items()),
    ]
    page.goto(f"/evaluations/viewer/?{'&'.join(query)}")
    page.wait_for_function(COMPLETE)
    frame_is(page, int(more.get("frame", 0)))


def frame_is(page: Page, number: int) -> None:
    page.wait_for_function(f"() => {DESK}.frame === {number}")
    expect(page.locator("[data-viewer-frame]")).to_have_text(f"{number:,}")


def close(found: list[int], wanted: tuple[int, ...], within: int = 4) -> bool:
    return all(abs(a - b) <= within for a, b in zip(found, wanted, strict=True))
