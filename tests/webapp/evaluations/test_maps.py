"""The maps of stage 2 for a browser: bytes, truth, film and page, and who may have them."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import seeding
from django.test import Client
from PIL import Image

from vad.data.manifest import Truth, load_manifest, load_truth, save_version
from vad.evaluation.patch_scores import PatchScores
from vad.evaluation.patch_truth import PatchRule, truth_from_tracks
from vad.video.proxies import INDEX, VERSION, Proxy
from webapp.accounts.models import Project, User
from webapp.datasets import media
from webapp.datasets.models import Video
from webapp.evaluations import maps
from webapp.evaluations import scores as store
from webapp.evaluations.models import Evaluation
from webapp.runs.models import Run, State

KEY = "test/running_053"


@pytest.fixture
def seeded(user: User, project: Project) -> seeding.Seeded:
    return seeding.seed(user, project)


@pytest.fixture
def evaluation(seeded: seeding.Seeded) -> Evaluation:
    """Of two stages, with maps; its videos have no files."""
    seeding.add_maps(seeded, seeded.evaluations[0], rows=5, columns=7, tubelets=2)
    return seeded.evaluations[0]


def api(evaluation: Evaluation, what: str = "maps", key: str = KEY) -> str:
    return f"/api/v1/evaluations/{evaluation.pk}/{what}/?video={key}"


def media_url(seeded: seeding.Seeded, key: str = KEY) -> str:
    video = Video.objects.get(version=seeded.version, key=key)
    return f"/datasets/{seeded.version.pk}/videos/{video.pk}/media"


def decoded(content: bytes) -> dict[str, Any]:
    """As the documentation of the bytes has it."""
    magic, version, t, n, *rest = struct.unpack_from("<4sHHIHHIII", content)
    rows, columns, frames, first, total = rest
    assert (magic, version) == (b"VMAP", 2)
    at, found = 28, {"t": t, "n": n, "rows": rows, "columns": columns, "frames": frames}
    found |= {"first": first, "total": total}
    patches = rows * columns
    packed = -(-patches // 8)
    for name, dtype, shape in (
        ("starts", "<i4", (n,)), ("stage1", "<f4", (n,)), ("stage2", "<f4", (n,)),
        ("evaluated", "<f4", (n,)), ("maps", "u1", (n, t, patches)), ("kept", "u1", (n, t, packed)),
    ):  # fmt: skip
        count = int(np.prod(shape))
        found[name] = np.frombuffer(content, dtype, count, at).reshape(shape)
        at += count * np.dtype(dtype).itemsize
    assert at == len(content)
    found["kept"] = np.unpackbits(found["kept"], axis=-1, count=patches).astype(bool)
    return found


# --- the maps -------------------------------------------------------------------------------


def test_the_bytes_are_the_scores_again_to_half_a_step(
    client: Client, evaluation: Evaluation
) -> None:
    answer = client.get(api(evaluation))

    assert (answer.status_code, answer["Content-Type"]) == (200, "application/octet-stream")
    got = decoded(answer.content)
    true = PatchScores.open(evaluation.patches_path).video(KEY)
    assert (got["rows"], got["columns"], got["t"]) == (5, 7, 2)
    assert np.abs(got["maps"] / 255 - true.maps).max() <= 0.5 / 255 + 1e-6
    np.testing.assert_array_equal(got["kept"], true.kept)
    np.testing.assert_array_equal(got["starts"], true.start_frames)
    np.testing.assert_array_equal(got["stage1"], true.stage1)
    np.testing.assert_array_equal(got["stage2"], true.stage2)
    np.testing.assert_array_equal(got["evaluated"], store.load(evaluation).video(KEY).scores)
    assert got["frames"] == true.frames.sum()
    assert (got["first"], got["n"], got["total"]) == (0, len(true.maps), len(true.maps))


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [
        ("&from=7&to=19", 7, 19),
        ("&from=60&to=5000", 60, 71),
        ("&to=1", 0, 1),
        ("&from=9000", 70, 71),
    ],
)
def test_a_part_is_what_the_whole_has_there(
    client: Client, evaluation: Evaluation, query: str, first: int, last: int
) -> None:
    whole = decoded(client.get(api(evaluation)).content)
    assert whole["n"] == 71

    part = decoded(client.get(api(evaluation) + query).content)

    assert (part["first"], part["n"], part["total"]) == (first, last - first, 71)
    assert part["frames"] == whole["frames"]
    for name in ("starts", "stage1", "stage2", "evaluated", "maps", "kept"):
        np.testing.assert_array_equal(part[name], whole[name][first:last])


@pytest.mark.parametrize("query", ["&from=-1", "&from=x", "&from=5&to=5", "&to=0"])
def test_a_part_that_cannot_be_is_refused(
    client: Client, evaluation: Evaluation, query: str
) -> None:
    answer = client.get(api(evaluation) + query)

    assert (answer.status_code, answer.json()["code"]) == (400, "request-invalid")


def test_maps_that_the_browser_has_are_not_sent_again(
    client: Client, evaluation: Evaluation
) -> None:
    etag = client.get(api(evaluation))["ETag"]

    again = client.get(api(evaluation), headers={"If-None-Match": etag})
    other = client.get(api(evaluation, key="test/fire_047"), headers={"If-None-Match": etag})
    part = client.get(f"{api(evaluation)}&to=9", headers={"If-None-Match": etag})

    assert (again.status_code, again.content, again["ETag"]) == (304, b"", etag)
    assert (other.status_code, part.status_code) == (200, 200)


def test_the_scores_of_a_lost_score_file_are_unknown_not_zero(
    client: Client, evaluation: Evaluation
) -> None:
    evaluation.scores_path.unlink()
    store._load.cache_clear()

    assert np.isnan(decoded(client.get(api(evaluation)).content)["evaluated"]).all()


def test_a_lost_file_of_maps_is_said_and_the_page_stays(
    client: Client, evaluation: Evaluation
) -> None:
    evaluation.patches_path.unlink()

    for what in ("maps", "truth"):
        answer = client.get(api(evaluation, what))
        assert (answer.status_code, answer.json()["code"]) == (422, "file-missing")
        assert "Evaluate the checkpoint again" in answer.json()["hint"]
    page = client.get(f"/evaluations/{evaluation.pk}/?video={KEY}")
    assert page.status_code == 200
    assert "patches.safetensors, are no longer" in page.content.decode()
    assert "data-viewer-stage" not in page.content.decode()


def test_a_damaged_file_of_maps_is_said(client: Client, evaluation: Evaluation) -> None:
    evaluation.patches_path.write_bytes(b"nothing of the kind")

    answer = client.get(api(evaluation))

    assert (answer.status_code, answer.json()["code"]) == (422, "scores-invalid")


def test_a_video_without_maps_is_not_found(client: Client, evaluation: Evaluation) -> None:
    for key in ("test/nothing", "", "train/normal_000", "../patches"):
        for what in ("maps", "truth"):
            assert client.get(api(evaluation, what, key)).status_code == 404


def test_an_evaluation_of_one_stage_has_no_maps_but_the_places_and_the_film(
    client: Client, seeded: seeding.Seeded
) -> None:
    one_stage = seeded.evaluations[1]
    seeding.add_footage(seeded, KEY)

    assert client.get(api(one_stage)).status_code == 404
    assert client.get(api(one_stage, "truth")).json()["boxes"]
    text = client.get(f"/evaluations/{one_stage.pk}/?video={KEY}").content.decode()
    assert "data-viewer-stage" in text
    assert media_url(seeded) in text
    assert "data-viewer-matrix" not in text
    assert "data-viewer-opacity" not in text
    assert "By patch" not in text


def test_without_maps_and_film_there_is_no_stage(client: Client, seeded: seeding.Seeded) -> None:
    text = client.get(f"/evaluations/{seeded.evaluations[1].pk}/?video={KEY}").content.decode()

    assert "data-viewer-errors" in text
    assert "data-viewer-stage" not in text
    assert "is no longer in the folder" in text


def test_a_stranger_finds_no_maps_and_no_film(
    evaluation: Evaluation,
    seeded: seeding.Seeded,
    stranger: User,
    sign_in: Callable[[User], Client],
) -> None:
    seeding.add_footage(seeded, KEY)
    other = sign_in(stranger)

    for address in (api(evaluation), api(evaluation, "truth"), media_url(seeded)):
        assert other.get(address).status_code == 404


# --- the truth ------------------------------------------------------------------------------


def test_boxes_come_as_runs_in_parts_of_the_frame(
    client: Client, evaluation: Evaluation, seeded: seeding.Seeded
) -> None:
    found = client.get(api(evaluation, "truth")).json()

    video = next(v for v in load_manifest(seeded.version.folder).videos if v.key == KEY)
    known = load_truth(seeded.version.folder, "test")[KEY]
    exact = truth_from_tracks(video, known, PatchRule(rows=1, columns=1, cell=1, grow=0))
    assert found["intervals"] == [list(i) for i in known.intervals]
    assert found["problem"] == ""
    for frame in range(video.num_frames):
        boxes = [row[2:] for row in found["boxes"] if row[0] <= frame < row[1]]
        true = exact.boxes[np.searchsorted(exact.bounds, frame, side="right") - 1]
        if np.isnan(true[0]):
            assert boxes == []
        else:
            np.testing.assert_allclose(boxes, [true], atol=6e-5)


def test_a_normal_video_has_no_boxes(client: Client, evaluation: Evaluation) -> None:
    found = client.get(api(evaluation, "truth", "test/normal_040")).json()

    assert (found["intervals"], found["boxes"], found["patches"]) == ([], [], [])


def masked(seeded: seeding.Seeded, settings: Any, *, make: bool = True) -> None:
    """The version again, with masks instead of boxes for one video."""
    folder = seeded.version.folder
    manifest, truth = load_manifest(folder), load_truth(folder, "test")
    truth[KEY] = Truth(intervals=truth[KEY].intervals, masks="masks")
    for file in folder.iterdir():
        file.unlink()
    save_version(folder, manifest, truth)
    video = next(v for v in manifest.videos if v.key == KEY)
    place = Path(manifest.media_root) / "masks"
    place.mkdir(parents=True)
    start, end = truth[KEY].intervals[0]
    for n in range(video.num_frames if make else 3):
        mask = np.zeros((video.height, video.width), dtype=np.uint8)
        if start <= n < end:
            mask[: video.height // 5, : video.width // 7] = 255
        Image.fromarray(mask).save(place / f"{n:04d}.png")


def test_masks_come_as_patches_of_the_grid_of_the_maps(
    client: Client, evaluation: Evaluation, seeded: seeding.Seeded, settings: Any
) -> None:
    masked(seeded, settings)
    start, end = load_truth(seeded.version.folder, "test")[KEY].intervals[0]

    found = client.get(api(evaluation, "truth")).json()

    assert (found["boxes"], found["patches"]) == ([], [[start, end, [0]]])


def test_masks_that_cannot_be_read_are_said_in_words(
    client: Client, evaluation: Evaluation, seeded: seeding.Seeded, settings: Any
) -> None:
    masked(seeded, settings, make=False)

    found = client.get(api(evaluation, "truth")).json()

    assert found["patches"] == []
    assert "3 masks" in found["problem"]


def test_masks_of_a_long_video_are_not_decoded_for_a_page(
    client: Client,
    evaluation: Evaluation,
    seeded: seeding.Seeded,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    masked(seeded, settings)
    monkeypatch.setattr(maps, "MOST_MASK_PIXELS", 1000)

    assert "too large" in client.get(api(evaluation, "truth")).json()["problem"]


# --- the film -------------------------------------------------------------------------------


def test_a_film_is_sent_in_ranges(
    client: Client, evaluation: Evaluation, seeded: seeding.Seeded
) -> None:
    content = seeding.add_footage(seeded, KEY).read_bytes()

    answer = client.get(media_url(seeded), headers={"Range": "bytes=100-199"})

    assert (answer.status_code, answer["Content-Type"]) == (206, "video/mp4")
    assert b"".join(answer.streaming_content) == content[100:200]
    assert client.head(media_url(seeded))["Content-Length"] == str(len(content))
    assert client.post(media_url(seeded)).status_code == 405


def test_a_lost_film_is_named_without_its_place_on_the_server(
    client: Client, seeded: seeding.Seeded
) -> None:
    answer = client.get(media_url(seeded), headers={"Accept": "application/json"})

    assert answer.status_code == 404
    assert KEY in answer.json()["message"]
    assert "/data/" not in answer.content.decode()


def test_what_no_browser_plays_asks_for_proxies(
    client: Client, evaluation: Evaluation, seeded: seeding.Seeded
) -> None:
    film = seeding.add_footage(seeded, KEY)
    film.rename(film.with_suffix(".avi"))
    manifest = json.loads((seeded.version.folder / "manifest.json").read_text())
    for video in manifest["videos"]:
        video["path"] = video["path"].replace(".mp4", ".avi")
    (seeded.version.folder / "manifest.json").write_text(json.dumps(manifest))
    Video.objects.filter(version=seeded.version, key=KEY).update(path=f"{KEY}.avi")
    media.manifest_of.cache_clear()

    answer = client.get(media_url(seeded), headers={"Accept": "application/json"})
    page = client.get(f"/evaluations/{evaluation.pk}/?video={KEY}").content.decode()

    assert (answer.status_code, answer.json()["code"]) == (404, "video-unreadable")
    assert "Build proxies of campus v1" in answer.json()["hint"]
    assert f"/runs/new/?kind=proxies&amp;version={seeded.version.pk}" in page
    assert "data-viewer-stage" in page  # the map is shown without the film


def test_a_film_outside_the_data_roots_is_not_sent(
    client: Client, seeded: seeding.Seeded, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.mp4"
    outside.write_bytes(b"secret")
    film = seeding.add_footage(seeded, KEY)
    film.unlink()
    film.symlink_to(outside)

    answer = client.get(media_url(seeded))

    assert answer.status_code == 404
    assert b"secret" not in answer.content


@pytest.fixture
def proxies(seeded: seeding.Seeded) -> Path:
    """The folder of a finished proxies run with one proxy."""
    run = Run.objects.get(pk=seeded.runs["extract"].pk)
    run.pk, run.kind, run.version, run.state = uuid4(), "proxies", seeded.version, State.SUCCEEDED
    run.save(force_insert=True)
    folder = run.folder / "proxies"
    folder.mkdir(parents=True)
    (folder / "0001.mp4").write_bytes(b"a small copy")
    proxy = Proxy(file="0001.mp4", frames=30, width=128, height=128, fps=30.0)
    index = {"version": VERSION, "fingerprint": "f", "videos": {KEY: asdict(proxy)}}
    (folder / INDEX).write_text(json.dumps(index))
    return folder


def test_a_proxy_comes_before_the_source(
    client: Client, seeded: seeding.Seeded, proxies: Path, evaluation: Evaluation
) -> None:
    seeding.add_footage(seeded, KEY)

    answer = client.get(media_url(seeded))
    page = client.get(f"/evaluations/{evaluation.pk}/?video={KEY}").content.decode()

    assert b"".join(answer.streaming_content) == b"a small copy"
    assert 'data-fps="30.0" data-width="320" data-height="240"' in page


@pytest.mark.parametrize("what", ["file", "index", "folder"])
def test_the_source_takes_the_place_of_lost_proxies(
    client: Client, seeded: seeding.Seeded, proxies: Path, what: str
) -> None:
    content = seeding.add_footage(seeded, KEY).read_bytes()
    if what == "file":
        (proxies / "0001.mp4").unlink()
    elif what == "index":
        (proxies / INDEX).write_text("{}")
    else:
        shutil.rmtree(proxies)

    assert b"".join(client.get(media_url(seeded)).streaming_content) == content


def test_a_video_belongs_to_its_version(client: Client, seeded: seeding.Seeded) -> None:
    address = media_url(seeded).replace(str(seeded.version.pk), str(seeded.runs["first"].pk))

    assert client.get(address).status_code == 404


# --- the page -------------------------------------------------------------------------------


def test_the_page_opens_the_viewer_at_the_frame_of_the_address(
    client: Client, evaluation: Evaluation, seeded: seeding.Seeded
) -> None:
    seeding.add_footage(seeded, KEY)
    page = f"/evaluations/{evaluation.pk}/?video={KEY}"

    text = client.get(f"{page}&frame=33").content.decode()

    assert 'data-frame="33"' in text
    assert media_url(seeded) in text
    for odd, frame in (("-3", 0), ("abc", 0), ("99999999999", 0), ("", 0), ("\u0663", 0)):
        assert f'data-frame="{frame}"' in client.get(f"{page}&frame={odd}").content.decode()
    last = int(PatchScores.open(evaluation.patches_path).video(KEY).frames.sum()) - 1
    assert f'data-frame="{last}"' in client.get(f"{page}&frame=999999").content.decode()


def test_the_page_has_the_patch_metrics_and_both_stages(
    client: Client, evaluation: Evaluation
) -> None:
    evaluation.patch["intervals"] = {"patch_auc": [0.9111, 0.9222]}
    evaluation.save()

    text = client.get(f"/evaluations/{evaluation.pk}/").content.decode()

    assert f"{evaluation.patch['metrics']['patch_auc']:.4f}" in text
    assert "0.9111 \u2013 0.9222" in text
    assert "5 \u00d7 7 patches" in text
    assert "2 left out, abnormal videos whose places nobody marked" in text
    for name in ("stage1", "stage2", "fused"):
        assert f"{evaluation.stages[name]['auc']:.4f}" in text
    assert 'title="Mean IoU of predicted and true box' in text


def test_a_viewer_may_not_be_sent_to_a_form_that_is_not_his(
    evaluation: Evaluation, viewer: User, sign_in: Callable[[User], Client]
) -> None:
    text = sign_in(viewer).get(f"/evaluations/{evaluation.pk}/?video={KEY}").content.decode()

    assert "data-viewer-stage" in text
    assert "kind=proxies" not in text


def test_the_page_costs_few_queries(
    client: Client,
    evaluation: Evaluation,
    seeded: seeding.Seeded,
    django_assert_max_num_queries: Any,
) -> None:
    seeding.add_footage(seeded, KEY)
    with django_assert_max_num_queries(10):
        client.get(f"/evaluations/{evaluation.pk}/?video={KEY}")


def test_the_api_has_the_numbers_of_the_patches(client: Client, evaluation: Evaluation) -> None:
    found = client.get(f"/api/v1/evaluations/{evaluation.pk}/").json()

    assert found["patch"]["metrics"] == pytest.approx(evaluation.patch["metrics"])
    assert set(found["stages"]) == {"stage1", "stage2", "fused"}
