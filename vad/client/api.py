"""The client: one object a server and person."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vad.client import asking, files
from vad.client.files import Progress
from vad.client.recorder import Recorder
from vad.client.records import Checkpoint, File, LogPart, Run, Series
from vad.client.sweeps import Sweeps
from vad.client.transport import Transport
from vad.errors import VadError

API = "/api/v1"
RAW_POINTS = 200_000  # that the server answers at once


class Client:
    """A VADLab server, as one person sees it.

        client = Client("https://vadlab.example.org", "vad_…")
        for run in client.runs.list(q="state=running"):
            print(run.name, run.percent)

    Args:
        url, token: by default what `vad.client.settings` finds: VADLAB_URL and VADLAB_TOKEN, or
            the file that `vadlab login` wrote.
        tries: of a request whose server is away.

    Raises:
        VadError: also by every method: what the server said, or `server-unreachable`.
    """

    def __init__(self, url: str = "", token: str = "", *, tries: int = 5):
        if not url or not token:
            from vad.client import settings

            found = settings.find(url=url, token=token)
            url, token = found.url, found.token
        self.transport = Transport(url, token, tries=tries)
        self.runs = Runs(self.transport)
        self.sweeps = Sweeps(self.transport)

    def me(self) -> Mapping[str, Any]:
        """Who the token stands for, and their projects."""
        return self.transport.get(f"{API}/me/")

    def log_run(
        self,
        *,
        project: str = "",
        name: str = "",
        params: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        notes: str = "",
        total: int | None = None,
    ) -> Recorder:
        """Begin a run that this script trains; what it logs is sent in the background.

        A server that is away now is no error: the run begins there as soon as it is back.

        Args:
            project: its slug; by default the person's first.
            params: settings, nested as you like.
            total: steps to come, for the progress bar.

        Raises:
            VadError: the server refuses it: a wrong token, project, name or setting.
        """
        return Recorder(
            self.transport, project=project, name=name, params=params or {}, tags=list(tags),
            notes=notes, total=total,
        )  # fmt: skip


class Runs:
    """Runs of all kinds."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, q: str = "", limit: int | None = None, **query: Any) -> Iterator[Run]:
        """Runs, the newest first, or as `sort` says.

        Args:
            q: a filter, in the language of the runs table: "kind=external auc>0.8".
            limit: at most so many.
            query: more of what docs/api.md lists: sort, cols, project, state, kind, tag.
        """
        page = 200 if limit is None else min(200, limit)
        rows = self._transport.pages(f"{API}/runs/", {"q": q, "limit": page, **query})
        for n, row in enumerate(rows):
            if limit is not None and n >= limit:
                return
            yield Run.of(row)

    def get(self, run_id: str) -> Run:
        return Run.of(self._transport.get(_at(run_id)))

    def find(self, text: str) -> Run:
        """The run of this id, page address or name; of several of one name the newest.

        Raises:
            VadError: `not-found`.
        """
        if known := asking.id_in(text):
            return self.get(known)
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        for run in self.list(q=f'name="{quoted}"', limit=1):
            return self.get(run.id)
        raise VadError("not-found", f"There is no run {text!r}.", "Name it by its id.")

    def create(self, kind: str, config: Mapping[str, Any] | None = None, **more: Any) -> Run:
        """Queue a run. It is not asked for twice, even when no answer came.

        Args:
            more: name, notes, tags, priority, project, version, feature_set, of_run, gpus,
                memory_mb, time_limit_s.
        """
        body = {"kind": kind, "config": dict(config or {})}
        body |= {name: value for name, value in more.items() if value is not None}
        return Run.of(self._transport.post(f"{API}/runs/", body, again=False))

    def create_pipeline(self, **body: Any) -> Sequence[Run]:
        """Queue features, trainings and evaluations that wait for each other: all, or none.

        Args:
            body: kind, train, stage2 (both stages, from the weights of `train`), evaluate, extract,
                proxies (configurations), version or feature_set, seeds, name, tags, priority,
                project, gpus, memory_mb, time_limit_s, as docs/api.md says.
        """
        answer = self._transport.post(f"{API}/pipelines/", body, again=False)
        return [Run.of(row) for row in answer["runs"]]

    def act(self, run_id: str, step: str) -> Run:
        """stop, hold, release or retry."""
        return Run.of(self._transport.post(f"{_at(run_id)}{step}/", again=False))

    def wait(
        self,
        run_id: str,
        *,
        timeout_s: float | None = None,
        every_s: float = 2.0,
        on_update: Callable[[Run], None] | None = None,
    ) -> Run:
        """Wait until a run has ended, however it ended.

        Raises:
            TimeoutError: it has not.
        """
        return asking.wait(
            lambda: self.get(run_id), lambda run: run.has_ended,
            timeout_s=timeout_s, every_s=every_s, on_update=on_update,
        )  # fmt: skip

    def log_part(self, run_id: str, *, offset: int = 0, limit: int = 1 << 20) -> LogPart:
        row = self._transport.get(f"{_at(run_id)}log/", {"offset": str(offset), "limit": limit})
        return LogPart(**row)

    def logs(self, run_id: str, *, follow: bool = False, every_s: float = 1.0) -> Iterator[str]:
        """The log, in pieces of whole lines; with `follow` until the run has ended."""
        offset = 0
        while True:
            part = self.log_part(run_id, offset=offset)
            if part.text:
                yield part.text
            stuck, offset = part.offset == offset, part.offset
            if stuck and not (follow and part.live):
                return
            if stuck:
                time.sleep(every_s)

    def metric_keys(self, run_id: str) -> Sequence[str]:
        return self._metrics(run_id, keys="-", max_points=4)["keys"]

    def last_values(self, run_id: str) -> Mapping[str, float | None]:
        """The last value of every metric that is shown first: at most 50."""
        summaries = self._metrics(run_id, max_points=4)["summaries"]
        return {key: row["last"] for key, row in summaries.items()}

    def metrics(
        self, run_id: str, keys: Sequence[str], *, max_points: int = 1000, raw: bool = False
    ) -> dict[str, Series]:
        """Points of metrics: thinned so that no extreme is lost, or with `raw` all of them."""
        found: dict[str, Series] = {}
        for key in keys:
            query = {"raw": 1} if raw else {"max_points": max_points}
            series = self._metrics(run_id, keys=key, **query)["series"]
            found |= {name: Series.of(row) for name, row in series.items()}
        return found

    def points(self, run_id: str, key: str) -> Iterator[tuple[int, float]]:
        """Every point of a metric, by step, however many there are."""
        ranges = [(-(2**53), 2**53)]
        while ranges:
            low, high = ranges.pop()
            query = {"keys": key, "from": str(low), "to": str(high)}
            part = self._metrics(run_id, **query, max_points=100)["series"].get(key)
            if part is None:
                continue
            if part["total"] > RAW_POINTS:  # halve it where half of the points are
                middle = min(max(low, part["steps"][len(part["steps"]) // 2]), high - 1)
                ranges += [(middle + 1, high), (low, middle)]
                continue
            series = Series.of(self._metrics(run_id, **query, raw=1)["series"][key])
            yield from zip(series.steps, series.values, strict=True)

    def _metrics(self, run_id: str, **query: Any) -> Any:
        return self._transport.get(f"{_at(run_id)}metrics/", query)

    def compare(self, run_ids: Sequence[str], *, keys: Sequence[str] = ()) -> Mapping[str, Any]:
        """Runs side by side, as docs/api.md says: members, metrics, settings that differ."""
        query = {"runs": ",".join(run_ids), "keys": ",".join(keys)}
        return self._transport.get(f"{API}/compare/", query)

    def checkpoints(self, run_id: str) -> Sequence[Checkpoint]:
        answer = self._transport.get(f"{_at(run_id)}checkpoints/")
        return [Checkpoint.of(row) for row in answer["results"]]

    def files(self, run_id: str) -> Sequence[File]:
        """Files that were uploaded to an external run, checkpoints among them."""
        rows = self._transport.pages(f"{API}/external/{run_id}/files/", {"limit": 200})
        return [File.of(row) for row in rows]

    def download_checkpoint(
        self, run_id: str, which: str | int, to: Path, *, progress: Progress | None = None
    ) -> Path:
        """Fetch a checkpoint; goes on with what an earlier try left, and checks the hash.

        Args:
            which: "best", "last" or a step.
            to: a file, or a folder.

        Raises:
            VadError: `file-missing`.
        """
        kept = [c for c in self.checkpoints(run_id) if c.file]
        if which in ("best", "last"):
            best = [c for c in kept if c.best]
            found = (best if which == "best" and best else kept)[-1:]
        else:
            found = [c for c in kept if str(c.step) == str(which)]
        if not found:
            steps = ", ".join(str(c.step) for c in kept[-10:]) or "none"
            raise VadError(
                "file-missing", f"The run keeps no checkpoint {which}.", f"It has: {steps}."
            )
        path = f"{API}/runs/{run_id}/checkpoints/{found[0].step}/file/"
        to = to / f"{run_id}-step-{found[0].step}.safetensors" if to.is_dir() else to
        return files.download(self._transport, path, to, sha256=found[0].sha256,
                              size_bytes=found[0].size_bytes, progress=progress)  # fmt: skip

    def download_file(self, file: File, to: Path, *, progress: Progress | None = None) -> Path:
        """Fetch a file of an external run into a folder, under its own path."""
        return files.download(
            self._transport, file.file, files.inside(to, file.path), sha256=file.sha256,
            size_bytes=file.size_bytes, progress=progress,
        )  # fmt: skip


def _at(run_id: str) -> str:
    return f"{API}/runs/{run_id}/"
