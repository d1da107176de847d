"""The training loop: steps, evaluations, checkpoints, stop and resume. It knows no model.

A checkpoint is copied to memory between two steps, then hashed, written and synced by a thread of
its own while training goes on: a GPU would else wait for the disk.

A checkpoint also keeps the metrics of the last `results.RESEND_STEPS` steps. A resumed run sends
them once more: whoever listened may have died before they were stored, and a chart must not have a
hole. For the same reason it names the checkpoints again that it has.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vad import devices, results
from vad.configs import config_class
from vad.errors import VadError
from vad.reporting import Reporter
from vad.training import checkpoints
from vad.training.adam import Adam
from vad.training.averaging import Average
from vad.training.determinism import seeded
from vad.training.parallel import World

# Settings that may differ between a checkpoint and the run that goes on from it.
FREE_TO_DIFFER = ("device", "num_epochs", "watched_bags")


class Task(Protocol):
    """What one kind of training brings along."""

    optimizer: Adam
    device: torch.device
    seed: int

    @property
    def model(self) -> nn.Module:
        """The weights that the optimiser changes."""

    def losses(self, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        """The terms of step k, 0-d; `total` is the one to minimise.

        Parts of `total` that are constants here may have left their gradients already.
        """

    def learning_rate(self, step: int) -> float:
        """Of step k."""

    def evaluate(self) -> dict[str, float]:
        """Metrics of the model as it is, by full key (`validation/video_auc`)."""

    def observe(self, step: int, output: Path) -> None:
        """Leave in the run's folder what people look at after `step` steps; change nothing."""

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree on: configuration, architecture, data."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long, how often, and what `best` means."""

    kind: str
    steps: int
    eval_every: int
    checkpoint_every: int
    best_key: str | None  # the metric whose highest value is best; None: the last step
    average_decay: float = 0.0  # of the weights that are evaluated and kept; 0: those of the step


@dataclass
class _Best:
    step: int = 0
    value: float = -math.inf
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Writing:
    """A checkpoint on its way to the disk, and what was best when it was taken."""

    written: Future[checkpoints.Written]
    best_step: int
    measured: Mapping[str, float]


