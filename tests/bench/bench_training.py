"""UR-DMU's training step beside a plain port of the published one, and what scoring costs.

    python tests/bench/bench_training.py [--batch 64] [--steps 6] [--run 3000]

Both steps see the same weights, bags and noise, without dropout, and must give the same loss. With
`--run` the whole loop trains for so many steps (data, evaluations, checkpoints), on a GPU if there
is one.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch
from port_urdmu import PortedUrDmu, ported_loss
from torch import Tensor

from vad import devices, results
from vad.configs import UrdmuConfig
from vad.data.feature_writer import StoreWriter
from vad.data.features import FeatureStore
from vad.data.manifest import Manifest, Truth, Video, save_version
from vad.losses import ad_loss
from vad.models.urdmu import UrDmu
from vad.reporting import Reporter
from vad.scoring import score_videos
from vad.timeline import SnippetRule
from vad.training.urdmu import train

STEP_BUDGET = 1.4  # times as fast as the port, CPU, float32
RUN_BUDGET_S, SCORE_BUDGET_S = 60.0, 3.0  # on a GPU


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=64, help="normal bags, and abnormal ones")
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--run", type=int, default=0, metavar="STEPS")
    args = parser.parse_args()
    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    print(
        f"torch {torch.__version__}, {devices.describe(device)}, {torch.get_num_threads()} threads"
    )
    missed = False
    long_video(device)  # first: a CPU's peak memory can only be read while it rises
    for segments in (200, 32):
        ratio = compare(args.batch, segments, args.dim, args.steps, device)
        missed |= not gpu and ratio < STEP_BUDGET
    if not gpu:  # as training does; for good, so both steps have it from here on
        devices.keep_freed_memory(device)
        print("with the memory that was freed kept:")
        compare(args.batch, 200, args.dim, args.steps, device)
    if gpu:
        for precision, compiled in (("tf32", False), ("bfloat16", False), ("bfloat16", True)):
            faster(args.batch, 200, args.dim, args.steps, precision, compiled)
    score(device, videos=290 if gpu else 12, dim=args.dim)
    if args.run:
        kinds = [("float32", False)]
        if gpu:
            kinds += [("tf32", False), ("bfloat16", False), ("bfloat16", True)]
        spent = [whole_run(args.run, args.batch, args.dim, *kind) for kind in kinds]
        missed |= gpu and min(spent) > RUN_BUDGET_S
    return int(missed)


def bags(batch: int, segments: int, dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(1)
    both = torch.randn(2, batch, segments, dim, generator=made).abs_()
    return both[0].to(device), both[1].to(device)


def timed(steps: int, device: torch.device, calls: list[Callable[[], object]]) -> list[list[float]]:
    """Seconds of each call, taken in turns so that a busy moment hits all of them."""
    spent: list[list[float]] = [[] for _ in calls]
    for turn in range(steps + 1):
        for place, call in enumerate(calls):
            begin = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:  # the first one warms up
                spent[place].append(time.perf_counter() - begin)
    return spent


def compare(batch: int, segments: int, dim: int, steps: int, device: torch.device) -> float:
    """Ratio of the medians, the port's step over ours."""
    normal, abnormal = bags(batch, segments, dim, device)
    noise = torch.randn(batch, segments, 512, generator=torch.Generator().manual_seed(2)).to(device)
    torch.manual_seed(0)
    ours = UrDmu(dim, dropout=0.5).to(device)
    port = PortedUrDmu(dim, dropout=0.5).to(device)
    port.load_state_dict(ours.state_dict())
    optimizers = [
        torch.optim.Adam(ours.parameters(), lr=1e-4, weight_decay=5e-5, fused=True),
        torch.optim.Adam(port.parameters(), lr=1e-4, weight_decay=5e-5),
    ]

    def our_loss() -> Tensor:
        return ad_loss(ours.forward_bags(normal, abnormal, noise=noise))["total"]

    def port_loss() -> Tensor:
        return ported_loss(port(torch.cat([normal, abnormal]), noise))

    ours.eval(), port.eval()  # the same numbers: compared without dropout, timed with it
    with torch.no_grad():
        a, b = our_loss().item(), port_loss().item()
    ours.train(), port.train()

    def step(loss: Callable[[], Tensor], optimizer: torch.optim.Optimizer) -> Callable[[], object]:
        def call() -> None:
            optimizer.zero_grad(set_to_none=True)
            loss().backward()
            optimizer.step()

        return call

    both = [step(our_loss, optimizers[0]), step(port_loss, optimizers[1])]
    peaks = [peak(call, device) for call in both]
    own, theirs = timed(steps, device, both)
    ratio = statistics.median(theirs) / statistics.median(own)
    print(
        f"step, {batch}+{batch} x {segments} x {dim}, float32: {statistics.median(own) * 1e3:.0f} "
        f"ms, the port {statistics.median(theirs) * 1e3:.0f} ms: {ratio:.2f} times as fast at the "
        f"median, {min(theirs) / min(own):.2f} at the fastest; losses {a:.6f} and {b:.6f}"
    )
    if peaks[0]:
        print(f"  peak memory {peaks[0] / 1e9:.2f} GB, the port {peaks[1] / 1e9:.2f} GB")
    if abs(a - b) > 1e-4 * abs(b):
        raise SystemExit("the two steps do not compute the same loss")
    return ratio


