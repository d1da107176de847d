"""Every page in a real browser: nothing in the console, nothing refused, nothing cut off, and
nothing serious found by axe-core.

With VADLAB_SCREENSHOTS=FOLDER each page is saved there as a picture, in both schemes at both sizes.
"""

from __future__ import annotations

from typing import Any

import pytest
import seeding
from looks import IN_ALL, LOOKS, SIZES, each_half_in_a_look, picture
from playwright.sync_api import Page
from watching import Watch, faults

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def addresses(seeded: seeding.Seeded) -> dict[str, str]:
    """Name and address of every page and every tab of it."""
    runs, evaluation = seeded.runs, seeded.evaluations[0]
    first, second = runs["first"].pk, runs["second"].pk
    external = runs["external"].pk
    return {
        "runs": "/runs/",
        "runs-none": "/runs/?q=nosuchrun",
        "runs-problem": "/runs/?q=auc+%3E+0.8+and+confg.lr+%3C+1",
        "runs-groups": "/runs/?group=tag&open=baseline&cols=auc,config.lr,min(loss/total),took",
        "runs-columns": "/runs/columns/",
        "runs-views": "/runs/views/?query=sort%3D-auc",
        "run": f"/runs/{first}/",
        "run-running": f"/runs/{runs['running'].pk}/",
        "run-failed": f"/runs/{runs['failed'].pk}/",
        "run-waiting": f"/runs/{runs['waiting'].pk}/",
        "run-system": f"/runs/{runs['running'].pk}/?tab=system",
        "run-log": f"/runs/{runs['running'].pk}/?tab=log",
        "run-log-search": f"/runs/{runs['running'].pk}/?tab=log&find=loss+0.4",
        "run-checkpoints": f"/runs/{second}/?tab=checkpoints",
        "run-config": f"/runs/{second}/?tab=config",
        "run-events": f"/runs/{first}/?tab=events",
        "run-bags": f"/runs/{first}/bags/",
        "run-lineage": f"/runs/{first}/?tab=lineage&clones=yes",
        "external": f"/runs/{external}/",
        "external-config": f"/runs/{external}/?tab=config",
        "external-files": f"/runs/{external}/?tab=files",
        "external-checkpoints": f"/runs/{external}/?tab=checkpoints",
        "run-delete": f"/runs/delete/?run={first}",
        "new-train": "/runs/new/",
        "new-extract": "/runs/new/?kind=extract",
        "new-evaluate": "/runs/new/?kind=evaluate",
        "new-clone": f"/runs/new/?from={second}",
        "storage": "/settings/storage/?keep_best=2",
        "orphans": "/settings/storage/orphans/",
        "queue": "/queue/",
        "sweeps": "/sweeps/",
        "sweep-new": "/sweeps/new/",
        "pipeline-new": "/sweeps/pipelines/new/",
        "datasets": "/datasets/",
        "dataset": f"/datasets/{seeded.version.pk}/",
        "dataset-videos": f"/datasets/{seeded.version.pk}/videos/",
        "dataset-scored": f"/datasets/{seeded.version.pk}/videos/?run={evaluation.pk}",
        "dataset-table": f"/datasets/{seeded.version.pk}/videos/?run={evaluation.pk}&view=table",
        "dataset-differences": f"/datasets/{seeded.version.pk}/differences/",
        "dataset-new": "/datasets/new/",
        "evaluations": "/evaluations/",
        "evaluation": f"/evaluations/{evaluation.pk}/",
        "viewer": f"/evaluations/viewer/?run={first}&run={second}",
        "compare": f"/compare/?run={first}&run={second}",
        "compare-none": "/compare/",
        "api-docs": "/api/v1/docs/",
        "api-operation": "/api/v1/docs/post_run_list/",
        "notifications": "/settings/notifications/",
        "reports-none": "/reports/?q=nosuchreport",
        "project-export": f"/settings/projects/{seeded.project.slug}/export/",
        "missing": "/runs/00000000-0000-0000-0000-000000000000/",
    }


CHARTS = {
    "run": 5, "run-bags": 4, "run-running": 3, "run-system": 7, "dataset": 1, "evaluation": 4,
    "viewer": 1, "compare": 3, "external": 1, "sweep": 3,
}  # fmt: skip


@each_half_in_a_look
def test_every_page_is_drawn_without_a_complaint(
    live_server: Any, seeded: seeding.Seeded, context: Any, size: str, scheme: str
) -> None:
    width, height = SIZES[size]
    page = context(
        viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=size == "narrow"
    ).new_page()
    watch = Watch(page)
    seeding.add_bags(seeded, seeded.runs["first"])
    seeding.add_usage(seeded.runs["running"])
    seeding.add_notifications(seeded)
    seeding.add_external(seeded)
    sweep = seeding.add_sweep(seeded)
    found: list[str] = []
    page.goto(f"{live_server.url}/login/")
    picture(page, f"login-{size}-{scheme}")
    page.fill("#id_username", seeded.user.username)
    page.fill("#id_password", seeding.PASSWORD)
    page.click("main button")
    page.wait_for_url("**/runs/")

    pages = addresses(seeded) | {"sweep": f"/sweeps/{sweep.pk}/"}
    for place, (name, address) in enumerate(pages.items()):
        if not IN_ALL and LOOKS[place % len(LOOKS)] != (size, scheme):
            continue  # half of the pages in each look: all of them in both would take minutes
        page.goto(live_server.url + address, wait_until="load")
        wanted = CHARTS.get(name, 0)
        if wanted:
            _see_all(page)
            drawn = page.locator(".chart .main-svg").first
            drawn.wait_for(timeout=15_000)
            page.wait_for_function(
                "n => document.querySelectorAll('.chart .plot-container').length >= n",
                arg=wanted,
                timeout=15_000,
            )
            page.wait_for_timeout(300)
        found += faults(page, watch, name)
        picture(page, f"{name}-{size}-{scheme}")

    assert not found, "\n".join(found)


def _see_all(page: Page) -> None:
    """Scroll through, since a chart asks for its data only when it is near the window."""
    height = page.evaluate("document.documentElement.scrollHeight")
    for top in range(0, height, 500):
        page.evaluate(f"window.scrollTo(0, {top})")
        page.wait_for_timeout(60)
    page.evaluate("window.scrollTo(0, 0)")
