"""What the viewer needs: one video, the runs that scored it, and where its picture comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.urls import reverse
from django.utils.http import urlencode

from vad.errors import VadError
from vad.evaluation.patch_scores import PatchScores
from webapp.accounts.models import User
from webapp.charts import style
from webapp.datasets.media import PROXIES, media_of
from webapp.datasets.models import Video
from webapp.evaluations import maps
from webapp.evaluations import scores as store
from webapp.evaluations.models import Evaluation
from webapp.evaluations.stages import STAGES
from webapp.runs.names import short_names

MOST_RUNS = 9  # one key each
CANDIDATES = 200


@dataclass(frozen=True, kw_only=True)
class Line:
    """One run of the viewer.

    Args:
        number: its place in the address, from 1, and its key.
        name: without what the names of all lines begin with; two of them have to be told apart in
            the corner of a picture.
        problem: why its scores or its maps are missing; what is there is shown.
        evaluated: what the evaluated score is called.
    """

    number: int
    evaluation: Evaluation
    name: str
    problem: VadError | None
    has_maps: bool
    evaluated: str
    without: str = ""  # the address of the viewer without this run


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """One video under n runs.

    Args:
        address: of its own page.
        media_src: its film; empty where `problem` says why there is none.
        proxies_url: the form that builds small copies; for people who may queue runs.
        data: what the scripts are given, see `_data`.
    """

    key: str
    lines: list[Line]
    data: dict[str, Any]
    address: str
    timeline_src: str
    media_src: str = ""
    problem: VadError | None = None
    proxies_url: str = ""
    frame: int = 0
    num_frames: int = 0
    fps: float = 0.0
    width: int = 0
    height: int = 0

    @property
    def has_maps(self) -> bool:
        return any(line.has_maps for line in self.lines)

    @property
    def has_stage(self) -> bool:
        """Whether there is anything to see, a picture or a map."""
        return bool(self.media_src) or self.has_maps

    @property
    def timeline_title(self) -> str:
        return f"Score of {self.key}"

    @property
    def rows(self) -> int:
        """Of the finest grid."""
        return max((run["grid"][0] for run in self.data["runs"] if run["grid"]), default=0)

    @property
    def columns(self) -> int:
        return max((run["grid"][1] for run in self.data["runs"] if run["grid"]), default=0)

    @property
    def mapped(self) -> int:
        return sum(line.has_maps for line in self.lines)


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The evaluations of an address, in its order, and what of it could not be taken."""

    evaluations: list[Evaluation]
    notes: list[str]


def chosen(user: User, ids: Sequence[UUID]) -> Chosen:
    """The evaluations that these ids mean, as far as the person may see them.

    An id is that of an evaluate run, or of a run that was evaluated: then its newest one is meant.
    All are of the data set version of the first one.
    """
    rows = (
        Evaluation.objects.visible_to(user)
        .select_related("run", "of_run", "version__dataset")
        .order_by("created_at")
    )
    by_id: dict[UUID, Evaluation] = {}
    by_id |= {e.of_run_id: e for e in rows.filter(of_run__in=ids)}
    by_id |= {e.pk: e for e in rows.filter(pk__in=ids)}
    found = list(dict.fromkeys(by_id[pk] for pk in ids if pk in by_id))
    lost = sum(pk not in by_id for pk in ids)
    notes = []
    if lost:
        what = "A run of this link was" if lost == 1 else f"{lost} runs of this link were"
        notes.append(f"{what} not evaluated, or not there any more.")
    same = [e for e in found if e.version_id == found[0].version_id]
    notes += [
        f"{e.of_run.name} was evaluated on {e.version}, the first run on {found[0].version}: "
        "it has other videos and is left out."
        for e in found
        if e not in same
    ]
    if len(same) > MOST_RUNS:
        notes.append(f"Only the first {MOST_RUNS} runs are shown.")
    return Chosen(evaluations=same[:MOST_RUNS], notes=notes)


