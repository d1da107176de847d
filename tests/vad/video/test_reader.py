"""Reading video files and frame folders, and what is said of those that cannot be read."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vad.errors import VadError
from vad.video.reader import Limits, open_video, probe

FRAMES = {  # counted by decoding with another decoder
    "av1_video.mkv": 125,
    "flipping_a_pancake.mkv": 310,
    "h264_10bits.mp4": 30,
    "mpeg4_test.avi": 164,
    "unordered.mov": 4,
    "video_90.mov": 3,
}


def write_video(path: Path, count: int = 10, size: tuple[int, int] = (48, 32)) -> Path:
    """A clip whose frame i is grey 20 * i."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for i in range(count):
            picture = np.full((size[1], size[0], 3), 20 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def write_frames(folder: Path, count: int = 12, suffix: str = "png") -> Path:
    folder.mkdir(parents=True)
    for i in range(1, count + 1):
        Image.new("L", (24, 16), 10 * i).save(folder / f"{i}.{suffix}")
    return folder


@pytest.mark.parametrize("name", FRAMES)
def test_frames_are_counted_by_decoding_in_containers_that_people_have(shared, name):
    assert probe(shared / "data" / "clips" / name).num_frames == FRAMES[name]


def test_a_damaged_file_is_named_with_its_good_frames(shared):
    with pytest.raises(VadError, match=r"corrupted\.mp4 is damaged: 28 of its 50") as error:
        probe(shared / "data" / "clips" / "corrupted.mp4")

    assert error.value.code == "video-unreadable"


def test_a_rotated_video_stands_upright(shared):
    info = probe(shared / "data" / "clips" / "video_90.mov")

    assert (info.width, info.height) == (320, 568)


@pytest.mark.parametrize("width", [32, 48, 50, 64, 96, 100])
def test_frames_of_a_file_are_those_that_were_written(tmp_path, width):
    with open_video(write_video(tmp_path / "v.mp4", size=(width, 32))) as reader:
        frames = reader.frames(3, 7)

    assert frames.shape == (4, 32, width, 3) and frames.dtype == np.uint8
    assert np.abs(frames.mean(axis=(1, 2, 3)) - [60, 80, 100, 120]).max() < 3


@pytest.mark.parametrize("width", [48, 64])
def test_random_access_gives_the_frame_of_sequential_access(tmp_path, width):
    path = write_video(tmp_path / "v.mp4", count=12, size=(width, 32))
    with open_video(path) as reader:
        in_order = np.concatenate(list(reader.blocks(12, size=5)))
    with open_video(path) as reader:
        apart = np.stack([reader.frames(i, i + 1)[0] for i in (11, 2, 7)])

    assert (apart == in_order[[11, 2, 7]]).all()


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_frame_folders_are_in_the_order_of_their_numbers(tmp_path, suffix):
    with open_video(write_frames(tmp_path / "clip", suffix=suffix)) as reader:
        frames = reader.frames(0, reader.listed_frames)

    assert list(frames[:, 0, 0, 0]) == [10 * i for i in range(1, 13)]


def test_hidden_files_of_a_mac_are_no_frames(tmp_path):
    folder = write_frames(tmp_path / "clip")
    (folder / "._1.png").write_bytes(b"Mac OS X")

    assert probe(folder).num_frames == 12


def test_a_file_that_ends_early_says_so(tmp_path):
    with (
        open_video(write_video(tmp_path / "v.mp4")) as reader,
        pytest.raises(VadError, match="ends after 10 frames") as error,
    ):
        reader.frames(8, 12)

    assert error.value.code == "video-truncated"


def hostile(folder: Path) -> dict[str, Path]:
    """Files that are no videos, by what they are."""
    contents = {
        "empty": b"",
        "text": b"hello, this is text\n" * 50,
        "playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "random": bytes(range(256)) * 20,
        "mp4 without content": b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2",
    }
    for name, content in contents.items():
        (folder / f"{name}.mp4").write_bytes(content)
    return {name: folder / f"{name}.mp4" for name in contents}


@pytest.mark.parametrize(
    "name", ["empty", "text", "playlist", "concat", "random", "mp4 without content"]
)
def test_what_is_no_video_is_refused_by_name(tmp_path, name):
    path = hostile(tmp_path)[name]

    with pytest.raises(VadError, match=path.name) as error:
        probe(path)

    assert error.value.code == "video-unreadable"


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        sound.rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))

    with pytest.raises(VadError, match=r"sound\.mp4 has no video track") as error:
        probe(path)

    assert error.value.code == "video-no-track"


def test_a_video_beyond_the_limits_is_refused(tmp_path):
    path = write_video(tmp_path / "v.mp4")

    with pytest.raises(VadError, match="more than this program takes"):
        probe(path, Limits(max_frames=5))
    with pytest.raises(VadError, match="more than this program takes"):
        probe(path, Limits(max_pixels=100))


@pytest.mark.parametrize("fault", ["other size", "cut off", "no image"])
def test_a_bad_frame_is_named(tmp_path, fault):
    folder = write_frames(tmp_path / "clip")
    bad = folder / "5.png"
    if fault == "other size":
        Image.new("L", (25, 16)).save(bad)
    elif fault == "cut off":
        bad.write_bytes(bad.read_bytes()[:40])
    else:
        bad.write_bytes(b"no image")

    with pytest.raises(VadError, match=r"5\.png"):
        probe(folder)


def test_a_path_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(VadError, match="nowhere") as error:
        open_video(tmp_path / "nowhere.mp4")

    assert error.value.code == "file-missing"
