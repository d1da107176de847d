"""Trains nothing, but lives like vad/training/engine.py: metrics, checkpoints, resume, stop.

python trainer.py SECONDS_A_STEP GATE train urdmu --config FILE --output DIR …

While the file GATE is there, it makes no further step, but stops when it is told to. Its weights
are a digest that every step digests again with the run's seed, so that one step missed or made
twice shows in the last ones. Where another process works on the same run, it leaves a file
"overlapped".
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from vad import results
from vad.reporting import JsonReporter, exit_when_parent_dies


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("step_s", type=float)
    parser.add_argument("gate", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--output", type=Path)
    args, _ = parser.parse_known_args()
    config = json.loads(args.config.read_text())
    reporter = JsonReporter()
    reporter.stop_on_signals()
    exit_when_parent_dies()
    alone = (args.output / "alone").open("w")
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel drops it with the process
    except BlockingIOError:
        (args.output / "overlapped").touch()
    folder = args.output / "checkpoints"
    folder.mkdir(exist_ok=True)
    done = max((int(p.stem.split("-")[1]) for p in folder.glob("step-*.safetensors")), default=0)
    weights = path_at(folder, done).read_text() if done else ""
    total = config["num_epochs"]
    known = max(0, done - results.RESEND_STEPS)
    reporter.send(
        results.Started(
            pid=os.getpid(), device="cpu", total=total, unit="steps", resumed_step=known
        )
    )
    if done:  # whoever listened before may have died without storing all of it
        reporter.send(describe(folder, done))
    for step in range(known + 1, done + 1):
        reporter.send(results.Metrics(step=step, values={"loss/total": 1 / step}))
    for step in range(done + 1, total + 1):
        time.sleep(args.step_s)
        while args.gate.exists() and not reporter.stop_requested:
            time.sleep(0.01)
        weights = after_step(weights, config["seed"], step)
        reporter.send(results.Metrics(step=step, values={"loss/total": 1 / step}))
        reporter.progress(step, total, "steps")
        if step % config["checkpoint_every"] == 0 or step == total or reporter.stop_requested:
            reporter.send(write(folder, step, weights))
        if reporter.stop_requested and step < total:
            reporter.send(results.Stopped(step=step))
            return results.EXIT_STOPPED
    reporter.send(results.Result(kind="train-urdmu", data={"metrics": {}}))
    return results.EXIT_OK


def after_step(weights: str, seed: int, step: int) -> str:
    return hashlib.sha256(f"{weights} {seed} {step}".encode()).hexdigest()


def undisturbed(seed: int, steps: int) -> str:
    """SHA-256 of the last checkpoint of a run that nobody disturbs."""
    weights = ""
    for step in range(1, steps + 1):
        weights = after_step(weights, seed, step)
    return hashlib.sha256(weights.encode()).hexdigest()


def path_at(folder: Path, step: int) -> Path:
    return folder / f"step-{step:06}.safetensors"


def write(folder: Path, step: int, weights: str) -> results.CheckpointWritten:
    path = path_at(folder, step)
    beside = path.with_suffix(".part")
    beside.write_text(weights)
    beside.rename(path)
    return describe(folder, step)


def describe(folder: Path, step: int) -> results.CheckpointWritten:
    path = path_at(folder, step)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return results.CheckpointWritten(
        step=step, path=f"checkpoints/{path.name}", sha256=digest, size_bytes=path.stat().st_size,
        best=True,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