def candidates(user: User, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Evaluations that could join: of the same version, the newest first."""
    if not evaluations or len(evaluations) >= MOST_RUNS:
        return []
    rows = Evaluation.objects.visible_to(user).filter(version=evaluations[0].version_id)
    rows = rows.exclude(pk__in=[e.pk for e in evaluations]).select_related("of_run")
    return list(rows.defer("patch", "stages").order_by("-created_at")[:CANDIDATES])


def viewer_of(
    evaluations: Sequence[Evaluation], key: str, *, frame: str = "", can_edit: bool = False
) -> Viewer:
    """The viewer of a video under evaluations of one version.

    Args:
        frame: of the address; where it opens.
    """
    names = short_names([e.of_run.name for e in evaluations])
    found = [
        _line(number, e, key, name)
        for number, (e, name) in enumerate(zip(evaluations, names, strict=True), start=1)
    ]
    lines = [
        dataclasses.replace(
            line, without=_address([e for e in evaluations if e is not line.evaluation], key)
        )
        for line, _ in found
    ]
    num_frames = max((frames for _, frames in found), default=0)
    version = evaluations[0].version
    wanted = urlencode({"kind": PROXIES, "version": str(version.pk)})
    viewer = Viewer(
        key=key,
        lines=lines,
        data=_data(lines, key),
        address=_address(evaluations, key),
        timeline_src=_address(evaluations, key, "viewer-timeline"),
        proxies_url=f"{reverse('runs:new')}?{wanted}" if can_edit else "",
        frame=_frame(frame, num_frames),
        num_frames=num_frames,
    )
    video = Video.objects.filter(version=version.pk, key=key).first()
    if video is None:
        return viewer
    video.version = version
    try:
        media = media_of(video)
    except VadError as exc:
        return dataclasses.replace(
            viewer, problem=exc, fps=video.fps, width=video.width, height=video.height
        )
    src = reverse("datasets:media", args=[version.pk, video.pk])
    return dataclasses.replace(
        viewer, media_src=src, fps=media.fps, width=media.width, height=media.height
    )


def _address(evaluations: Sequence[Evaluation], key: str, name: str = "viewer") -> str:
    query = urlencode([*(("run", str(e.pk)) for e in evaluations), ("video", key)])
    return f"{reverse(f'evaluations:{name}')}?{query}"


def _line(number: int, evaluation: Evaluation, key: str, name: str) -> tuple[Line, int]:
    """A run, and how many frames of the video it scored."""
    problem, num_frames, patches = None, 0, None
    try:
        scores = store.load(evaluation)
        if key in scores.index:
            num_frames = scores.video(key).num_frames
        else:
            problem = _without(evaluation, key)
    except VadError as exc:
        problem = exc
    if evaluation.has_maps:
        try:
            patches = _patches(evaluation, key)
        except VadError as exc:
            problem = exc
    if patches is not None and not num_frames:
        v = patches.index[key]
        num_frames = int(patches.frames[patches.offsets[v] : patches.offsets[v + 1]].sum())
    score = str(evaluation.run.config.get("score", "fused"))
    stage = score in ("stage1", "stage2")
    line = Line(
        number=number,
        evaluation=evaluation,
        name=name,
        problem=problem,
        has_maps=patches is not None,
        evaluated=f"Evaluated ({STAGES[score][0].lower()})" if stage else "Fused",
    )
    return line, num_frames


def _patches(evaluation: Evaluation, key: str) -> PatchScores | None:
    """None where the evaluation has no map of this video."""
    patches = maps.load(evaluation)
    return patches if key in patches.index else None


def _without(evaluation: Evaluation, key: str) -> VadError:
    return VadError(
        "not-found", f"{evaluation.of_run.name} did not score {key}.", "Choose another video."
    )


def _data(lines: Sequence[Line], key: str) -> dict[str, Any]:
    """For the scripts: `video`; `truth`, anomalous intervals of frames; `runs`, one a line:

    `id`, `name`, `color`, `dash`, `starts` and `scores` a snippet, `frames` of the video, the
    addresses `maps` and `where` (the truth in the frame), `grid` [rows, columns, tubelets].
    """
    runs, truth = [], None
    for line in lines:
        evaluation = line.evaluation
        look = style(evaluation.of_run.color)
        starts: list[int] = []
        values: list[float] = []
        frames = 0
        try:
            scores = store.load(evaluation)
            if key in scores.index:
                video = scores.video(key)
                starts, values = video.start_frames.tolist(), video.scores.tolist()
                frames = video.num_frames
                truth = truth or store.truth_of(evaluation, key, scores)
        except VadError:
            pass  # the line says so
        query = f"?{urlencode({'video': key})}"
        patches = maps.load(evaluation) if line.has_maps else None
        runs.append(
            {
                "id": str(evaluation.pk),
                "name": line.name,
                "color": look.color,
                "dash": look.dash,
                "starts": starts,
                "scores": values,
                "frames": frames,
                "maps": reverse("api:evaluation-maps", args=[evaluation.pk]) + query
                if patches
                else "",
                "where": reverse("api:evaluation-truth", args=[evaluation.pk]) + query,
                "grid": [patches.rows, patches.columns, patches.tubelets] if patches else None,
            }
        )
    return {"video": key, "truth": truth or [], "runs": runs}


def _frame(text: str, num_frames: int) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    return max(0, min(number, num_frames - 1))
