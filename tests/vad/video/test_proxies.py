"""Proxies: frame-exact copies, made by a run that goes on whatever one video holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from vad import cli, results
from vad.configs import ProxiesConfig
from vad.data.manifest import Manifest, Video, load_manifest, save_version
from vad.data.tensorfile import file_sha256, file_stem
from vad.errors import ConfigError, VadError
from vad.reporting import Reporter
from vad.video import proxy_build, seeking
from vad.video.proxies import INDEX, ProxyStore
from vad.video.proxy_build import build
from vad.video.proxy_encode import proxy_size
from vad.video.reader import open_video

CELLS = (3, 4)  # a frame shows its number in binary, in 12 black or white cells


class Recorder(Reporter):
    """Keeps what a run says; asks for a stop after so many videos, or looks at the flag."""

    def __init__(self, *, stop_after: int | None = None, stop_at_look: int | None = None) -> None:
        super().__init__()
        self.records: list[results.Record] = []
        self._stop_after, self._looks_left = stop_after, stop_at_look

    @property
    def stop_requested(self) -> bool:
        if self._looks_left is not None:
            self._looks_left -= 1
            return self._looks_left < 0
        return super().stop_requested

    def progress(self, done: int, total: int, unit: str, note: str = "") -> None:
        if done == self._stop_after:
            self.request_stop()

    def send(self, record: results.Record) -> None:
        self.records.append(record)

    def of(self, kind: type) -> list[Any]:
        return [r for r in self.records if isinstance(r, kind)]


def picture(number: int, size: tuple[int, int] = (160, 96)) -> np.ndarray:
    bits = np.array([(number >> i) & 1 for i in range(12)], np.uint8).reshape(CELLS)
    cell = np.ones((size[1] // CELLS[0], size[0] // CELLS[1]), np.uint8)
    return np.repeat(np.kron(bits, cell)[:, :, None] * 200 + 20, 3, axis=2)


def number(frame: np.ndarray) -> int:
    """The number that a frame shows."""
    rows, columns = (n // c for n, c in zip(frame.shape, CELLS, strict=False))
    centres = frame[rows // 2 :: rows, columns // 2 :: columns, 1][: CELLS[0], : CELLS[1]]
    return int((centres.reshape(-1) > 120) @ (1 << np.arange(12)))


def write_video(
    path: Path,
    count: int = 40,
    *,
    size: tuple[int, int] = (160, 96),
    codec: str = "libx264",
    uneven: bool = False,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        stream.gop_size = 12
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(picture(i, size), format="rgb24")
            if uneven:
                frame.pts = i + i * i // 9  # every frame lasts longer
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_frames(folder: Path, count: int = 20) -> Path:
    folder.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(picture(i)).save(folder / f"{i + 1:03}.tif")
    return folder


def damage(path: Path, at: int) -> Path:
    """Fill a frame's packet with what no decoder takes."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        packet = sorted(packets, key=lambda p: p.pts)[at]
        place, size = packet.pos, packet.size
    content = bytearray(path.read_bytes())
    content[place : place + size] = b"\xff" * size
    path.write_bytes(content)
    return path


def version(folder: Path, names: list[str], **known: int) -> Path:
    """A version of files in `folder`; `known` are frame counts that its manifest has."""
    videos = tuple(
        Video(key=Path(n).stem, split="train", label=0, path=n, num_frames=known.get(n, 0))
        for n in names
    )
    target = folder / "version"
    target.mkdir(exist_ok=True)
    manifest = Manifest(name="set", format="generic", videos=videos, media_root=str(folder))
    save_version(target, manifest, {})
    return target


def make(
    folder: Path, names: list[str], reporter: Reporter | None = None, **settings: Any
) -> ProxyStore:
    build(
        ProxiesConfig(**settings),
        manifest_dir=version(folder, names),
        output=folder / "run",
        reporter=reporter or Reporter(),
    )
    return ProxyStore.open(folder / "run" / "proxies")


def shown(store: ProxyStore, key: str, clip_size: tuple[int, int] | None = (128, 128)) -> list[int]:
    """The numbers on a proxy's frames, each found by its own; its copy for clips has the same."""
    entry = store.get(key)
    assert entry
    orders = []
    for path in {store.path(key), store.path(key, clip_size)}:
        with open_video(path) as reader:
            found = {i: number(reader.frames(i, i + 1)[0]) for i in reversed(range(entry.frames))}
        orders.append([found[i] for i in range(entry.frames)])
    assert orders[0] == orders[-1] and len(orders) == (2 if clip_size else 1)
    return orders[0]


