"""Two hundred damaged or hostile files: each is taken, or refused by name; nothing is left behind.

The mutations are seeded, so a failure comes back. Descriptions and features go through the
`register` run itself; videos through `probe` in a child process with little memory, since a decoder
may end it.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from vad.configs import RegisterConfig
from vad.data import register
from vad.data.feature_writer import StoreWriter
from vad.data.features import FeatureStore
from vad.data.manifest import load_manifest, load_truth
from vad.errors import CATALOGUE, VadError
from vad.reporting import JsonReporter
from vad.timeline import SnippetRule

DEEP = "[" * 100_000
GOOD = {
    "name": "own",
    "videos": [
        {"key": "a", "split": "train", "label": 0, "num_frames": 64},
        {"key": "b", "split": "train", "label": 1, "num_frames": 64},
        {"key": "c", "split": "test", "label": 0, "num_frames": 64},
        {"key": "d", "split": "test", "label": 1, "num_frames": 64, "intervals": [[8, 24]],
         "classes": ["Theft"], "tracks": [{"start_frame": 8, "end_frame": 24,
         "keyframes": [[8, 0, 0, 9, 9]]}]},
    ],
}  # fmt: skip
TABLE = "key,split,label,class,intervals,num_frames\na,train,0,,,64\nd,test,1,Theft,8-24,64\n"
VALUES = (
    None, True, -1, 0, 2**63, 10**400, 1e308, float("inf"), float("nan"), "", "x" * 5000, "a\0b",
    "\ud800", "../../secret", "/etc/passwd", "C:\\boot.ini", "file:///etc/passwd", "‮cod.exe",
    "<script>alert(1)</script>", [], [[]], [1, [2, [3]]], {}, {"a": {"b": []}}, ["Theft", 7, None],
    [[0, 10**30]], [["8", float("inf")]], 5, [{"start_frame": float("inf")}],
    [{"start_frame": 0, "end_frame": 9, "keyframes": [[float("inf"), 0, 0, 1, 1]]}],
    [{"start_frame": 0, "end_frame": 9, "keyframes": [[0, 0, 0, float("inf"), 10**400]]}],
)  # fmt: skip
FIELDS = (
    "key",
    "path",
    "split",
    "label",
    "classes",
    "intervals",
    "masks",
    "tracks",
    "num_frames",
    "fps",
)


def flips(content: bytes, rng: random.Random, count: int = 8) -> bytes:
    """The same with a few bits turned."""
    changed = bytearray(content)
    for _ in range(count):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """One of the ways in which a file arrives broken."""
    cut = rng.randrange(len(content))
    return rng.choice((
        flips(content, rng), flips(content[:200], rng, 3) + content[200:], content[:cut],
        content[:cut] + bytes(rng.randrange(1, 300)) + content[cut:], content + content,
        content[cut:] + content[:cut],
    ))  # fmt: skip


def descriptions() -> list[tuple[str, bytes]]:
    """Name and content of dataset.json or dataset.csv: 104 of them."""
    rng, found = random.Random(1), []
    for number, value in enumerate(VALUES):
        for field in (FIELDS[number % len(FIELDS)], FIELDS[(number + 5) % len(FIELDS)]):
            data = json.loads(json.dumps(GOOD))
            data["videos"][rng.randrange(4)][field] = value
            found.append(("dataset.json", json.dumps(data).encode()))
    good = json.dumps(GOOD, indent=1).encode()
    text = good.decode()
    for odd in (
        "", "null", "7", "[]", DEEP, '{"videos": ' + "[" * 900 + "]" * 900 + "}", "NaN",
        '{"videos": {}}', '{"videos": [7, null, []]}', '{"videos": ' + "9" * 5000 + "}",
        text.replace('"key": "a"', '"key": "a", "key": "b"'), text.replace("64", "9" * 5000),
        text.replace('"own"', '"\\ud800"'), text.replace('"Theft"', '"\\udfff"'), text + text,
        text.replace('"videos"', '"videos": [], "videos"'), "\ufeff" + text, text.replace("\n",
        "\r"),
    ):  # fmt: skip
        found.append(("dataset.json", odd.encode()))
    for odd in (
        "", "\0", "key", '"' + "x" * 200_000, "key,key,split\na,b,train\n", TABLE.replace("64",
        "nan"),
        TABLE.replace("64", "1e400"), TABLE.replace("8-24", "8-" + "9" * 5000), '"' * 99 + TABLE,
        TABLE.replace("Theft", "a\0b"), TABLE.replace("d,", "=cmd|' /C calc'!A0,"), TABLE * 2,
    ):  # fmt: skip
        found.append(("dataset.csv", odd.encode()))
    found += [("dataset.json", damaged(good, rng)) for _ in range(8)]
    found += [("dataset.csv", damaged(TABLE.encode(), rng)) for _ in range(4)]
    return found


def npy(shape: Any = (4, 8), descr: Any = "<f4", size: int | None = None, head: str = "") -> bytes:
    """A .npy file whose head says this, whatever follows it."""
    text = head or repr({"descr": descr, "fortran_order": False, "shape": shape})
    text += " " * (63 - (len(text) + 10) % 64) + "\n"
    size = 4 * 8 * 4 if size is None else size
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(size)


def features() -> list[bytes]:
    """Contents of d.npy: 40 of them."""
    rng = random.Random(2)
    good = BytesIO()
    np.save(good, np.ones((4, 8), np.float32))
    pickled = BytesIO()
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    nan = BytesIO()
    np.save(nan, np.full((4, 8), np.nan, np.float32))
    large = BytesIO()
    np.save(large, np.full((4, 8), 1e308))
    odd = [
        b"", b"\x93NUMPY", pickled.getvalue(), nan.getvalue(), large.getvalue(),
        b"\x80\x04\x95cos\nsystem\n", b"PK\x03\x04" + bytes(100), npy((10**15, 8)), npy((2**63,
        2**63)),
        npy((-4, -8)), npy((4, 0), size=0), npy(()), npy((4,)), npy((4, 8.0)), npy((True, 8)),
        npy("ab"),
        npy(descr="<c8"), npy(descr="|O"), npy(descr="<U9"), npy(descr=[("a", "<f4")]),
        npy(descr="bad"),
        npy(descr=("<f4", (2,))), npy(head="{" * 3000), npy(head="(" * 120 + ")" * 120),
        npy(head="{'descr': '<f4', 'shape': (4, 8)"), npy(head="__import__('os').system('true')"),
        npy(head="\n\t \\"), npy(head="'''"),
    ]  # fmt: skip
    return odd + [damaged(good.getvalue(), rng) for _ in range(12)]


def stores() -> list[tuple[str, bytes]]:
    """A part of a feature store, and what is in it: 24 of them."""
    rng = random.Random(3)

    def tensor(header: Any, size: int = 128) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + bytes(size)

    def entry(shape: Any, end: Any = 128, dtype: Any = "F32") -> bytes:
        return tensor({"data": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}})

    inf = float("inf")
    info = {"dim": 8, "index": {"a": [0, 1, 4]}, "version": 1, "extractor": "x", "settings": {},
            "fingerprint": "0", "rule": SnippetRule("hold", 16).to_dict()}  # fmt: skip
    found = [
        ("features.safetensors", content)
        for content in (
            b"", b"\xff" * 8, (2**62).to_bytes(8, "little"), tensor(DEEP.encode()), tensor(b"[]"),
            tensor({"__metadata__": 7}), entry([4, 8], dtype=["F32"]), entry([inf, 8]), entry([]),
            entry([2**40, 2**40], 2**82), entry([-4, -8]), tensor({"data": {"dtype": "F32",
            "shape": [0, 10**30], "data_offsets": [0, 0]}}, 0), damaged(entry([4, 8]), rng),
        )
    ]  # fmt: skip
    found += [
        ("features.json", text if isinstance(text, bytes) else json.dumps(text).encode())
        for text in (
            b"", DEEP.encode(), [], 7, info | {"index": []}, info | {"dim": inf},
            info | {"rule": []},
            info | {"index": {"a": [-1, -1, -4]}}, info | {"index": {"a": [10**30, 1, 4]}},
            info | {"rule": {"rule": "no", "snippet_len": -1}}, info | {"index": {"a": [0, 1,
            inf]}},
        )
    ]  # fmt: skip
    return found


def refused(call: Callable[[], Any]) -> VadError | None:
    """The error of the catalogue that it raises, if it raises; any other exception goes on."""
    try:
        call()
    except VadError as exc:
        assert exc.code in CATALOGUE and exc.code != "unexpected"
        exc.message.encode()
        "".join(exc.problems).encode()
        assert len(exc.message) < 2000
        return exc
    return None


def registering(root: Path, output: Path, **more: Any) -> VadError | None:
    config = RegisterConfig.from_dict(
        {"name": "a set", "root": str(root), "format": "generic", **more}
    )
    told = JsonReporter(StringIO())  # as the server's supervisor is told
    return refused(lambda: register.register(config, output=output, reporter=told))


@pytest.mark.parametrize("part", range(4))
def test_a_description_is_taken_whole_or_refused_by_name(tmp_path, part):
    for number, (name, content) in list(enumerate(descriptions()))[part::4]:
        root, output = tmp_path / f"{number}", tmp_path / f"{number}-out"
        root.mkdir()
        (root / name).write_bytes(content)

        error = registering(root, output)

        if error is None:
            assert load_manifest(output / "version").videos, content[:200]
            load_truth(output / "version", "test")
        else:
            assert name in f"{error.message}{error.problems}", (content[:200], error)
            assert not list(tmp_path.glob(f"*{number}-out*/*")), content[:200]


def test_features_are_packed_whole_or_refused_by_name(tmp_path):
    for number, content in enumerate(features()):
        root, output = tmp_path / f"{number}", tmp_path / f"{number}-out"
        root.mkdir()
        (root / "dataset.json").write_text(json.dumps(GOOD))
        for key in "abc":
            (root / f"{key}.npy").write_bytes(npy())
        (root / "d.npy").write_bytes(content)

        error = registering(root, output, features=str(root))

        if error is None:
            assert np.isfinite(FeatureStore.open(output / "features").get("d")).all()
        else:
            assert "d.npy" in f"{error.message}{error.problems}", (content[:99], error)
            left = {p.name for p in output.iterdir()}
            assert left <= {"version"}, (content[:99], left)


def test_a_damaged_store_is_refused_by_name(tmp_path):
    good = tmp_path / "good"
    with StoreWriter(good, dim=8, rule=SnippetRule("hold", 16), extractor="x") as writer:
        writer.add("a", np.ones((4, 8), np.float32))
        writer.close()
    for number, (name, content) in enumerate(stores()):
        folder = tmp_path / str(number)
        shutil.copytree(good, folder)
        (folder / name).write_bytes(content)

        error = refused(lambda folder=folder: FeatureStore.open(folder).get("a"))

        assert error is None or name in error.message, (content[:99], error)
        assert error or FeatureStore.open(folder).get("a").shape == (1, 4, 8), content[:99]


PROBE = """
import json, resource, sys
from pathlib import Path
from vad.errors import VadError
from vad.video.reader import probe
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
for file in sys.argv[1:]:
    try:
        found = {"frames": probe(Path(file)).num_frames}
    except VadError as exc:
        found = exc.to_dict()
    print(json.dumps(found), flush=True)
