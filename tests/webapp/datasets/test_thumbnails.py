"""Pictures of videos over HTTP: who gets them, how they are kept, what stands in their place."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import seeding
from django.test import Client

from vad.data.manifest import Manifest, save_version
from vad.data.manifest import Video as Manifested
from vad.errors import VadError
from webapp.accounts.models import Project, User
from webapp.datasets import decoder as decoding
from webapp.datasets import thumbnails
from webapp.datasets.decoder import Busy, Decoder
from webapp.datasets.models import DatasetVersion, Video
from webapp.evaluations.models import Evaluation


@pytest.fixture
def seeded(user: User, project: Project) -> seeding.Seeded:
    return seeding.seed(user, project)


@pytest.fixture(scope="module")
def picture() -> bytes:
    """A real answer of the decoder, to count and delay them."""
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.fromarray(np.full((10, 16, 3), 90, np.uint8)).save(file, "WEBP")
    return file.getvalue()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, picture: bytes) -> list[tuple[Path, int]]:
    """Every job that reaches the decoder, which answers at once."""
    jobs: list[tuple[Path, int]] = []

    def answer(path: Path, frame: int, *, wait_s: float = 0) -> bytes:
        jobs.append((path, frame))
        return picture

    monkeypatch.setattr(thumbnails.decoder, "thumbnail", answer)
    return jobs


@pytest.fixture
def damaged(version: DatasetVersion, footage: Path) -> Video:
    """A video of `version` whose file is none."""
    (footage / "bad.mp4").write_bytes(b"\0\0\0\x18ftypmp42 and nothing behind it")
    videos = (
        Manifested(key="bad", split="test", label=1, path="bad.mp4"),
        Manifested(key="gone", split="test", label=1, path="gone.mp4"),
        Manifested(key="none", split="test", label=1),
    )
    version.folder.mkdir(parents=True)
    manifest = Manifest(name="x", format="generic", videos=videos, media_root=str(footage))
    save_version(version.folder, manifest, {})
    rows = [
        Video.objects.create(version=version, key=v.key, split="test", label=1, path=v.path)
        for v in videos
    ]
    return rows[0]


def address(video: Video, query: str = "") -> str:
    return f"/datasets/{video.version_id}/videos/{video.pk}/thumbnail{query}"


def first_video(seeded: seeding.Seeded) -> Video:
    return seeded.version.videos.get(key="test/running_053")


def test_a_picture_is_decoded_once_and_then_kept(client: Client, seeded: seeding.Seeded) -> None:
    """The real thing: a film, the helper process, a file in the data folder."""
    video = first_video(seeded)
    film = seeding.add_footage(seeded, video.key)

    answer = client.get(address(video))
    film.unlink()
    again = client.get(address(video))

    assert answer["Content-Type"] == "image/webp"
    assert answer.content[8:12] == b"WEBP"
    assert again.content == answer.content


def test_the_browser_keeps_it_and_is_told_so_the_next_time(
    client: Client, seeded: seeding.Seeded, asked: list[Any]
) -> None:
    video = first_video(seeded)
    seeding.add_footage(seeded, video.key)

    answer = client.get(address(video))
    known = client.get(address(video), headers={"If-None-Match": answer["ETag"]})

    assert "immutable" in answer["Cache-Control"]
    assert "private" in answer["Cache-Control"]
    assert (known.status_code, known.content) == (304, b"")
    assert len(asked) == 1


def test_under_a_run_it_is_the_frame_of_the_highest_score(
    client: Client, seeded: seeding.Seeded, asked: list[Any]
) -> None:
    from vad.evaluation.scores import ScoreSet

    video, evaluation = first_video(seeded), seeded.evaluations[0]
    seeding.add_footage(seeded, video.key)
    scores = ScoreSet.load(evaluation.scores_path).video(video.key)

    client.get(address(video, f"?run={evaluation.pk}"))
    client.get(address(video, "?frame=77"))

    # the whole snippet is 16 frames; a frame that a client names is not looked at
    assert [frame for _, frame in asked] == [int(scores.scores.argmax()) * 16 + 8, 0]


def test_a_video_that_was_not_evaluated_shows_its_first_frame(
    client: Client, seeded: seeding.Seeded, asked: list[Any]
) -> None:
    video = seeded.version.videos.filter(split="train").first()
    assert video
    seeding.add_footage(seeded, video.key)

    client.get(address(video, f"?run={seeded.evaluations[0].pk}"))

    assert asked[0][1] == 0


def test_a_proxy_is_decoded_rather_than_its_source(
    client: Client, seeded: seeding.Seeded, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from webapp.datasets import media

    video = first_video(seeded)
    found = media.Media(
        path=Path("/proxies/x.mp4"), content_type="video/mp4", is_proxy=True, num_frames=9,
        fps=25.0, width=320, height=240,
    )  # fmt: skip
    monkeypatch.setattr(media, "_proxy", lambda video: found)

    client.get(address(video))

    assert asked == [(found.path, 0)]


def test_what_cannot_be_decoded_is_said_and_not_tried_again_at_once(
    client: Client, damaged: Video, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = client.get(address(damaged))
    assert answer["Content-Type"] == "image/svg+xml"
    assert answer["Cache-Control"] == "no-store"
    assert 'data-state="problem"' in answer.content.decode()
    assert "bad.mp4 cannot be decoded" in answer.content.decode()

    tried: list[Path] = []
    monkeypatch.setattr(
        thumbnails.decoder, "thumbnail", lambda path, frame, **_: tried.append(path) or b"RIFF"
    )
    assert "bad.mp4 cannot be decoded" in client.get(address(damaged)).content.decode()
    note = next((thumbnails.settings.DATA_DIR / "thumbnails").rglob("*.json"))
    long_ago = time.time() - thumbnails.BELIEVED_S - 1
    os.utime(note, (long_ago, long_ago))
    client.get(address(damaged))

    assert len(tried) == 1


def test_a_name_in_a_problem_is_no_markup(
    client: Client, damaged: Video, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> bytes:
        raise VadError("video-unreadable", "<script>alert(1)</script> cannot be decoded.")

    monkeypatch.setattr(thumbnails.decoder, "thumbnail", refuse)

    assert b"<script>" not in client.get(address(damaged)).content


@pytest.mark.parametrize("key", ["gone", "none"])
def test_a_video_without_a_file_has_a_placeholder(
    client: Client, damaged: Video, version: DatasetVersion, key: str
) -> None:
    answer = client.get(address(version.videos.get(key=key)))

    assert answer.status_code == 200
    assert 'data-state="problem"' in answer.content.decode()


def test_a_file_outside_the_data_roots_is_never_opened(
    client: Client, version: DatasetVersion, tmp_path: Path, footage: Path, asked: list[Any]
) -> None:
    (tmp_path / "secret.mp4").write_bytes(b"x")
    video = Manifested(key="a", split="test", label=1, path="secret.mp4")
    version.folder.mkdir(parents=True)
    manifest = Manifest(name="x", format="generic", videos=(video,), media_root=str(tmp_path))
    save_version(version.folder, manifest, {})
    row = Video.objects.create(version=version, key="a", split="test", label=1, path="secret.mp4")

    answer = client.get(address(row))

    assert "lies outside the folders" in answer.content.decode()
    assert asked == []


def test_strangers_get_none_and_no_run_of_another_project_either(
    client: Client,
    seeded: seeding.Seeded,
    stranger: User,
    sign_in: Callable[[User], Client],
    asked: list[Any],
) -> None:
    video = first_video(seeded)

    assert sign_in(stranger).get(address(video)).status_code == 404
    assert Client().get(address(video)).status_code == 302
    assert client.get(address(video, f"?run={seeded.runs['first'].pk}")).status_code == 404
    assert client.get(address(video, "?run=x")).status_code == 404
    assert asked == []


def test_the_api_has_the_same_picture_and_says_errors_in_its_own_shape(
    client: Client, seeded: seeding.Seeded, damaged: Video, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = first_video(seeded)
    seeding.add_footage(seeded, video.key)
    api = f"/api/v1/versions/{video.version_id}/videos/{video.pk}/thumbnail/"

    assert client.get(api).content == client.get(address(video)).content
    bad = client.get(f"/api/v1/versions/{damaged.version_id}/videos/{damaged.pk}/thumbnail/")
    assert (bad.status_code, bad.json()["code"]) == (422, "video-unreadable")

    def busy(*_: Any, **__: Any) -> bytes:
        raise Busy

    monkeypatch.setattr(thumbnails.decoder, "thumbnail", busy)
    later = client.get(f"{api}?run={seeded.evaluations[0].pk}")
    assert (later.status_code, later["Retry-After"]) == (429, "1")


def test_a_full_disk_takes_no_picture_away(
    client: Client, seeded: seeding.Seeded, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    seeding.add_footage(seeded, first_video(seeded).key)
    monkeypatch.setattr(thumbnails, "write_bytes", full)

    assert client.get(address(first_video(seeded)))["Content-Type"] == "image/webp"


def test_scores_that_are_gone_are_a_reason_too(
    client: Client, seeded: seeding.Seeded, asked: list[Any]
) -> None:
    evaluation = Evaluation.objects.get(pk=seeded.evaluations[0].pk)
    evaluation.scores_path.unlink()

    answer = client.get(address(first_video(seeded), f"?run={evaluation.pk}"))

    assert answer.status_code == 200
    assert 'data-state="problem"' in answer.content.decode()


# --- the helper process ---------------------------------------------------------------------------


@pytest.fixture
def one() -> Iterator[Decoder]:
    made = Decoder()
    yield made
    made.close()


def test_a_helper_that_ended_is_started_anew(one: Decoder, shared: Path) -> None:
    path = shared / "data" / "clips" / "h265_video.mp4"
    content = one.thumbnail(path, 0)
    assert one._process
    one._process.kill()
    one._process.wait()

    assert one.thumbnail(path, 0) == content


def test_a_helper_sees_no_secret_of_the_server(
    one: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VADLAB_SECRET_KEY", "s3cr3t")
    monkeypatch.setenv("DATABASE_URL", "postgres://user:pass@host/db")
    with pytest.raises(VadError):
        one.thumbnail(tmp_path / "gone.mp4", 0)
    assert one._process

    environment = Path(f"/proc/{one._process.pid}/environ").read_text()

    assert "s3cr3t" not in environment
    assert "postgres" not in environment


@pytest.mark.parametrize("says", ["", "no json\n", json.dumps({"size": 4}) + "\nabcd"])
def test_a_helper_that_talks_nonsense_is_no_picture(
    one: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    code = f"import sys; sys.stdin.readline(); sys.stdout.write({says!r})"
    monkeypatch.setattr(decoding, "COMMAND", [decoding.COMMAND[0], "-c", code])

    with pytest.raises(VadError) as error:
        one.thumbnail(tmp_path / "a.mp4", 0)

    assert error.value.code == "unexpected"
    assert one._process is None


def test_a_helper_that_hangs_is_killed(
    one: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import time; time.sleep(60)"
    monkeypatch.setattr(decoding, "COMMAND", [decoding.COMMAND[0], "-c", code])
    monkeypatch.setattr(decoding, "ANSWER_S", 0.1)

    with pytest.raises(VadError, match="cannot be used"):
        one.thumbnail(tmp_path / "a.mp4", 0)


def test_few_wait_for_a_turn_and_the_others_are_told_to_come_back(
    one: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: bytes
) -> None:
    first, go = threading.Event(), threading.Event()

    def slow(job: dict[str, object]) -> bytes:
        first.set()
        assert go.wait(10)
        return picture

    monkeypatch.setattr(one, "_ask", slow)
    got: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: got.append(one.thumbnail(tmp_path, 0, wait_s=10)))
        for _ in range(decoding.MOST_WAITING + 1)
    ]
    for thread in threads:
        thread.start()
    assert first.wait(10)
    deadline = time.monotonic() + 10
    while one._places._value and time.monotonic() < deadline:  # all of them have their place
        time.sleep(0.01)

    with pytest.raises(Busy):
        one.thumbnail(tmp_path, 0)
    go.set()
    for thread in threads:
        thread.join(10)

    assert got == [picture] * (decoding.MOST_WAITING + 1)


def test_a_turn_that_does_not_come_is_given_up(
    one: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one._turn.acquire()

    with pytest.raises(Busy):
        one.thumbnail(tmp_path, 0, wait_s=0.01)
    one._turn.release()
    monkeypatch.setattr(one, "_ask", lambda job: b"a picture")

    assert one.thumbnail(tmp_path, 0) == b"a picture"
