"""The alignment doctor: what does not line up, by how much, and which rule settles it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vad import cli
from vad.configs import RegisterConfig
from vad.data import formats, versions
from vad.data.doctor import Report, examine
from vad.data.feature_writer import StoreWriter
from vad.data.features import FeatureStore
from vad.data.manifest import SPLITS, Manifest, Track, Truth, Video
from vad.data.packing import pack_npy
from vad.data.register import register
from vad.errors import VadError
from vad.reporting import Reporter
from vad.timeline import SnippetRule, suggest_rule

HOLD = SnippetRule()


class Collecting(Reporter):
    def __init__(self) -> None:
        super().__init__()
        self.records: list = []

    def send(self, record) -> None:
        self.records.append(record)


def video(key: str, frames: int = 160, split: str = "test", label: int = 0, **more) -> Video:
    classes = ("Fire",) if label else ()
    return Video(key=key, split=split, label=label, classes=classes, num_frames=frames, **more)


def dataset(*videos: Video, **rules) -> Manifest:
    return Manifest(name="made", format="generic", videos=videos, rules=rules)


def store(folder: Path, rule: SnippetRule = HOLD, crops: int = 1, **snippets: int) -> FeatureStore:
    rng = np.random.default_rng(0)
    with StoreWriter(folder / "store", dim=3, rule=rule, extractor="made") as writer:
        for key, count in snippets.items():
            writer.add(key, rng.normal(size=(crops, count, 3)).astype(np.float32))
        return writer.close()


def only(report: Report, check: str):
    found = [f for f in report.findings if f.check == check]
    assert len(found) == 1, [f.check for f in report.findings]
    return found[0]


def checks(report: Report, severity: str) -> set[str]:
    return {f.check for f in report.of(severity)} - {"one-label"}


# --- lengths -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "snippets", "check", "amount", "rule"),
    [
        (160, 10, "exact", 0, ""),
        (165, 10, "tail-repeat", 5, "repeat"),
        (165, 11, "tail-trim", 11, "trim"),
        (7, 1, "tail-trim", 9, "trim"),
    ],
)
def test_a_tail_within_one_snippet_is_in_order_and_said(
    tmp_path, frames, snippets, check, amount, rule
):
    report = examine(dataset(video("a", frames)), {}, store(tmp_path, a=snippets))

    found = only(report, check)
    assert (found.severity, found.amount, found.rule, found.video) == ("ok", amount, rule, "a")
    assert not checks(report, "problem") and not checks(report, "note")


@pytest.mark.parametrize(
    ("snippets", "check", "amount", "rule"), [(8, "short", 2, "repeat"), (14, "long", 3, "trim")]
)
def test_more_than_a_tail_is_a_problem_unless_the_rule_allows_it(
    tmp_path, snippets, check, amount, rule
):
    manifest = dataset(video("a", 165))
    strict = examine(manifest, {}, store(tmp_path / "1", a=snippets))
    lenient = examine(manifest, {}, store(tmp_path / "2", SnippetRule("hold", 16, 3), a=snippets))

    found = only(strict, check)
    assert (found.severity, found.amount, found.unit) == ("problem", amount, "snippets")
    assert (only(lenient, check).severity, only(lenient, check).rule) == ("note", rule)
    assert lenient.rules["snippets"]["slack"] == 3
    assert lenient.rules["lengths"] == {rule: {"videos": 1, "frames": 16 * amount}}


@given(
    frames=st.integers(1, 3000), snippets=st.integers(1, 200), slack=st.integers(0, 5),
    length=st.integers(1, 64),
)  # fmt: skip
def test_the_doctor_and_the_snippet_rule_agree_on_every_length(frames, snippets, slack, length):
    from vad.data.doctor.features import _length
    from vad.errors import ShapeError

    rule = SnippetRule("hold", length, slack)
    try:
        rule.bounds(snippets, frames)
        fits = True
    except ShapeError:
        fits = False

    found = _length(video("a", frames), snippets, rule)

    assert (found.severity != "problem") == fits


def test_evenly_sampled_features_under_hold_are_told_to_stretch(tmp_path):
    manifest = dataset(video("a", 160), video("b", 3000), video("c", 90))
    counts = {"a": 20, "b": 20, "c": 20}

    wrong = examine(manifest, {}, store(tmp_path / "1", **counts))
    right = examine(manifest, {}, store(tmp_path / "2", SnippetRule("stretch"), **counts))

    assert only(wrong, "snippet-rule").rule == "stretch"
    assert wrong.severity == "problem"
    assert not checks(right, "problem") | checks(right, "note")
    assert {f.rule for f in right.of("ok")} == {"stretch"}


def test_another_snippet_length_that_would_fit_is_named(tmp_path):
    manifest = dataset(video("a", 640), video("b", 330), video("c", 96))
    report = examine(manifest, {}, store(tmp_path, a=20, b=10, c=3))

    assert "32 frames a snippet" in only(report, "snippet-rule").text
    assert "'stretch'" not in only(report, "snippet-rule").text


@given(st.lists(st.integers(1, 5000), min_size=2, max_size=12), st.integers(1, 64), st.booleans())
def test_a_rule_that_made_the_lengths_is_not_called_wrong(frames, length, up):
    lengths = np.array(frames)
    snippets = -(-lengths // length) if up else np.maximum(1, lengths // length)

    suggested = suggest_rule(lengths, snippets)

    if suggested is not None and suggested.rule == "hold":
        for f, t in zip(frames, snippets, strict=True):
            suggested.bounds(int(t), f)


# --- what is missing, spare or odd ---------------------------------------------------------------


def test_missing_and_spare_features_are_named(tmp_path):
    report = examine(dataset(video("a"), video("b"), video("c")), {}, store(tmp_path, a=10, z=10))

    missing = [f for f in report.findings if f.check == "no-features"]
    assert [(f.video, f.severity, f.rule) for f in missing] == [
        ("b", "problem", "leave-out"),
        ("c", "problem", "leave-out"),
    ]
    assert only(report, "extra-features").video == "z"


def test_a_video_with_fewer_crops_than_the_others_is_a_problem(tmp_path):
    with StoreWriter(tmp_path / "s", dim=2, rule=HOLD, extractor="made") as writer:
        for key, crops in (("a", 10), ("b", 10), ("c", 1)):
            writer.add(key, np.random.default_rng(1).random((crops, 10, 2), np.float32))
        held = writer.close()

    found = only(examine(dataset(video("a"), video("b"), video("c")), {}, held), "crops")

    assert (found.severity, found.video, found.amount) == ("problem", "c", 9)


def test_swapped_axes_of_crops_and_snippets_are_seen(tmp_path):
    manifest = dataset(video("a", 0, "train"), video("b", 0, "train"), video("c", 0, "train"))
    with StoreWriter(tmp_path / "s", dim=2, rule=HOLD, extractor="made") as writer:
        for key, length in (("a", 31), ("b", 31), ("c", 31)):
            writer.add(key, np.random.default_rng(1).random((length, 10, 2), np.float32))
        held = writer.close()

    swapped = [f for f in examine(manifest, {}, held).findings if f.check == "crops"]

    assert [f.severity for f in swapped] == ["problem"]
    assert "swapped" in swapped[0].text


def test_equal_crops_and_padding_are_noted(tmp_path):
    rows = np.ones((10, 3), np.float32)
    rows[7:] = 0
    with StoreWriter(tmp_path / "s", dim=3, rule=HOLD, extractor="made") as writer:
        writer.add("a", np.stack([rows] * 5))
        held = writer.close()

    report = examine(dataset(video("a")), {}, held)

    assert only(report, "crops").text == "has 5 crops that are all the same."
    assert only(report, "padding").amount == 3


# --- labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "truth", "check"),
    [
        (1, None, "label"),
        (1, Truth(), "label"),
        (0, Truth(intervals=((1, 5),)), "label"),
        (1, Truth(intervals=((5, 5),)), "interval"),
        (1, Truth(intervals=((150, 161),)), "interval"),
        (1, Truth(intervals=((10, 20), (15, 30))), "interval"),
        (1, Truth(intervals=((-1, 20),)), "interval"),
        (
            1,
            Truth(
                intervals=((0, 5),),
                tracks=(Track(start_frame=0, end_frame=200, keyframes=((0, 1, 1, 2, 2),)),),
            ),
            "track",
        ),
    ],
)
def test_labels_that_contradict_the_video_are_problems(label, truth, check):
    part = {"a": truth} if truth else {}

    report = examine(dataset(video("a", 160, label=label)), {"test": part})

    assert checks(report, "problem") == {check}


def test_boxes_outside_the_intervals_are_noted_with_their_frames():
    track = Track(start_frame=5, end_frame=30, keyframes=((5, 0, 0, 9, 9),))
    truth = Truth(intervals=((0, 10),), tracks=(track,))

    report = examine(dataset(video("a", label=1)), {"test": {"a": truth}})

    assert only(report, "track-outside").amount == 20


def test_abnormal_frames_behind_the_last_whole_snippet_are_noted(tmp_path):
    truth = Truth(intervals=((150, 170),))

    report = examine(
        dataset(video("a", 171, label=1)), {"test": {"a": truth}}, store(tmp_path, a=10)
    )

    assert only(report, "truth-tail").amount == 10
    assert report.counts["test"] == {
        "videos": 1, "frames": 171, "abnormal_frames": 20, "covered": 160, "abnormal_covered": 10,
    }  # fmt: skip


def test_an_event_shorter_than_a_stretched_snippet_is_noted(tmp_path):
    truth = Truth(intervals=((100, 130),))

    report = examine(
        dataset(video("a", 1000, label=1), video("b", 90)),
        {"test": {"a": truth}},
        store(tmp_path, SnippetRule("stretch"), a=20, b=20),
    )

    assert only(report, "resolution").amount == 30


def test_names_twice_and_truth_of_nobody_are_problems():
    report = examine(
        dataset(video("a"), video("a"), video("B"), video("b")), {"test": {"x": Truth()}}
    )

    assert {f.video for f in report.of("problem")} == {"a", "x"}
    assert {f.video for f in report.of("note") if f.check == "duplicate"} == {"B", "b"}


def test_what_the_reader_noted_is_said(tmp_path):
    manifest = dataset(
        video("a", 100, label=1),
        video("c", 400),
        published_counts={"test": {"normal": 1, "abnormal": 3}},
        test_videos_missing=["gone"],
        frames_listed={"a": 96, "c": 900},
        events_outside=["a"],
        test_protocol="violent videos only",
        boxes_clamped=4,
    )

    report = examine(manifest, {"test": {"a": Truth()}})

    assert only(report, "count").amount == 2
    assert only(report, "missing-video").video == "gone"
    lengths = {
        f.video: (f.severity, f.amount) for f in report.findings if f.check == "listed-frames"
    }
    assert lengths == {"a": ("note", 4), "c": ("problem", 500)}
    assert checks(report, "note") >= {"event", "protocol", "boxes"}


def test_a_video_of_unknown_length_can_be_held_but_not_stretched(tmp_path):
    manifest = dataset(video("a", 0))

    held = examine(manifest, {}, store(tmp_path / "1", a=10))
    stretched = examine(manifest, {}, store(tmp_path / "2", SnippetRule("stretch"), a=10))

    assert (only(held, "frames-unknown").severity, only(held, "frames-unknown").rule) == (
        "note",
        "cut",
    )
    assert only(stretched, "frames-unknown").severity == "problem"


# --- the report ----------------------------------------------------------------------------------


def test_a_report_is_plain_json_and_lists_the_worst_first(tmp_path):
    manifest = dataset(video("a"), video("b"), video("c", 161), video("d"))
    report = examine(manifest, {}, store(tmp_path, a=10, c=10, d=4))

    data = json.loads(json.dumps(report.to_dict()))

    assert data["severity"] == "problem"
    assert [f["severity"] for f in data["findings"]] == sorted(
        (f["severity"] for f in data["findings"]), key=["problem", "note", "ok"].index
    )
    assert data["summary"]["problem"] == len(report.of("problem"))
    assert {f.video for f in report.of_video("d")} == {"d"}
    assert "d: has 4 snippets of 16 frames" in report.text()


def test_many_findings_of_a_kind_are_one_sentence(tmp_path):
    manifest = dataset(*(video(f"v{i}", 160 + i) for i in range(1, 6)))
    report = examine(manifest, {}, store(tmp_path, **{f"v{i}": 10 for i in range(1, 6)}))

    assert (
        "Frames behind the last whole snippet: 5 videos, 1 to 5 frames each, 15 frames together. "
        "The last score is repeated."
    ) in report.notes("ok")


def test_nothing_is_found_where_nothing_is_wrong(tmp_path):
    manifest = dataset(
        video("a", 160, "train"), video("b", 160, "train", 1), video("c"), video("d", label=1)
    )
    truth = {"test": {"c": Truth(), "d": Truth(intervals=((16, 32),))}}

    report = examine(manifest, truth, store(tmp_path, a=10, b=10, c=10, d=10))

    assert report.severity == "ok"
    assert checks(report, "ok") == {"exact"}


# --- packing: names and hints --------------------------------------------------------------------


def test_features_named_after_their_extractor_are_found_by_video(tmp_path):
    source = tmp_path / "f"
    source.mkdir()
    np.save(source / "a_i3d.npy", np.ones((10, 4), np.float32))
    np.save(source / "my_clip.npy", np.ones((10, 4), np.float32))
    manifest = dataset(video("a"), video("my_clip"))

    held = pack_npy(source, manifest, tmp_path / "s", rule=HOLD)

    assert set(held.keys()) == {"a", "my_clip"}


def test_features_of_two_extractors_are_not_mixed(tmp_path):
    source = tmp_path / "f"
    source.mkdir()
    for name in ("a_i3d", "a_clip"):
        np.save(source / f"{name}.npy", np.ones((10, 4), np.float32))

    with pytest.raises(VadError) as caught:
        pack_npy(source, dataset(video("a")), tmp_path / "s", rule=HOLD)

    assert caught.value.code == "features-missing"


@pytest.mark.parametrize(
    ("lengths", "hint"),
    [
        ({"a": (160, 20), "b": (900, 20)}, "choose the snippet rule 'stretch'"),
        ({"a": (640, 20), "b": (330, 10)}, "fit 32 frames a snippet"),
        ({"a": (160, 10), "b": (160, 13), "c": (320, 18)}, "With a slack of 3 snippets"),
    ],
)
def test_features_that_do_not_fit_are_refused_with_the_rule_that_would_do(tmp_path, lengths, hint):
    source = tmp_path / "f"
    source.mkdir()
    for key, (_, snippets) in lengths.items():
        np.save(source / f"{key}.npy", np.ones((snippets, 4), np.float32))
    manifest = dataset(*(video(key, frames) for key, (frames, _) in lengths.items()))

    with pytest.raises(VadError) as caught:
        pack_npy(source, manifest, tmp_path / "s", rule=HOLD)

    assert hint in caught.value.hint


# --- as a command, and in the register run ---------------------------------------------------


def test_dataset_check_prints_the_report_and_fails_on_a_problem(tmp_path, capsys):
    manifest = dataset(video("a", 160, "train"), video("b", 165))
    versions.store(tmp_path / "v", manifest, {"b": Truth()})
    held = store(tmp_path, a=10)

    assert cli.main(["dataset", "check", str(tmp_path / "v")]) == 0
    assert "2 videos looked at" in capsys.readouterr().out
    code = cli.main(
        ["dataset", "check", str(tmp_path / "v"), "--features", str(held.folder), "--json"]
    )
    found = json.loads(capsys.readouterr().out)
    assert code == 1
    assert [f["video"] for f in found["findings"] if f["check"] == "no-features"] == ["b"]


def test_registering_notes_what_does_not_line_up(tmp_path):
    root = tmp_path / "f"
    root.mkdir()
    entries = []
    for key, split in (("a", "train"), ("b", "test"), ("A", "test")):
        entries.append({"key": key, "split": split, "label": 0, "num_frames": 165})
        np.save(root / f"{key}.npy", np.ones((8, 4), np.float32))
    (root / "dataset.json").write_text(json.dumps({"videos": entries}))
    config = RegisterConfig(name="n", root=str(root), features=str(root), snippet_slack=2)
    reporter = Collecting()

    register(config, output=tmp_path / "out", reporter=reporter)

    notes = reporter.records[-1].data["notes"]
    assert any(
        "8 snippets of 16 frames (128) for 165 frames: 2 snippets missing" in n for n in notes
    )
    assert any("upper and lower case" in n for n in notes)


# --- real data -----------------------------------------------------------------------------------


def by_split(manifest: Manifest, truth: dict[str, Truth]) -> dict[str, dict[str, Truth]]:
    return {s: {v.key: truth[v.key] for v in manifest.split(s) if v.key in truth} for s in SPLITS}


def test_ucf_crime_lengths_come_to_the_check_numbers_of_the_floor_rule(shared, tmp_path):
    folder = shared / "data" / "annotations" / "ucf_crime"
    if not folder.is_dir():
        pytest.skip(f"no reference data: {folder} does not exist")
    for line in (folder / "UCF_Annotation.txt").read_text().split("\n"):
        if line:
            (tmp_path / f"{Path(line.split()[0]).stem}.npy").touch()
    manifest, truth = formats.read("ucf_crime", tmp_path, annotations=folder / "UCF_Annotation.txt")

    report = examine(manifest, by_split(manifest, truth))

    assert report.counts["test"] == {
        "videos": 290, "frames": 1_111_808, "abnormal_frames": 84_331, "covered": 1_109_824,
        "abnormal_covered": 84_309,
    }  # fmt: skip


def test_the_doctor_finds_the_rule_of_the_real_ucf_features(shared, tmp_path):
    root = shared / "data" / "ucf_crime_features"
    lists = shared / "data" / "annotations" / "ucf_crime"
    if not root.is_dir():
        pytest.skip(f"no reference data: {root} does not exist")
    manifest, truth = formats.read("ucf_crime", root, annotations=lists / "UCF_Annotation.txt")
    test = dataclasses.replace(manifest, videos=manifest.split("test"))
    held = pack_npy(root, test, tmp_path / "s", rule=SnippetRule("stretch"))

    right = examine(test, by_split(test, truth), held)
    held.rule = HOLD
    wrong = examine(test, by_split(test, truth), held)

    assert right.severity == "note" and not right.of("problem")
    assert only(right, "stretch-short").video == "RoadAccidents021_x264"
    assert only(wrong, "snippet-rule").rule == "stretch"
    assert len([f for f in wrong.findings if f.check in ("short", "long")]) == 283
