"""Small pictures of videos, and the process that makes them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from test_reader import write_frames, write_video

from vad.errors import VadError
from vad.video.reader import open_video
from vad.video.thumbnail import picture, thumbnail


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    assert image.format == "WEBP"
    return image


def test_a_picture_shows_the_frame_that_was_asked_for(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4")

    for frame in (0, 1, 7, 9):
        assert abs(picture(path, frame).mean() - 20 * frame) < 4


def test_frames_behind_a_later_key_frame_are_found(tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=12, options={"crf": "1", "g": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(40):
            grey = np.full((48, 64, 3), 6 * n, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        file.mux(stream.encode(None))

    assert [round(picture(path, n).mean() / 6) for n in (3, 22, 39)] == [3, 22, 39]


def test_a_large_picture_is_made_small_and_a_small_one_stays(tmp_path: Path) -> None:
    large = write_video(tmp_path / "large.mp4", count=2, size=(640, 480))
    small = write_video(tmp_path / "small.mp4", count=2, size=(64, 32))

    content, width, height = thumbnail(large)

    assert (width, height) == opened(content).size == (320, 240)
    assert thumbnail(small)[1:] == (64, 32)


def test_folders_of_frames_have_pictures_too(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "Test001", suffix="tif")

    content, *size = thumbnail(folder, 4)

    assert tuple(size) == (24, 16)
    assert abs(np.asarray(opened(content).convert("L")).mean() - 50) < 4


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("av1_video.mkv", (320, 180)),
        ("corrupted.mp4", (320, 180)),  # 28 good frames
        ("flipping_a_pancake.mkv", (320, 180)),
        ("h264_10bits.mp4", (200, 200)),
        ("h265_video.mp4", (128, 128)),
        ("mpeg4_test.avi", (320, 240)),  # XviD: its packets do not tell the frames' times
        ("unordered.mov", (50, 50)),
        ("video_90.mov", (320, 568)),  # lies on its side in the file
    ],
)
def test_clips_that_people_have_are_decoded_as_everywhere_else(
    shared: Path, name: str, size: tuple[int, int]
) -> None:
    path = shared / "data" / "clips" / name

    assert thumbnail(path)[1:] == size
    with open_video(path) as reader:
        wanted = reader.frames(0, 2).astype(float)
    for frame in (0, 1):
        assert np.abs(picture(path, frame) - wanted[frame]).mean() < 4  # 10 bits are rounded


def test_a_frame_behind_the_damage_is_said_to_be_missing(shared: Path) -> None:
    path = shared / "data" / "clips" / "corrupted.mp4"

    assert picture(path, 20).shape[2] == 3
    with pytest.raises(VadError, match="damaged behind frame 28") as error:
        picture(path, 40)
    assert error.value.code == "video-unreadable"


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    text = tmp_path / "list.mp4"
    text.write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    short = write_video(tmp_path / "short.mp4", count=3)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(short.read_bytes()[:200])
    (tmp_path / "empty").mkdir()

    for path, frame, code in (
        (text, 0, "video-unreadable"),
        (cut, 0, "video-unreadable"),
        (tmp_path / "empty", 0, "video-unreadable"),
        (tmp_path / "gone.mp4", 0, "file-missing"),
        (short, 3, "video-truncated"),
    ):
        with pytest.raises(VadError) as error:
            picture(path, frame)
        assert error.value.code == code


def test_a_file_with_sound_alone_has_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate = 16000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))

    with pytest.raises(VadError) as error:
        picture(path)

    assert error.value.code == "video-no-track"


# --- the process --------------------------------------------------------------------------------


class Helper:
    """The process as the server starts it."""

    def __init__(self, code: str = "") -> None:
        command = ["-c", textwrap.dedent(code)] if code else ["-m", "vad.video.thumbnail"]
        self.process = subprocess.Popen(
            [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def ask(self, path: Path, **job: Any) -> tuple[dict[str, Any], bytes]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"path": str(path), **job}).encode() + b"\n")
        head = json.loads(self.process.stdout.readline())
        content = b""
        while len(content) < head.get("size", 0):
            content += self.process.stdout.read(head["size"] - len(content))
        return head, content


@pytest.fixture
def helper() -> Iterator[Any]:
    made: list[Helper] = []

    def make(code: str = "") -> Helper:
        made.append(Helper(code))
        return made[-1]

    yield make
    for each in made:
        each.process.kill()
        each.process.wait()
        for end in (each.process.stdin, each.process.stdout):
            end.close()


def test_one_process_answers_many_jobs_good_and_bad(tmp_path: Path, helper: Any) -> None:
    path, running = write_video(tmp_path / "a.mp4"), helper()

    first, content = running.ask(path, frame=5)
    missing, nothing = running.ask(tmp_path / "gone.mp4")
    second, _ = running.ask(path)

    assert (first["width"], first["height"]) == opened(content).size == (48, 32)
    assert (missing["error"]["code"], nothing) == ("file-missing", b"")
    assert second["size"] > 0
    running.process.stdin.close()
    assert running.process.wait(5) == 0


WITH_WORK = """
    import os, sys, time
    from vad.video import thumbnail
    thumbnail.MEMORY_BYTES = 1 << 30
    work = {work}
    thumbnail.thumbnail = lambda path, frame, width: work() or (b"x", 1, 1)
    thumbnail.serve(sys.stdin.buffer, sys.stdout.buffer, wall_s=1.0)
"""


@pytest.mark.parametrize(
    ("work", "said"),
    [
        ("lambda: time.sleep(60)", "more time"),
        ("lambda: os.abort()", "decoder failed"),
        ("lambda: os._exit(0)", "decoder failed"),
        ("lambda: bytearray(3 << 30)", "more memory"),
        ("lambda: sys.exit(3)", "decoder failed"),
    ],
)
def test_a_video_that_takes_the_decoder_down_takes_nothing_else(
    tmp_path: Path, helper: Any, work: str, said: str
) -> None:
    """It sleeps, aborts, ends, wants 3 GB: the next job is answered all the same."""
    running = helper(WITH_WORK.format(work=work))

    for _ in range(2):
        head, content = running.ask(tmp_path / "a.mp4")
        assert said in head["error"]["message"]
        assert content == b""


def test_a_video_cannot_make_its_process_write_into_a_file(tmp_path: Path, helper: Any) -> None:
    kept = tmp_path / "kept"
    kept.write_text("as it was")
    work = f"lambda: os.write(os.open({str(kept)!r}, os.O_WRONLY | os.O_APPEND), b'more')"

    head, _ = helper(WITH_WORK.format(work=work)).ask(tmp_path / "a.mp4")

    assert "decoder failed" in head["error"]["message"]
    assert kept.read_text() == "as it was"


def test_nothing_of_the_server_is_loaded_and_no_torch() -> None:
    code = "import sys, vad.video.thumbnail; print({'torch', 'django'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