def peak(call: Callable[[], object], device: torch.device) -> int:
    """Bytes at the highest point of one call; 0 on a CPU, where torch does not count them."""
    if device.type != "cuda":
        return 0
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()


def faster(batch: int, segments: int, dim: int, steps: int, precision: str, compiled: bool) -> None:
    device = torch.device("cuda")
    normal, abnormal = bags(batch, segments, dim, device)
    noise = torch.randn(batch, segments, 512, device=device)
    model = UrDmu(dim).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=5e-5, fused=True)
    forward = model.forward_bags
    if compiled:
        forward = torch.compile(forward, dynamic=False, mode="reduce-overhead")

    def step() -> None:
        with devices.autocast(precision, device):
            out = forward(normal, abnormal, noise=noise)
        optimizer.zero_grad(set_to_none=True)
        ad_loss(out)["total"].backward()
        optimizer.step()

    with devices.fast_products(precision, device):
        begin = time.perf_counter()
        step()
        torch.cuda.synchronize()
        first = time.perf_counter() - begin
        (spent,) = timed(max(steps, 30), device, [step])
        peaked = peak(step, device)
    words = f"{precision}, compiled (first step {first:.0f} s)" if compiled else precision
    print(
        f"step, {batch}+{batch} x {segments} x {dim}, {words}: "
        f"{statistics.median(spent) * 1e3:.1f} ms, peak memory {peaked / 1e9:.2f} GB"
    )


def make_store(folder: Path, lengths: dict[str, int], crops: int, dim: int) -> FeatureStore:
    rng = np.random.default_rng(0)
    pool = rng.random((crops, max(lengths.values()), dim), dtype=np.float32)
    with StoreWriter(folder, dim=dim, rule=SnippetRule(), extractor="bench") as writer:
        for key, length in lengths.items():
            writer.add(key, pool[:, :length])
        return writer.close()


def score(device: torch.device, *, videos: int, dim: int) -> None:
    lengths = np.random.default_rng(0).lognormal(4.7, 1.1, videos)
    lengths = np.maximum(4, lengths * (240 * videos / lengths.sum())).astype(int)
    model = UrDmu(dim).to(device)
    with tempfile.TemporaryDirectory() as folder:
        named = {f"v{i}": int(n) for i, n in enumerate(lengths)}
        store = make_store(Path(folder) / "store", named, 10, dim)
        list(score_videos(model, store, ["v0"], device))
        begin = time.perf_counter()
        with devices.fast_products("tf32", device):
            total = sum(len(values) for _, values in score_videos(model, store, named, device))
        spent = time.perf_counter() - begin
    print(
        f"scoring {videos} videos x 10 crops: {spent:.2f} s, "
        f"{10 * total / spent:,.0f} snippets of one crop a second"
    )
    if device.type == "cuda":
        print(f"  {spent / SCORE_BUDGET_S:.2f} of its budget of {SCORE_BUDGET_S:.0f} s")


def long_video(device: torch.device) -> None:
    """The longest UCF-Crime test video: memory that grew with the square would be 7 GB a head."""
    model = UrDmu(64).to(device)
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "store", {"long": 6749}, 10, 64)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        used = peak(lambda: list(score_videos(model, store, ["long"], device)), device)
        if device.type == "cpu":
            list(score_videos(model, store, ["long"], device))
            used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(f"a video of 6,749 snippets x 10 crops: {used / 1e6:,.0f} MB more at its peak")


class Clock(Reporter):
    """Adds up what the steps themselves took."""

    steps_s = 0.0

    def send(self, record: results.Record) -> None:
        if isinstance(record, results.Metrics):
            self.steps_s += record.values["time/step_s"]


def whole_run(steps: int, batch: int, dim: int, precision: str, compiled: bool) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        videos, truth, lengths = [], {}, {}
        rng = np.random.default_rng(0)
        for split, each in (("train", 400), ("test", 60)):
            for label in (0, 1):
                for i in range(each):
                    key, length = f"{split}-{label}-{i}", int(rng.integers(40, 400))
                    classes = ("Burst",) if label else ()
                    videos.append(
                        Video(
                            key=key,
                            split=split,
                            label=label,
                            classes=classes,
                            num_frames=16 * length,
                        )
                    )
                    lengths[key] = length
                    if label:
                        truth[key] = Truth(intervals=((160, 320),))
        (folder / "data").mkdir()
        save_version(
            folder / "data", Manifest(name="b", format="generic", videos=tuple(videos)), truth
        )
        make_store(folder / "features", lengths, 1, dim)
        config = UrdmuConfig(
            num_epochs=steps, batch_size=batch, precision=precision, compile=compiled
        )
        clock, begin = Clock(), time.perf_counter()
        train(
            config,
            manifest_dir=folder / "data",
            features_dir=folder / "features",
            output=folder / "run",
            reporter=clock,
        )
        spent = time.perf_counter() - begin
    words = f"{precision}, compiled" if compiled else precision
    print(
        f"run of {steps} steps, {batch}+{batch} x 200 x {dim}, {words}, with "
        f"{steps // config.eval_every} evaluations and {steps // config.checkpoint_every} "
        f"checkpoints: {spent:.1f} s, {clock.steps_s:.1f} s of it the steps"
    )
    return spent


if __name__ == "__main__":
    sys.exit(main())
