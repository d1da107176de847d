"""Clips: the frames that were asked for, whatever way they are decoded."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from vad.configs import ProxiesConfig
from vad.data.clips import Clips
from vad.data.manifest import Manifest, Video, save_version
from vad.errors import ShapeError, VadError
from vad.features.preprocess import resize_pillow
from vad.reporting import Reporter
from vad.video.proxies import ProxyStore
from vad.video.proxy_build import build
from vad.video.seeking import ForwardReader

SIZE = (48, 80)
CELLS = (3, 4)  # a frame shows its number in binary, in 12 black or white cells


def picture(number: int) -> np.ndarray:
    bits = np.array([(number >> i) & 1 for i in range(12)], np.uint8).reshape(CELLS)
    return np.repeat(np.kron(bits, np.ones((32, 40), np.uint8))[:, :, None] * 200 + 20, 3, axis=2)


def numbers(clip: np.ndarray) -> list[int]:
    """What the frames [F, H, W, 3] of a clip show."""
    rows, columns = clip.shape[1] // CELLS[0], clip.shape[2] // CELLS[1]
    centres = clip[:, rows // 2 :: rows, columns // 2 :: columns, 1]
    return [int((c.reshape(-1) > 120) @ (1 << np.arange(12))) for c in centres]


def write_video(path: Path, count: int = 60, *, gop: int = 12, codec: str = "libx264") -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 160, 96, "yuv420p", gop
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def damage(path: Path, at: int) -> Path:
    """Fill a frame's packet with what no decoder takes."""
    with av.open(str(path)) as container:
        packets = sorted((p for p in container.demux(video=0) if p.size), key=lambda p: p.pts)
        place, size = packets[at].pos, packets[at].size
    content = bytearray(path.read_bytes())
    content[place : place + size] = b"\xff" * size
    path.write_bytes(content)
    return path


def manifest_of(folder: Path, counts: dict[str, int]) -> Manifest:
    """Videos by their path below `folder`, which is their key too, and the frames they have."""
    videos = tuple(
        Video(key=path, split="train", label=0, path=path, num_frames=count)
        for path, count in counts.items()
    )
    return Manifest(name="set", format="generic", videos=videos, media_root=str(folder))


def make_proxies(
    folder: Path, manifest: Manifest, clip_size: tuple[int, int] = (0, 0)
) -> ProxyStore:
    (folder / "version").mkdir()
    save_version(folder / "version", manifest, {})
    config = ProxiesConfig(clip_size=clip_size)
    build(config, manifest_dir=folder / "version", output=folder / "run", reporter=Reporter())
    return ProxyStore.open(folder / "run" / "proxies")


def window(start: int, length: int = 8, last: int = 10**6) -> np.ndarray:
    return np.minimum(np.arange(start, start + length), last)


