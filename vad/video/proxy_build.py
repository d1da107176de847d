"""Build proxies: small copies of the videos of a version, as a run.

A run that is started again goes on behind the videos that are done.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch

from vad import devices, results
from vad.configs import ProxiesConfig
from vad.data.manifest import Manifest, Video, load_manifest
from vad.data.tensorfile import file_stem, sync_folder, write_text
from vad.errors import VadError
from vad.reporting import Reporter
from vad.video.proxies import INDEX, VERSION, Proxy, ProxyStore
from vad.video.proxy_encode import clip_copy, disk_full_said, encode, verify


class _StopAsked(Exception):
    """Raised inside the loops when the run was asked to stop, or is about to fail."""


# --- the run ------------------------------------------------------------------------------------


def build(config: ProxiesConfig, *, manifest_dir: Path, output: Path, reporter: Reporter) -> None:
    """Write the proxies of a version into `output/proxies`.

    A video that cannot be read, or only in part, is named in the result and stops nothing. Sends
    Started, Progress (in videos), and Result, or Stopped. Proxies of other settings or of another
    version that lie there are replaced.

    Raises:
        VadError: `run-inputs-missing` when no video has a file; `video-unreadable` when none of
            them can be read; `disk-full`.
    """
    manifest = load_manifest(manifest_dir)
    if not any(v.path for v in manifest.videos):
        raise VadError(
            "run-inputs-missing",
            f"None of the {len(manifest.videos)} videos of {manifest.name} has a video file.",
            "Register the data set with its videos.",
        )
    folder, digest = output / "proxies", _digest(config, manifest)
    work = output / f"partial-{digest}"
    finished = _made_from(folder) == digest  # a kill came after the rename
    with disk_full_said(work):
        if not finished:
            (work / "records").mkdir(parents=True, exist_ok=True)
        left = [] if finished else [v for v in manifest.videos if not _record(work, v).is_file()]
        done = len(manifest.videos) - len(left)
        reporter.send(_started(len(manifest.videos), done))
        for video, proxy in _make_all(config, manifest, left, work, reporter):
            done += 1
            if proxy.problem:
                reporter.log(proxy.problem, "warning")
            reporter.progress(done, len(manifest.videos), "videos", note=video.key)
        if done < len(manifest.videos):
            reporter.send(results.Stopped(step=done))
            return
        if not finished:
            _finish(config, manifest, work, folder, digest)
    store = ProxyStore.open(folder)
    for rest in [*output.glob("partial-*"), folder / "records"]:
        shutil.rmtree(rest, ignore_errors=True)
    reporter.progress(done, done, "videos")
    reporter.send(results.Result(kind=config.kind, data=_summary(store)))


def _started(total: int, done: int) -> results.Started:
    cpu = torch.device("cpu")
    return results.Started(
        pid=os.getpid(),
        device=devices.describe(cpu),
        total=total,
        unit="videos",
        resumed_step=done,
        environment=devices.environment(cpu),
    )


def _make_all(
    config: ProxiesConfig,
    manifest: Manifest,
    videos: list[Video],
    work: Path,
    reporter: Reporter,
) -> Iterator[tuple[Video, Proxy]]:
    """Several at a time, as they get done; ends early when somebody asks for a stop."""
    workers = config.threads or os.cpu_count() or 1
    failed = False
    queue = iter(videos)
    running: dict[Future[Proxy], Video] = {}

    def check() -> None:
        if failed or reporter.stop_requested:
            raise _StopAsked

    with ThreadPoolExecutor(workers, thread_name_prefix="proxy") as pool:
        while True:
            while len(running) < workers and not reporter.stop_requested:
                video = next(queue, None)
                if video is None:
                    break
                running[pool.submit(_make, config, manifest, video, work, check)] = video
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                video = running.pop(future)
                try:
                    yield video, future.result()
                except _StopAsked:
                    continue
                except BaseException:
                    failed = True  # the other threads need not finish their videos
                    raise


def _finish(
    config: ProxiesConfig, manifest: Manifest, work: Path, folder: Path, digest: str
) -> None:
    """Turn the work folder into the finished one: whole, or not there."""
    found = {
        v.key: Proxy(**json.loads(_record(work, v).read_text(encoding="utf-8")))
        for v in manifest.videos
    }
    if not any(proxy.frames for proxy in found.values()):
        shutil.rmtree(work, ignore_errors=True)  # so that a second try looks again
        raise VadError(
            "video-unreadable",
            f"None of the {len(found)} videos of {manifest.name} can be read.",
            "Look at the first of them in a player, and register the data set again.",
            problems=[proxy.problem for proxy in found.values()][:1000],
        )
    entries = {key: dataclasses.asdict(proxy) for key, proxy in found.items()}
    settings = _settings(config)
    content = json.dumps([VERSION, settings, entries], sort_keys=True)
    index = {
        "version": VERSION,
        "fingerprint": hashlib.sha256(content.encode()).hexdigest(),
        "made_from": digest,
        "settings": settings,
        "videos": entries,
    }
    write_text(work / INDEX, json.dumps(index))
    if folder.exists():  # of other settings, or another version
        shutil.rmtree(folder)
    work.rename(folder)
    sync_folder(folder.parent)


def _summary(store: ProxyStore) -> dict[str, Any]:
    made = [proxy for proxy in store.proxies.values() if proxy.frames]
    problems = {key: p.problem for key, p in store.proxies.items() if p.problem}
    return {
        "videos": len(made),
        "incomplete": sum(bool(proxy.problem) for proxy in made),
        "without_proxy": len(store.proxies) - len(made),
        "frames": sum(proxy.frames for proxy in made),
        "size_bytes": sum(proxy.size_bytes + proxy.clip_bytes for proxy in made),
        "fingerprint": store.fingerprint,
        "problems": dict(list(problems.items())[:1000]),
    }


# --- one video ----------------------------------------------------------------------------------


def _make(
    config: ProxiesConfig,
    manifest: Manifest,
    video: Video,
    work: Path,
    check: Callable[[], None],
) -> Proxy:
    """Write one proxy, and the record beside it, which says that it is done."""
    target = work / f"{file_stem(video.key)}.mp4"
    try:
        found = encode(config, manifest, video, target, check)
        verify(target, found.frames)
        if found.clip_file:
            verify(clip_copy(target), found.frames)
    except VadError as exc:
        if exc.code == "disk-full":
            raise
        found = Proxy(problem=f"{video.key} has no proxy: {exc.message}")
    except (OSError, RuntimeError, LookupError, ValueError) as exc:
        # Decoders meet files here that nobody has looked at; one of them must not end the run.
        found = Proxy(problem=f"{video.key} has no proxy: it cannot be decoded ({exc}).")
    if not found.frames:
        target.unlink(missing_ok=True)
        clip_copy(target).unlink(missing_ok=True)
    write_text(_record(work, video), json.dumps(dataclasses.asdict(found)))
    return found


# --- names and digests --------------------------------------------------------------------------


def _settings(config: ProxiesConfig) -> dict[str, Any]:
    """What the copies depend on: not how many threads made them."""
    return {k: v for k, v in config.to_dict().items() if k not in ("device", "threads")}


def _digest(config: ProxiesConfig, manifest: Manifest) -> str:
    videos = [[v.key, v.path, v.num_frames] for v in manifest.videos]
    text = json.dumps([VERSION, _settings(config), manifest.media_root, videos])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _made_from(folder: Path) -> str:
    """The digest of finished proxies; empty where there are none."""
    try:
        return str(json.loads((folder / INDEX).read_text(encoding="utf-8"))["made_from"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _record(work: Path, video: Video) -> Path:
    return work / "records" / f"{file_stem(video.key)}.json"