@pytest.mark.parametrize(
    ("name", "codec", "uneven"),
    [
        ("h264.mp4", "libx264", False),
        ("variable_rate.mp4", "libx264", True),
        ("hevc.mp4", "libx265", False),
        ("vp9.webm", "libvpx-vp9", False),
        ("mpeg4.avi", "mpeg4", False),
        ("transport.ts", "libx264", False),
        ("moving.gif", "gif", False),
    ],
)
def test_frame_i_of_a_proxy_is_frame_i_of_its_source(tmp_path, name, codec, uneven):
    write_video(tmp_path / name, codec=codec, uneven=uneven)

    store = make(tmp_path, [name])

    assert shown(store, Path(name).stem) == list(range(40))


def test_frame_folders_get_proxies_too(tmp_path):
    write_frames(tmp_path / "Test001")

    store = make(tmp_path, ["Test001"])

    assert shown(store, "Test001") == list(range(20))


def test_odd_clips_that_people_have_look_as_before(shared, tmp_path):
    clips = shared / "data" / "clips"
    names = sorted(p.name for p in clips.iterdir() if p.suffix != ".md")
    videos = tuple(Video(key=n, split="train", label=0, path=n) for n in names)
    (tmp_path / "version").mkdir()
    manifest = Manifest(name="odd", format="generic", videos=videos, media_root=str(clips))
    save_version(tmp_path / "version", manifest, {})
    build(
        ProxiesConfig(short_side=2160),  # of their own size, so that pictures compare
        manifest_dir=tmp_path / "version",
        output=tmp_path,
        reporter=Reporter(),
    )
    store = ProxyStore.open(tmp_path / "proxies")

    for name in names:
        entry = store.get(name)
        assert entry and entry.frames == (28 if name == "corrupted.mp4" else entry.source_frames)
        with av.open(str(clips / name)) as source, open_video(store.path(name)) as copy:
            for i, frame in zip(range(min(entry.frames, 20)), source.decode(video=0), strict=False):
                theirs = frame.to_ndarray(format="rgb24").astype(int)
                if name == "video_90.mov":  # PyAV leaves it lying
                    theirs = np.rot90(theirs, -1)
                # 10 bits are brought to 8 in another way here
                limit = 7 if "10bits" in name else 5
                assert np.abs(copy.frames(i, i + 1)[0] - theirs).mean() < limit


def test_of_a_damaged_video_the_frames_before_the_damage_are_kept(tmp_path):
    damage(write_video(tmp_path / "torn.mp4"), at=30)
    recorder = Recorder()

    store = make(tmp_path, ["torn.mp4"], recorder)

    entry = store.get("torn")
    assert entry and entry.source_frames == 40
    assert 24 <= entry.frames <= 30  # the decoder takes in frames ahead, so it stops a little early
    assert shown(store, "torn") == list(range(entry.frames))
    assert f"{entry.frames} of 40 frames" in entry.problem
    assert recorder.of(results.Log)[0].message == entry.problem
    assert recorder.of(results.Result)[0].data["incomplete"] == 1


def test_a_damaged_clip_has_the_same_proxy_every_time(shared, tmp_path):
    content = (shared / "data" / "clips" / "corrupted.mp4").read_bytes()
    names = [f"{i}.mp4" for i in range(6)]
    for name in names:
        (tmp_path / name).write_bytes(content)

    store = make(tmp_path, names, short_side=64)

    assert [store.proxies[str(i)].frames for i in range(6)] == [28] * 6
    assert len({entry.sha256 for entry in store.proxies.values()}) == 1


def test_a_video_that_was_cut_off_says_how_many_frames_are_missing(tmp_path):
    whole = write_video(tmp_path / "whole.mkv", count=200).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    folder = version(tmp_path, ["cut.mkv"], **{"cut.mkv": 200})

    build(ProxiesConfig(), manifest_dir=folder, output=tmp_path, reporter=Reporter())

    store = ProxyStore.open(tmp_path / "proxies")
    entry = store.get("cut")
    assert entry and 0 < entry.frames < 200 and entry.source_frames == 200
    assert shown(store, "cut") == list(range(entry.frames))
    assert entry.problem == f"The proxy of cut holds {entry.frames} of 200 frames."


def test_what_cannot_be_read_is_listed_and_the_run_goes_on(tmp_path):
    write_video(tmp_path / "good.mp4")
    (tmp_path / "text.mp4").write_text("no video\n" * 99)
    (tmp_path / "empty").mkdir()
    Image.new("L", (50, 40)).save(write_frames(tmp_path / "two_sizes") / "007.tif")
    parts = [write_video(tmp_path / f"{n}.ts", size=(n, 96)).read_bytes() for n in (160, 240)]
    (tmp_path / "grows.ts").write_bytes(b"".join(parts))
    recorder = Recorder()

    names = ["text.mp4", "gone.mp4", "good.mp4", "empty", "two_sizes", "grows.ts", ""]
    store = make(tmp_path, names, recorder)

    bad = {"text", "gone", "empty", "two_sizes", "grows", ""}
    data = recorder.of(results.Result)[0].data
    assert data["videos"] == 1 and data["without_proxy"] == 6
    assert data["problems"].keys() == bad
    assert shown(store, "good") == list(range(40))
    assert all(store.get(key) is None for key in bad)
    with pytest.raises(KeyError):
        store.path("text")
    files = sorted(p.name for p in store.folder.iterdir())
    assert files == sorted([INDEX, store.proxies["good"].file, store.proxies["good"].clip_file])