@pytest.fixture
def videos(tmp_path: Path) -> Manifest:
    """Three videos of 60 frames, and a folder of 20."""
    for name in "abc":
        write_video(tmp_path / f"{name}.mp4")
    (tmp_path / "frames").mkdir()
    for i in range(20):
        Image.fromarray(picture(i)).save(tmp_path / "frames" / f"{i}.png")
    return manifest_of(tmp_path, {"a.mp4": 60, "b.mp4": 60, "c.mp4": 60, "frames": 20})


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many files were open, each time one was opened."""
    counts: list[int] = []
    readers: set[int] = set()
    lock = threading.Lock()
    begin, close = ForwardReader._begin, ForwardReader.close

    def beginning(reader: ForwardReader) -> None:
        begin(reader)
        with lock:
            readers.add(id(reader))
            counts.append(len(readers))

    def closing(reader: ForwardReader) -> None:
        with lock:
            readers.discard(id(reader))
        close(reader)

    monkeypatch.setattr(ForwardReader, "_begin", beginning)
    monkeypatch.setattr(ForwardReader, "close", closing)
    return counts


def proxies_of(source: str, folder: Path, manifest: Manifest) -> ProxyStore | None:
    """What clips of `SIZE` are read from: the videos, proxies, or copies of this size."""
    if source == "videos":
        return None
    return make_proxies(folder, manifest, SIZE if source == "clip copies" else (0, 0))


SOURCES = ["videos", "proxies", "clip copies"]


@pytest.mark.parametrize("source", SOURCES)
def test_clips_show_the_frames_that_were_asked_for(videos, tmp_path, source):
    proxies = proxies_of(source, tmp_path, videos)
    with Clips(videos, size=SIZE, proxies=proxies, held_bytes=0) as clips:
        found = clips.get(
            [
                ("a.mp4", window(30)),
                ("frames", window(7)),
                ("b.mp4", window(0)),
                ("b.mp4", np.array([3, 4, 20, 21, 59, 59, 59, 59])),
            ]
        )

    assert found.shape == (4, 8, *SIZE, 3) and found.dtype == np.uint8
    assert numbers(found[0]) == list(range(30, 38))
    assert numbers(found[1]) == list(range(7, 15))
    assert numbers(found[2]) == list(range(8))
    assert numbers(found[3]) == [3, 4, 20, 21, 59, 59, 59, 59]


@pytest.mark.parametrize("held_bytes", [0, 1 << 30])
def test_a_video_shorter_than_a_clip_repeats_its_last_frame(videos, held_bytes):
    with Clips(videos, size=SIZE, held_bytes=held_bytes) as clips:
        whole = window(0, 32, last=clips.num_frames("frames") - 1)
        assert numbers(clips.get([("frames", whole)])[0]) == [*range(20), *[19] * 12]
        assert numbers(clips.get([("frames", window(16))])[0]) == [16, 17, 18, 19, 19, 19, 19, 19]


WAYS: list[dict[str, Any]] = [
    {"threads": 1, "held_bytes": 0},
    {"threads": 4, "held_bytes": 0},
    {"threads": 4, "held_bytes": 0, "max_open": 1},
    {"threads": 1},
    {"threads": 4},
]


def shown(manifest: Manifest, order: int, proxies: ProxyStore | None, way: Any) -> dict:
    """Every clip of 8 frames, asked for in one of several orders."""
    keys = [v.key for v in manifest.videos]
    with Clips(manifest, size=SIZE, proxies=proxies, **way) as clips:
        assert clips.problems(keys) == {}
        wanted = [(key, window(at)) for key in keys for at in range(0, clips.num_frames(key), 5)]
        wanted = [wanted[i] for i in np.random.default_rng(order).permutation(len(wanted))]
        return {
            (key, int(frames[0])): clip.tobytes()
            for at in range(0, len(wanted), 4)
            for (key, frames), clip in zip(
                wanted[at : at + 4], clips.get(wanted[at : at + 4]), strict=True
            )
        }


@pytest.mark.parametrize("source", SOURCES)
def test_memory_threads_and_order_change_nothing(videos, tmp_path, source):
    damage(tmp_path / "b.mp4", at=30)
    proxies = proxies_of(source, tmp_path, videos)

    first, *others = [shown(videos, at, proxies, way) for at, way in enumerate(WAYS)]

    assert all(other == first for other in others)


def test_copies_of_the_clips_size_are_as_near_to_the_video_as_proxies(shared, tmp_path):
    folder = shared / "data" / "clips"
    manifest = manifest_of(folder, {"h264_10bits.mp4": 0, "video_90.mov": 0})
    size = (128, 128)
    wanted = [(v.key, window(0)) for v in manifest.videos]

    def clips(proxies: ProxyStore | None, size: tuple[int, int]) -> np.ndarray:
        with Clips(manifest, size=size, proxies=proxies, held_bytes=0) as source:
            return source.get(wanted).astype(int)

    store = make_proxies(tmp_path, manifest, size)
    videos, copies = clips(None, size), clips(store, size)
    for entry in store.proxies.values():  # nothing but the copies can have been read
        (store.folder / entry.file).rename(store.folder / f"{entry.file}.away")
    assert np.array_equal(clips(store, size), copies)
    for entry in store.proxies.values():
        (store.folder / f"{entry.file}.away").rename(store.folder / entry.file)
        (store.folder / entry.clip_file).unlink()
    (tmp_path / "again").mkdir()
    proxies = clips(make_proxies(tmp_path / "again", manifest), size)

    def error(found: np.ndarray) -> np.ndarray:
        return np.abs(found - videos).mean(axis=(1, 2, 3, 4))

    assert (error(copies) < error(proxies) + 0.5).all() and error(copies).max() < 4
    assert clips(store, (64, 96)).shape == (2, 8, 64, 96, 3)  # of another size: from the proxies


def test_odd_clips_come_out_in_order_whatever_way_they_are_read(shared):
    folder = shared / "data" / "clips"
    names = [p.name for p in folder.iterdir() if p.suffix != ".md"]
    manifest = manifest_of(folder, dict.fromkeys(names, 0))

    by_number = shown(manifest, 1, None, WAYS[1])
    held = shown(manifest, 2, None, WAYS[4])

    assert by_number == held


# in the first the decoder finds other frames by number, the second has no times of its frames
@pytest.mark.parametrize("name", ["h265_video.mp4", "mpeg4_test.avi", "unordered.mov"])
def test_a_frame_found_by_number_is_the_one_of_that_number(shared, name):
    with av.open(str(shared / "data" / "clips" / name)) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    size = frames[0].shape[:2]

    with Clips(manifest_of(shared / "data" / "clips", {name: 0}), size=size, held_bytes=0) as clips:
        for at in (9, 2, 5, 3, 8):
            number = min(at, len(frames) - 1)
            assert np.array_equal(clips.get([(name, np.array([at]))])[0, 0], frames[number])
        assert clips.damaged == {}


@pytest.mark.parametrize("suffix", ["ts", "mpg", "avi"])
def test_where_frames_are_not_found_by_number_they_are_counted(tmp_path, suffix):
    codec = {"ts": "libx264", "mpg": "mpeg2video", "avi": "mpeg4"}[suffix]
    name = write_video(tmp_path / f"a.{suffix}", codec=codec).name

    with Clips(manifest_of(tmp_path, {name: 60}), size=SIZE, held_bytes=0) as clips:
        for at in (50, 3, 33, 20):
            assert numbers(clips.get([(name, window(at))])[0]) == list(range(at, at + 8))
        assert clips.damaged == {}


def test_frames_are_resized_as_pillow_does(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "noise").mkdir()
    frames = rng.integers(0, 256, (3, 100, 140, 3), dtype=np.uint8)
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / "noise" / f"{i}.png")
    manifest = manifest_of(tmp_path, {"noise": 3})

    for size in ((37, 61), (48, 150), (100, 140), (224, 224)):
        with Clips(manifest, size=size) as clips:
            (clip,) = clips.get([("noise", np.arange(3))])
        difference = np.abs(clip.astype(int) - resize_pillow(frames, size))
        assert difference.max() <= (0 if size == (100, 140) else 1)  # 1.5 grey levels are allowed


def test_no_more_readers_are_open_than_allowed(tmp_path, opened):
    names = {write_video(tmp_path / f"{i}.mp4", count=20).name: 20 for i in range(8)}
    with Clips(
        manifest_of(tmp_path, names), size=SIZE, threads=2, max_open=3, held_bytes=0
    ) as clips:
        clips.get([(n, window(0)) for n in names])  # each is tried once, with another reader
        opened.clear()
        for _ in range(3):
            clips.get([(n, window(4)) for n in names])

    assert opened and max(opened) <= 3


def test_readers_stay_open_and_the_least_recently_used_goes_first(videos, opened):
    with Clips(videos, size=SIZE, threads=1, max_open=2, held_bytes=0) as clips:
        for key in ("a.mp4", "b.mp4", "a.mp4", "c.mp4"):
            clips.get([(key, window(0))])
        opened.clear()
        clips.get([("a.mp4", window(20)), ("c.mp4", window(20)), ("a.mp4", window(14))])
        assert opened == []
        clips.get([("b.mp4", window(20))])
        assert len(opened) == 1


def test_open_readers_hold_no_threads(videos):
    with Clips(videos, size=SIZE, threads=1, held_bytes=0) as clips:
        clips.get([("a.mp4", window(0))])
        before = len(list(Path("/proc/self/task").iterdir()))
        clips.get([("b.mp4", window(0)), ("c.mp4", window(0))])

        assert len(list(Path("/proc/self/task").iterdir())) == before


def test_frames_far_apart_and_repeated_come_out_in_their_places(videos):
    wanted = np.array([0, 0, 3, 40, 41, 41, 59])
    with Clips(videos, size=SIZE, held_bytes=0) as clips:
        assert numbers(clips.get([("a.mp4", wanted)])[0]) == wanted.tolist()


def test_videos_that_fit_into_memory_are_decoded_once(videos, opened):
    keys = [v.key for v in videos.videos]
    with Clips(videos, size=SIZE, max_open=1) as clips:
        clips.get([(key, window(0)) for key in keys])
        opened.clear()
        found = clips.get([(key, window(10)) for key in keys for _ in range(3)])

    assert opened == []
    assert all(numbers(clip) == list(range(10, 18)) for clip in found)


def test_only_the_videos_that_will_be_asked_for_must_fit(videos):
    room = 60 * SIZE[0] * SIZE[1] * 3
    with Clips(videos, size=SIZE, held_bytes=room) as clips:
        clips.get([("a.mp4", window(0))])
        assert clips.held_bytes == 0
        clips.problems(["a.mp4"])
        clips.get([("a.mp4", window(0))])
        assert clips.held_bytes == room
        clips.problems(["b.mp4"])  # both do not fit
        clips.get([("b.mp4", window(0))])
        assert clips.held_bytes == room


def test_for_a_frame_that_cannot_be_decoded_stands_the_last_one_before(tmp_path):
    damage(write_video(tmp_path / "torn.mp4", gop=24), at=30)

    with Clips(manifest_of(tmp_path, {"torn.mp4": 60}), size=SIZE, held_bytes=0) as clips:
        before = numbers(clips.get([("torn.mp4", window(4))])[0])
        across = numbers(clips.get([("torn.mp4", window(24, 26))])[0])
        inside = numbers(clips.get([("torn.mp4", window(36))])[0])
        behind = numbers(clips.get([("torn.mp4", window(50))])[0])

        assert before == list(range(4, 12))
        last = across[23]
        assert 24 <= last < 36 and inside == [last] * 8
        assert across == [*(min(i, last) for i in range(24, 48)), 48, 49]
        assert behind == list(range(50, 58))  # another key frame came before
        assert list(clips.damaged) == ["torn.mp4"]
        assert " of the frames of torn.mp4 can be decoded" in clips.damaged["torn.mp4"]


def test_an_image_that_cannot_be_read_is_stood_for_by_the_one_before(videos, tmp_path):
    for i in (0, 7):
        (tmp_path / "frames" / f"{i}.png").write_bytes(
            (tmp_path / "frames" / f"{i}.png").read_bytes()[:60]
        )

    with Clips(videos, size=SIZE) as clips:
        (clip,) = clips.get([("frames", window(0, 16))])

    assert numbers(clip) == [1, 1, 2, 3, 4, 5, 6, 6, *range(8, 16)]


def test_a_video_that_became_shorter_is_noted(tmp_path):
    write_video(tmp_path / "short.mp4", count=20)

    with Clips(manifest_of(tmp_path, {"short.mp4": 60}), size=SIZE) as clips:
        assert numbers(clips.get([("short.mp4", window(16))])[0]) == [16, 17, 18, *[19] * 5]
        assert numbers(clips.get([("short.mp4", window(40))])[0]) == [19] * 8
        assert clips.damaged["short.mp4"].startswith("20 of the frames of short.mp4")


def test_what_a_proxy_lacks_is_noted(tmp_path):
    damage(write_video(tmp_path / "torn.mp4", gop=60), at=30)
    manifest = manifest_of(tmp_path, {"torn.mp4": 60})
    store = make_proxies(tmp_path, manifest)

    with Clips(manifest, size=SIZE, proxies=store) as clips:
        last = clips.num_frames("torn.mp4") - 1
        assert last < 30
        assert numbers(clips.get([("torn.mp4", window(20, 16))])[0])[-1] == last
        assert "holds" in clips.damaged["torn.mp4"]


def test_problems_name_what_cannot_be_looked_at(tmp_path):
    write_video(tmp_path / "good.mp4")
    (tmp_path / "text.mp4").write_text("no video\n" * 99)
    (tmp_path / "empty").mkdir()
    names = ["good.mp4", "text.mp4", "gone.mp4", "empty", ""]

    with Clips(manifest_of(tmp_path, dict.fromkeys(names, 0)), size=SIZE) as clips:
        found = clips.problems([*names, "unknown"])

        assert found.keys() == {"text.mp4", "gone.mp4", "empty", "", "unknown"}
        assert all(text.endswith(".") for text in found.values())
        assert clips.damaged == {}
        with pytest.raises(VadError, match="text"):
            clips.get([("good.mp4", window(0)), ("text.mp4", window(0))])
        assert numbers(clips.get([("good.mp4", window(0))])[0]) == list(range(8))


def test_frames_are_counted_by_proxy_then_manifest_then_container(tmp_path):
    write_video(tmp_path / "a.mp4", count=20)
    write_video(tmp_path / "b.mp4", count=20)
    store = make_proxies(tmp_path, manifest_of(tmp_path, {"a.mp4": 0}))

    with Clips(manifest_of(tmp_path, {"a.mp4": 19, "b.mp4": 18}), size=SIZE) as clips:
        assert (clips.num_frames("a.mp4"), clips.num_frames("b.mp4")) == (19, 18)
    with Clips(manifest_of(tmp_path, {"a.mp4": 19, "b.mp4": 0}), size=SIZE, proxies=store) as clips:
        assert (clips.num_frames("a.mp4"), clips.num_frames("b.mp4")) == (20, 20)


def test_asking_brings_the_same_later(videos):
    with Clips(videos, size=SIZE) as clips:
        wanted = [[("a.mp4", window(at)), ("b.mp4", window(at))] for at in range(20)]
        asked = [clips.ask(w) for w in wanted]
        for w, future in zip(wanted, asked, strict=True):
            assert np.array_equal(future.result(), clips.get(w))
        with pytest.raises(VadError, match="unknown"):
            clips.ask([("unknown", window(0))]).result()


def test_many_threads_may_ask_at_once(videos):
    wrong: list[object] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(15):
            starts = rng.integers(0, 50, 3)
            found = clips.get([(f"{k}.mp4", window(s)) for k, s in zip("abc", starts, strict=True)])
            wrong.extend(
                (s, numbers(clip))
                for s, clip in zip(starts, found, strict=True)
                if numbers(clip) != list(range(s, s + 8))
            )

    with Clips(videos, size=SIZE, threads=3, max_open=2, held_bytes=0) as clips:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert wrong == []


@pytest.mark.parametrize("frames", [[3, 2], [-1, 0], [], [[1, 2]], [1, 2, 3]], ids=lambda f: f"{f}")
def test_numbers_that_do_not_rise_from_0_are_refused(videos, frames):
    with Clips(videos, size=SIZE) as clips, pytest.raises(ShapeError):
        clips.get([("a.mp4", np.array(frames, np.int64)), ("b.mp4", np.array([1, 2]))])


def test_closing_does_not_wait_for_what_was_not_begun(videos):
    clips = Clips(videos, size=SIZE, threads=1, held_bytes=0)
    asked = [clips.ask([("a.mp4", window(at))]) for at in range(50)]

    clips.close()

    assert all(future.done() for future in asked)