class Trainer:
    """One run from its newest checkpoint, or from the start, to its end or to a stop.

    Args:
        task: model, data and losses.
        plan: the schedule.
        output: the run's folder; checkpoints lie in `checkpoints/` below it.
        reporter: hears everything, and says when to stop; silent in all processes but the first.
        world: the processes that train together.
        keep_all: no checkpoint is removed; whoever started the run decides which are kept.
    """

    def __init__(
        self,
        task: Task,
        plan: Plan,
        output: Path,
        reporter: Reporter,
        world: World | None = None,
        *,
        keep_all: bool = False,
    ) -> None:
        self.world = world or World()
        self.keep_all = keep_all
        self.task, self.plan, self.output, self.reporter = task, plan, output, reporter
        self.average = Average(task.model, plan.average_decay) if plan.average_decay else None
        self.step = 0
        self.best = _Best()
        self.last_metrics: dict[str, float] = {}
        self._recent: deque[tuple[int, dict[str, float]]] = deque(maxlen=results.RESEND_STEPS)
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._writing: _Writing | None = None
        self._kept: list[checkpoints.Written] = []  # of this run, newest last
        self._bests_kept: dict[int, int] = {}  # checkpoint step to the best step it names
        self._measured: dict[int, Mapping[str, float]] = {}  # at checkpoints that are kept
        self._evaluated = 0  # step of `last_metrics`

    def run(self, **extra: Any) -> bool:
        """Train. True: the plan is done and a Result was sent; False: stopped, and it said so.

        Args:
            extra: more for the Result's data.

        Raises:
            VadError: `loss-not-finite`, `disk-full`, or `checkpoint-invalid`.
        """
        devices.keep_freed_memory(self.task.device)
        try:
            return self._run(extra)
        except BaseException:
            with suppress(VadError):  # what is on its way is a good checkpoint
                self._settle()
            raise
        finally:
            self._writer.shutdown()

    def _run(self, extra: Mapping[str, Any]) -> bool:
        self._resume()
        plan, send = self.plan, self.reporter.send
        while self.step < plan.steps:
            if self.world.any(self.reporter.stop_requested, self.task.device):
                self._checkpoint()
                self._settle()
                send(results.Stopped(step=self.step))
                return False
            values = self._train_step(self.step + 1)
            self.step += 1
            ends = self.step == plan.steps
            improved = False
            if ends or self.step % plan.eval_every == 0:
                found = self._evaluate() if self.world.speaks else {}
                values |= found
                self.last_metrics, self._evaluated = found, self.step
                improved = self._is_best(found)
            self._recent.append((self.step, values))
            send(results.Metrics(step=self.step, values=values))
            if ends or improved or self.step % plan.checkpoint_every == 0:
                self._checkpoint()
            if self._writing and self._writing.written.done():
                self._settle()
            self.reporter.progress(self.step, plan.steps, "steps")
        self._settle()
        if self.world.speaks:
            send(results.Result(kind=plan.kind, data={**self._result(), **extra}))
        return True

    def _train_step(self, step: int) -> dict[str, float]:
        """One update of the weights; the step's losses and its duration."""
        started_s = time.perf_counter()
        task = self.task
        task.model.train()
        with seeded(task.device, task.seed, "step", step, rank=self.world.rank) as generator:
            task.model.zero_grad(set_to_none=True)
            losses = task.losses(step, generator)
            losses["total"].backward()
        gradients = [p.grad for p in task.model.parameters() if p.grad is not None]
        terms = torch.stack([v.detach() for v in losses.values()])
        self.world.average([*gradients, terms])
        norm = torch.nn.utils.get_total_norm(gradients)
        # One transfer for all numbers: on a GPU each would be a wait.
        *values, size = torch.cat([terms, norm[None]]).tolist()
        named = dict(zip(losses, values, strict=True))
        if not (math.isfinite(named["total"]) and math.isfinite(size)):
            raise self._not_finite(step, named)
        task.optimizer.step(task.learning_rate(step))
        if self.average:
            self.average.update(step)
        metrics = {f"loss/{name}": value for name, value in named.items()}
        return {**metrics, "time/step_s": time.perf_counter() - started_s}

    def _evaluate(self) -> dict[str, float]:
        """What the weights that would be kept reach."""
        with self.average.in_place() if self.average else nullcontext():
            self.task.observe(self.step, self.output)
            return self.task.evaluate()

    def _not_finite(self, step: int, losses: Mapping[str, float]) -> VadError:
        bad = [name for name, value in losses.items() if not math.isfinite(value)]
        if bad:
            what = f"The loss became infinite or not a number (terms: {', '.join(bad)})"
        else:
            named = self.task.model.named_parameters()
            names = [n for n, p in named if p.grad is not None and not p.grad.isfinite().all()]
            where = f" of {names[0]}" if names else ""
            what = f"The gradient{where} became infinite or not a number"
        kept = f"step {self._kept[-1].step}" if self._kept else "none was written yet"
        return VadError(
            "loss-not-finite",
            f"{what} at step {step}.",
            "Lower the learning rate (lr), or check the features for values out of the ordinary. "
            f"Last good checkpoint: {kept}.",
        )

    def _is_best(self, found: Mapping[str, float]) -> bool:
        """Note a new best. Of equal values the later one counts: it has learned for longer."""
        if self.plan.best_key is None:
            return False
        value = found.get(self.plan.best_key)
        if value is None or value < self.best.value:
            return False
        self.best = _Best(self.step, value, dict(found))
        return True

    def _best_step(self) -> int:
        """Step of the best checkpoint; the newest while nothing was evaluated."""
        return self.best.step or self.step

    def _checkpoint(self) -> None:
        """Take the state after `step` steps, unless it is on disk, and have it written."""
        self._settle()
        if not self.world.speaks or (self._kept and self._kept[-1].step == self.step):
            return
        task = self.task
        own = task.model.state_dict()
        tensors = {checkpoints.ADAM + k: v for k, v in task.optimizer.tensors().items()}
        if self.average:
            tensors |= {checkpoints.TRAINED + k: v for k, v in own.items()}
            own = self.average.state()
        tensors |= {checkpoints.MODEL + k: v for k, v in own.items()}
        measured = self.last_metrics if self._evaluated == self.step else {}
        metadata = {
            "kind": self.plan.kind,
            "best_key": self.plan.best_key,
            "best": {"step": self.best.step, "metrics": self.best.metrics}
            | ({"value": self.best.value} if self.best.step else {}),
            "metrics": self.last_metrics,
            "measured": measured,
            "recent": list(self._recent),
            **task.identity(),
        }
        held = {k: v.detach().to("cpu", copy=True) for k, v in tensors.items()}
        self._writing = _Writing(
            self._writer.submit(checkpoints.save, self.output, self.step, held, metadata),
            self._best_step(),
            measured,
        )

    def _settle(self) -> None:
        """Wait for the checkpoint that is being written, name it, and remove what is not needed.

        Kept are the newest, the one before it in case the newest is damaged, and the best of each;
        with `keep_all` every one.

        Raises:
            VadError: `disk-full`; earlier checkpoints are unharmed.
        """
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        written = writing.written.result()
        self._kept.append(written)
        self._bests_kept[written.step] = writing.best_step
        self._measured[written.step] = writing.measured
        self._prune()
        self._send_written(written)

    def _send_written(self, written: checkpoints.Written) -> None:
        self.reporter.send(
            results.CheckpointWritten(
                step=written.step,
                path=written.path,
                sha256=written.sha256,
                size_bytes=written.size_bytes,
                best=written.step == self._bests_kept[written.step],
                metrics=self._measured.get(written.step, {}),
            )
        )

    def _prune(self) -> None:
        if not self.world.speaks:
            return
        newest = [w.step for w in self._kept[-2:]]
        steps = {*newest, *(self._bests_kept[s] for s in newest)}
        if self.keep_all:
            steps |= {s for s in checkpoints.steps_of(self.output) if s <= self.step}
        checkpoints.prune(self.output, [checkpoints.name_of(s) for s in steps])
        self._kept = [w for w in self._kept if w.step in steps]
        self._measured = {s: v for s, v in self._measured.items() if s in steps}

    def _resume(self) -> None:
        """Take up the newest checkpoint, if there is one, and say where the run stands."""
        found = checkpoints.newest(self.output, self.reporter.log)
        if found is not None:
            self._restore(found)
        task = self.task
        self.reporter.send(
            results.Started(
                pid=os.getpid(),
                device=devices.describe(task.device),
                total=self.plan.steps,
                unit="steps",
                resumed_step=self.step - len(self._recent),
                environment=devices.environment(task.device) | _origin(task.identity()),
            )
        )
        for written in self._kept:  # whoever listened forgot those after `resumed_step`
            self._send_written(written)
        for step, values in self._recent:
            self.reporter.send(results.Metrics(step=step, values=values))
        if found is not None:
            self.reporter.log(f"goes on after step {self.step}, from {found.path.name}")

    def _restore(self, found: checkpoints.Checkpoint) -> None:
        self._check_identity(found)
        source, kept = found.path, found.part(checkpoints.MODEL)
        checkpoints.load_weights(self.task.model, kept, source)
        if self.average:
            self.average.restore(kept)
            trained = found.part(checkpoints.TRAINED)
            checkpoints.load_weights(self.task.model, trained, source)
        checkpoints.load_adam(self.task.optimizer, found)
        self.step = found.step
        held = found.metadata["best"]
        if held["step"]:
            self.best = _Best(held["step"], float(held["value"]), dict(held["metrics"]))
        self.last_metrics = dict(found.metadata["metrics"])
        self._recent.extend((int(s), dict(v)) for s, v in found.metadata["recent"])
        if not (self.output / checkpoints.name_of(self._best_step())).is_file():
            self.reporter.log(f"the best checkpoint so far, of step {self.best.step}, is gone")
            self.best = _Best()
        self._take_up({self._best_step(), self.step})
        if self.keep_all:
            again = range(self.step - len(self._recent) + 1, self.step)
            self._take_up(s for s in checkpoints.steps_of(self.output) if s in again)
        # Later ones, if any, were damaged: this run will write them anew.
        self._prune()

    def _take_up(self, steps: Iterable[int]) -> None:
        """Count checkpoints that are on disk among those kept; damaged ones are passed over."""
        for step in {*steps} - {w.step for w in self._kept}:
            written = checkpoints.file_record(self.output, step)
            if written is None:
                continue
            with suppress(VadError):
                header = checkpoints.read_metadata(self.output / written.path)
                self._kept.append(written)
                self._bests_kept[step] = header["best"]["step"] or step
                self._measured[step] = dict(header.get("measured", {}))
        if self.best.step in self._bests_kept:
            self._measured[self.best.step] = dict(self.best.metrics)
        self._kept.sort(key=lambda w: w.step)

    def _check_identity(self, found: checkpoints.Checkpoint) -> None:
        for part, own in self.task.identity().items():
            held = found.metadata.get(part)
            if part == "config" and isinstance(held, Mapping):
                # A setting that is younger than the checkpoint was at its default then.
                fields = config_class(self.plan.kind).json_schema()["properties"]
                held = {**{k: spec["default"] for k, spec in fields.items()}, **held}
            if held == own:
                continue
            names = [part]
            if isinstance(own, Mapping) and isinstance(held, Mapping):
                differ = [k for k in own if own[k] != held.get(k) and k not in FREE_TO_DIFFER]
                if not differ:
                    continue
                names = [f"{part} {k}: {held.get(k)}, now {own[k]}" for k in differ]
            raise VadError(
                "checkpoint-invalid",
                f"{self.output} holds checkpoints of another run ({'; '.join(names)}).",
                "Choose an empty output folder, or start the run with its old settings.",
            )

    def _result(self) -> dict[str, Any]:
        by_step = {w.step: w.to_dict() for w in self._kept}
        last = by_step[self.step]
        best = by_step.get(self._best_step(), last) if self.plan.best_key else last
        is_last = best is last
        return {
            "best": best,
            "last": last,
            "metrics": self.last_metrics if is_last else self.best.metrics,
            "last_metrics": self.last_metrics,
        }


def _origin(identity: Mapping[str, Any]) -> dict[str, str]:
    """Hashes of what a run was really given: features that it read, weights that it began with."""
    found = {
        "features_sha256": identity.get("data", {}).get("features"),
        "start_sha256": identity.get("start"),
        "encoder_start_sha256": identity.get("encoder_start"),
    }
    return {name: value for name, value in found.items() if value}