def test_only_when_no_video_can_be_read_the_run_fails(tmp_path):
    (tmp_path / "text.mp4").write_text("no video\n" * 99)

    with pytest.raises(VadError, match="None of the 2 videos") as error:
        make(tmp_path, ["text.mp4", "gone.mp4"])

    assert error.value.code == "video-unreadable"
    assert len(error.value.problems) == 2
    write_video(tmp_path / "gone.mp4")  # a second try looks again
    assert make(tmp_path, ["text.mp4", "gone.mp4"]).get("gone")


def test_a_version_without_files_is_refused(tmp_path):
    with pytest.raises(VadError) as error:
        make(tmp_path, [""])

    assert error.value.code == "run-inputs-missing"


def test_a_stopped_run_goes_on_behind_the_videos_that_are_done(tmp_path):
    names = [write_video(tmp_path / f"{i}.mp4", count=20).name for i in range(4)]
    first, second = Recorder(stop_after=2), Recorder()
    with pytest.raises(VadError, match="holds no proxies"):
        make(tmp_path, names, first, threads=1)
    made = {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("run/partial-*/*.mp4")}

    store = make(tmp_path, names, second, threads=1)

    assert first.of(results.Stopped) == [results.Stopped(step=2)]
    assert second.of(results.Started)[0].resumed_step == 2
    assert len(made) == 2 * 2
    assert all((store.folder / n).stat().st_mtime_ns == at for n, at in made.items())
    assert all(shown(store, str(i)) == list(range(20)) for i in range(4))
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["proxies"]


def test_a_stop_does_not_wait_for_the_end_of_a_long_video(tmp_path, monkeypatch):
    monkeypatch.setattr(seeking, "BLOCK_FRAMES", 8)
    write_video(tmp_path / "long.mp4", count=200)
    recorder = Recorder(stop_at_look=4)

    with pytest.raises(VadError, match="holds no proxies"):
        make(tmp_path, ["long.mp4"], recorder, threads=1)

    assert recorder.of(results.Stopped) == [results.Stopped(step=0)]
    halves = list(tmp_path.glob("run/partial-*/*.mp4"))
    assert shown(make(tmp_path, ["long.mp4"]), "long") == list(range(200))
    assert len(halves) == 2 and not any(half.exists() for half in halves)


def test_a_run_that_was_killed_before_its_last_line_says_it_again(tmp_path):
    names = [write_video(tmp_path / "a.mp4").name]
    first, second = Recorder(), Recorder()
    store = make(tmp_path, names, first)
    before = store.path("a").stat().st_mtime_ns

    make(tmp_path, names, second)

    assert second.of(results.Started)[0].resumed_step == 1
    assert second.of(results.Result) == first.of(results.Result)
    assert store.path("a").stat().st_mtime_ns == before


def test_a_run_that_was_killed_before_the_rename_copies_nothing_again(tmp_path, monkeypatch):
    names = [write_video(tmp_path / "a.mp4").name]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path, names)
    recorder = Recorder()

    make(tmp_path, names, recorder)

    assert recorder.of(results.Started)[0].resumed_step == 1


def test_other_settings_replace_the_proxies_and_threads_change_nothing(tmp_path):
    names = [write_video(tmp_path / f"{i}.mp4", count=20).name for i in range(3)]
    first = make(tmp_path, names, threads=1)
    same = make(tmp_path / ".." / tmp_path.name, names, threads=3)
    other = make(tmp_path, names, short_side=48)

    assert same.fingerprint == first.fingerprint != other.fingerprint
    assert {entry.height for entry in other.proxies.values()} == {48}
    assert len(list(other.folder.glob("*.mp4"))) == 6


