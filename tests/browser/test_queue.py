"""The queue page in a real browser: lanes, order by keyboard, pause and drain.

With VADLAB_SCREENSHOTS=FOLDER the page is saved there; with VADLAB_AXE=FILE axe-core looks at it.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import entering
import pytest
from django.utils import timezone
from looks import SIZES, in_all_looks, picture
from playwright.sync_api import Page, expect
from watching import OVERFLOW

from vad.configs import config_class
from webapp.accounts.models import Membership, Project, Role, User
from webapp.fleet import services
from webapp.fleet.models import Pause, Worker
from webapp.runs.lifecycle import commands
from webapp.runs.models import Run, State, Usage

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PASSWORD = "a-long-one-42"


@pytest.fixture
def site(transactional_db: None, settings: Any, tmp_path: Path, monkeypatch: Any) -> dict[str, Any]:
    """Two hosts of GPUs, one lost and one refused worker, runs that run, wait, are held."""
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr("webapp.core.doorbell.ring", lambda queue: True)
    now = timezone.now()
    project = Project.objects.create(name="Campus safety", slug="campus-safety")
    other = Project.objects.create(name="Rail yard", slug="rail-yard")
    kim = User.objects.create_superuser("kim", password=PASSWORD)
    lee = User.objects.create_user("lee", password=PASSWORD)
    for person in (kim, lee):
        Membership.objects.create(project=project, user=person, role=Role.MEMBER)
    made: dict[str, Any] = {"project": project, "kim": kim, "lee": lee}

    def worker(name: str, **fields: Any) -> Worker:
        values = {"version": "0.1.0", "data_dir": "-", "started_at": now, "seen_at": now}
        return Worker.objects.create(name=name, host=f"{name}.lab", **{**values, **fields})

    ids = [f"GPU-{i}" for i in range(4)]
    made["atlas"] = worker(
        "atlas", gpu_slots=4, cpu_slots=1, devices=["NVIDIA H100"] * 4, device_ids=ids,
        memory_mb=[81559] * 4,
        device_stats={
            i: {"use_percent": 24 * n + 20, "used_mb": 9000 * n + 512, "memory_mb": 81559,
                "celsius": 40}
            for n, i in enumerate(ids)
        },
    )  # fmt: skip
    made["borea"] = worker("borea", gpu_slots=1, devices=["NVIDIA A100"], device_ids=["GPU-9"])
    worker("cumulus", cpu_slots=2, seen_at=now - timedelta(minutes=14))
    worker(
        "draco", gpu_slots=1, devices=["NVIDIA A100"], version="0.0.9",
        refused="It is of version 0.0.9, the server of version 0.1.0. Bring it to the same version "
        "and start it again.",
    )  # fmt: skip
    services.worker_drain(worker=made["borea"], by=kim)

    def run(name: str, state: str = State.QUEUED, **fields: Any) -> Run:
        kind = fields.pop("kind", "train-urdmu")
        if state in ("running", "starting"):
            at = now - timedelta(minutes=fields.pop("since", 30))
            fields |= {"claim": uuid.uuid4(), "beat_at": now, "claimed_at": at, "started_at": at}
        values = {
            "project": project, "owner": kim, "queued_at": now - timedelta(minutes=60 - len(made)),
            "config": config_class(kind).from_dict({}).to_dict(), "device": "auto",
        }  # fmt: skip
        made[name] = Run.objects.create(name=name, kind=kind, state=state, **{**values, **fields})
        return made[name]

    for n in range(5):
        run(f"done {n}", State.SUCCEEDED, total=3000, done=3000, spent_s=1500 + 90 * n,
            ended_at=now)  # fmt: skip
    atlas = made["atlas"]
    run("UR-DMU I3D, seed 1", State.RUNNING, worker=atlas, slot="gpu:0", done=1800, total=3000,
        unit="steps", rate=1.9)  # fmt: skip
    run("STPVAD both stages", State.RUNNING, worker=atlas, slot="gpu:1+2", gpus=2, done=900,
        total=4000, unit="steps", rate=0.8, kind="train-two-stage", owner=lee)  # fmt: skip
    run("elsewhere", State.RUNNING, worker=atlas, slot="gpu:3", project=other)
    run("last on borea", State.RUNNING, worker=made["borea"], slot="gpu:0", done=2900, total=3000,
        unit="steps", rate=2.0, stop="yield")  # fmt: skip
    run("first", priority=2)
    run("second", owner=lee)
    run("third", owner=lee, memory_mb=40_000, time_limit_s=4 * 3600)
    run("large", kind="train-two-stage", gpus=8, device="cuda", owner=lee)
    run("due later", not_before=now + timedelta(minutes=9), setbacks={"disk-full": 3})
    run("child", State.WAITING, kind="evaluate", device="auto").parents.add(made["first"])
    commands.hold(run("paused by kim"), by=kim)
    for person, hours in ((kim, 31.4), (lee, 12.2)):
        Usage.objects.create(owner=person, kind="gpu", used_s=hours * 3600, as_of=now)
    return made


@pytest.fixture
def open_as(live_server: Any, site: dict[str, Any], context: Any) -> Callable[..., Page]:
    def make(name: str = "kim", **options: Any) -> Page:
        size = {"width": 1440, "height": 900}
        page = context(base_url=live_server.url, **{"viewport": size, **options}).new_page()
        page.complaints = []  # type: ignore[attr-defined]
        page.on(
            "console",
            lambda m: m.type in ("error", "warning") and page.complaints.append(m.text),
        )
        entering.sign_in(page, name)
        page.goto("/queue/")
        return page

    return make


def names(page: Page) -> list[str]:
    return page.locator(".table-waiting tbody .row-link").all_inner_texts()


@in_all_looks
def test_the_page_is_drawn_without_a_complaint(open_as: Any, size: str, scheme: str) -> None:
    width, height = SIZES[size]
    page = open_as(viewport={"width": width, "height": height}, color_scheme=scheme)
    Pause.objects.create(project=Project.objects.get(slug="campus-safety"),
                         by=User.objects.get(username="lee"), reason="moving disks")  # fmt: skip
    page.reload()

    expect(page.locator("#queue")).to_contain_text("is paused by lee")
    expect(page.locator("#queue")).to_contain_text("It takes nothing. It is of version 0.0.9")
    assert page.evaluate(OVERFLOW) <= 0
    picture(page, f"queue-{width}-{scheme}")
    if axe := os.environ.get("VADLAB_AXE"):
        page.evaluate(Path(axe).read_text(encoding="utf-8"))
        found = page.evaluate("axe.run().then(r => r.violations)")
        bad = [
            (v["id"], n["html"][:160], n.get("failureSummary", "")[:200])
            for v in found
            if v["impact"] in ("serious", "critical")
            for n in v["nodes"]
        ]
        assert bad == []
    assert page.complaints == []


def test_runs_are_ordered_by_keyboard_and_the_focus_stays_with_the_run(
    open_as: Any, site: dict[str, Any]
) -> None:
    page = open_as()
    before = names(page)
    assert before[:3] == ["first", "second", "third"]

    up = page.locator(f"#up-{site['third'].pk}")
    up.focus()
    page.keyboard.press("Enter")

    expect(page.locator(".table-waiting tbody .row-link").nth(1)).to_have_text("third")
    assert names(page)[:3] == ["first", "third", "second"]  # a higher priority stays above
    expect(up).to_be_focused()
    with page.expect_response("**/move/"):
        page.keyboard.press("Enter")  # it is on top of its priority
    expect(page.locator(".table-waiting tbody .row-link").nth(1)).to_have_text("third")

    with page.expect_response("**/move/"):
        page.locator(f"#top-{site['large'].pk}").press("Enter")
    expect(page.locator(".table-waiting tbody .row-link").nth(1)).to_have_text("large")
    assert page.complaints == []


def test_a_poll_leaves_what_waits_in_place_and_takes_it_anew_when_something_happens(
    open_as: Any, site: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.fleet.listing.PAGE_SIZE", 3)
    monkeypatch.setattr("webapp.fleet.listing.MARK_S", 10**9)  # time does not pass on the way
    page = open_as()
    page.evaluate("document.querySelector('.table-waiting').dataset.seen = 'yes'")
    raise_first = page.locator(f"#raise-{site['first'].pk}")
    raise_first.focus()

    with page.expect_response("**/queue/**") as polled:
        pass
    assert "hx-preserve" in polled.value.text()
    expect(page.locator(".table-waiting[data-seen]")).to_have_count(1)
    expect(raise_first).to_be_focused()

    commands.hold(site["second"], by=site["kim"])
    expect(page.locator(".table-waiting[data-seen]")).to_have_count(0)
    assert names(page) == ["first", "third", "large"]
    expect(raise_first).to_be_focused()
    picture(page, "queue-first-page")

    page.get_by_role("link", name="Next").click()
    expect(page.locator(".table-waiting tbody .row-link").first).to_have_text("due later")
    picture(page, "queue-next-page")
    assert page.complaints == []


def test_who_administers_the_server_drains_a_worker_and_pauses_everything(
    open_as: Any, site: dict[str, Any]
) -> None:
    page = open_as()

    page.locator(f"#worker-{site['atlas'].pk}").click()
    expect(page.locator(f"#worker-{site['atlas'].pk}")).to_have_text("Take runs again")
    expect(page.locator("#queue")).to_contain_text("it finishes what runs here and takes nothing")

    page.locator("summary[title=More]").click()
    page.fill("#pause-server", "power cut on Friday")
    page.get_by_role("button", name="Pause the server").click()
    expect(page.locator("#queue")).to_contain_text("The whole server is paused by kim")
    expect(page.locator("#queue")).to_contain_text("power cut on Friday")

    page.locator("#resume-server").click()
    expect(page.locator("#queue")).not_to_contain_text("is paused")
    assert page.complaints == []


def test_a_member_orders_and_pauses_the_project_only(open_as: Any, site: dict[str, Any]) -> None:
    page = open_as("lee")

    expect(page.locator("#queue")).to_contain_text("A run of another project")
    expect(page.locator(f"#up-{site['third'].pk}")).to_be_visible()
    expect(page.locator(f"#worker-{site['atlas'].pk}")).to_have_count(0)
    expect(page.locator("#pause-server")).to_have_count(0)
    expect(page.locator("#pause-project")).to_have_count(1)