"""


def videos() -> list[bytes]:
    """Contents of a video file: 40 of them."""
    rng = random.Random(4)
    made = BytesIO()
    with av.open(made, "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(12):
            grey = np.full((48, 64, 3), 20 * i, np.uint8)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        film.mux(stream.encode(None))
    good = made.getvalue()

    def patched(box: bytes, skip: int, value: bytes) -> bytes:
        """The bytes of a box, `skip` after its name, replaced."""
        at = good.index(box) + len(box) + skip
        return good[:at] + value + good[at + len(value) :]

    most = b"\xff" * 4
    odd = [
        b"", b"#!/bin/sh\nexit 1\n", b"ffconcat version 1.0\nfile /etc/passwd\n", good[:8],
        b"#EXTM3U\n#EXTINF:1,\nhttp://169.254.169.254/\n", b"PK\x03\x04" + bytes(999), good[:40],
        b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x00\x00\x00\x20ftypisom" + bytes(10_000),
        patched(b"avc1", 24, most), patched(b"avc1", 24, b"\x00\x00\x00\x00"),
        patched(b"stsz", 4, most), patched(b"stsz", 8, most), patched(b"stts", 4, most),
        patched(b"stts", 8, most * 2), patched(b"stco", 8, most), patched(b"stsc", 4, most),
        patched(b"mvhd", 12, bytes(4)), patched(b"mdhd", 12, bytes(4)), patched(b"mdhd", 12,
        most * 2),
        patched(b"moov", -8, most), patched(b"mdat", -8, bytes(4)), patched(b"avcC", 0, most * 4),
        patched(b"tkhd", 40, most * 9), patched(b"hdlr", 8, b"soun"), patched(b"avc1", 0,
        b"\0" * 8),
    ]  # fmt: skip
    return odd + [damaged(good, rng) for _ in range(14)]


def test_a_video_is_counted_or_refused_by_name(tmp_path):
    files = []
    for number, content in enumerate(videos()):
        files.append(tmp_path / f"clip{number}.mp4")
        files[-1].write_bytes(content)

    found = subprocess.run(
        [sys.executable, "-c", PROBE, *map(str, files)], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip

    answers = [json.loads(line) for line in found.stdout.splitlines()]
    assert found.returncode == 0, (files[len(answers)].name, found.stderr[-500:])
    for file, answer in zip(files, answers, strict=True):
        if "frames" in answer:
            assert 0 < answer["frames"] < 100, (file.name, answer)
        else:
            assert answer["code"] in ("video-unreadable", "video-no-track"), (file.name, answer)
            assert file.name in answer["message"]
    assert sorted(tmp_path.iterdir()) == sorted(files)


@pytest.mark.parametrize(
    "content",
    [
        "", DEEP, "[]", "7", '{"version": 1, "videos": 7}', '{"version": 1, "videos": [[]]}',
        '{"a": []}', '{"a": {"intervals": [[Infinity, 1]], "tracks": [], "masks": ""}}',
        '{"a": {"intervals": [], "tracks": [{"keyframes": [[]]}], "masks": ""}}',
    ],
)  # fmt: skip
def test_a_stored_version_that_was_damaged_is_refused_by_name(tmp_path, content):
    for name in ("manifest.json", "truth-test.json"):
        (tmp_path / name).write_text(content)

    assert "manifest.json" in refused(lambda: load_manifest(tmp_path)).message
    assert "truth-test.json" in refused(lambda: load_truth(tmp_path, "test")).message


@pytest.mark.parametrize(
    ("name", "format"),
    [("dataset.json", "generic"), ("dataset.csv", "generic"), ("labels.csv", "synthetic")],
)
def test_a_link_out_of_the_folder_is_never_read(tmp_path, name, format):
    """A reader quotes the lines that it does not understand."""
    secret = tmp_path / "secret_key"
    secret.write_text("do-not-show-this")
    root = tmp_path / "set"
    root.mkdir()
    (root / name).symlink_to(secret)

    error = registering(root, tmp_path / "out", format=format)

    assert error.code == "path-outside-roots"
    assert "do-not-show" not in str(error.to_dict())


def test_features_behind_a_link_out_of_the_folder_are_not_packed(tmp_path):
    (tmp_path / "secret.npy").write_bytes(npy())
    root = tmp_path / "set"
    root.mkdir()
    (root / "dataset.json").write_text(json.dumps(GOOD))
    for key in "abcd":
        (root / f"{key}.npy").symlink_to(tmp_path / "secret.npy")

    error = registering(root, tmp_path / "out", features=str(root))

    assert error.code == "features-invalid"
    assert "a.npy: is a link that leads out" in error.problems[0]


@pytest.mark.parametrize("file", ["/etc/hostname", "../other.mp4", "a\0b", "", "x" * 300])
def test_the_made_up_clips_lie_in_their_folder_too(tmp_path, file):
    (tmp_path / "other.mp4").write_bytes(b"not yours")
    root = tmp_path / "set"
    root.mkdir()
    (root / "labels.csv").write_text(f"key,file,split,label,class\na,{file},train,0,\n")

    error = registering(root, tmp_path / "out", format="synthetic")

    assert error.code == "dataset-invalid"
    assert "labels.csv" in error.problems[0]