def test_copies_for_clips_are_made_at_one_size_or_not_at_all(tmp_path):
    names = [write_video(tmp_path / "a.mp4").name]
    recorder = Recorder()

    made = make(tmp_path, names, recorder, clip_size=(48, 80))
    entry = made.proxies["a"]
    with av.open(str(made.path("a", (48, 80)))) as container:
        stream = container.streams.video[0]
        assert (stream.height, stream.width, stream.pix_fmt) == (48, 80, "gbrp")
    size = made.path("a").stat().st_size + entry.clip_bytes
    assert recorder.of(results.Result)[0].data["size_bytes"] == size
    assert entry.clip_sha256 == file_sha256(made.path("a", (48, 80)))
    assert made.path("a", (80, 48)) == made.path("a") != made.path("a", (48, 80))
    assert made.lacks((80, 48)) and not made.lacks((48, 80))

    none = make(tmp_path, names, clip_size=(0, 0))
    assert none.path("a", (48, 80)) == none.path("a") and none.proxies["a"].clip_bytes == 0
    assert none.lacks((48, 80)) and none.fingerprint != made.fingerprint
    assert [p.name for p in none.folder.glob("*.mp4")] == [none.proxies["a"].file]

    with pytest.raises(ConfigError, match="0 0 for no such copy"):
        ProxiesConfig(clip_size=(0, 128))


def test_proxies_that_were_made_before_there_were_such_copies_are_read(tmp_path):
    store = make(tmp_path, [write_video(tmp_path / "a.mp4").name])
    index = json.loads((store.folder / INDEX).read_text())
    entry = index["videos"]["a"]
    index["videos"]["a"] = {k: v for k, v in entry.items() if not k.startswith("clip_")}
    del index["settings"]["clip_size"]
    (store.folder / INDEX).write_text(json.dumps(index))

    old = ProxyStore.open(store.folder)

    assert old.path("a", (128, 128)) == old.path("a") and old.lacks((128, 128))


def test_a_full_disk_is_named_and_ends_the_run(tmp_path):
    write_video(tmp_path / "a.mp4", count=200)
    folder, config = version(tmp_path, ["a.mp4"]), ProxiesConfig()
    manifest = load_manifest(folder)
    work = tmp_path / f"partial-{proxy_build._digest(config, manifest)}"
    work.mkdir()
    (work / f"{file_stem(manifest.videos[0].key)}.mp4").symlink_to("/dev/full")

    with pytest.raises(VadError) as error:
        build(config, manifest_dir=folder, output=tmp_path, reporter=Reporter())

    assert error.value.code == "disk-full"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ((1080, 1920), (240, 426)),  # height, width
        ((1920, 1080), (426, 240)),
        ((240, 320), (240, 320)),
        ((121, 161), (120, 160)),  # even, as H.264 needs it
        ((3, 3), (4, 4)),
    ],
)
def test_proxies_keep_the_aspect_and_are_never_enlarged(source, expected):
    assert proxy_size(*source, short_side=240) == expected


def test_the_index_says_what_a_proxy_is_of(tmp_path):
    write_video(tmp_path / "a.mp4", size=(640, 480))

    store = make(tmp_path, ["a.mp4"], short_side=96)

    entry = store.get("a")
    assert entry and store.path("a").name == entry.file
    assert (entry.width, entry.height) == (128, 96)
    assert (entry.source_width, entry.source_height, entry.source_frames) == (640, 480, 40)
    assert entry.fps == 25 and entry.size_bytes == store.path("a").stat().st_size
    index = json.loads((store.folder / INDEX).read_text())
    settings = {"short_side": 96, "clip_size": [128, 128], "crf": 18, "gop": 16}
    assert index["settings"] == settings


def test_a_browser_can_begin_before_it_has_all_of_a_proxy(tmp_path):
    store = make(tmp_path, [write_video(tmp_path / "a.mp4").name])

    content = store.path("a").read_bytes()
    assert 0 < content.find(b"moov") < content.find(b"mdat")
    with av.open(str(store.path("a"))) as container:
        stream = container.streams.video[0]
        packets = [p for p in container.demux(stream) if p.size]
    assert [i for i, p in enumerate(packets) if p.is_keyframe] == [0, 16, 32]
    assert all(p.pts == p.dts for p in packets)  # none depends on a later one
    assert len(set(np.diff([p.pts for p in packets]))) == 1


@pytest.mark.parametrize("content", [None, "{", "[]", '{"version": 99}', '{"version": 1}'])
def test_an_index_that_cannot_be_used_says_so(tmp_path, content):
    if content is not None:
        (tmp_path / INDEX).write_text(content)

    with pytest.raises(VadError, match=INDEX) as error:
        ProxyStore.open(tmp_path)

    assert error.value.code == ("file-missing" if content is None else "proxies-invalid")


def test_the_command_line_builds_proxies(tmp_path, capsys):
    folder = version(tmp_path, [write_video(tmp_path / "a.mp4").name])

    code = cli.main(
        f"proxies --manifest {folder} --output {tmp_path} --short-side 64 --json".split()
    )

    records = [results.parse_line(line) for line in capsys.readouterr().out.splitlines()]
    assert code == results.EXIT_OK
    assert isinstance(records[-1], results.Result) and records[-1].data["videos"] == 1
    assert ProxyStore.open(tmp_path / "proxies").get("a")
