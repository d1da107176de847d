"""A filled project, and everybody who may or may not see it; see test_every_route.py."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import seeding
from django.apps import apps
from django.test import Client
from django.utils import timezone

from webapp.accounts import invitations, passwords, tokens
from webapp.accounts.models import ApiToken, Membership, Project, Role, User
from webapp.datasets.models import Video
from webapp.interop.models import Experiment, LoggedModel
from webapp.notify.models import Channel, Delivery
from webapp.notify.models import Rule as NotifyRule
from webapp.reports import blocks, sharing
from webapp.reports import services as reports
from webapp.runs.models import Run, SavedView


@dataclass
class World:
    values: dict[str, str]  # what stands in addresses
    people: dict[str, Client | None]
    headers: dict[str, str]  # of the tokens
    data_dir: Path
    secrets: tuple[str, ...]  # what only people of the project may read
    before: dict[str, list[Any]]  # all rows

    def client(self, who: str) -> Client:
        """A browser of theirs; a fresh one, since what a request did is undone."""
        browser, signed_in = Client(), self.people.get(who)
        if signed_in is not None:
            browser.cookies.update(signed_in.cookies)
        return browser


def make(data_dir: Path) -> World:
    owner, project = seeding.people()
    seeded = seeding.seed(owner, project)
    seeding.add_maps(seeded, seeded.evaluations[0])
    bags = seeding.add_bags(seeded, seeded.runs["first"])
    seeding.add_checkpoint_files(seeded.runs["first"], [300])
    sweep = seeding.add_sweep(seeded)
    elsewhere = Project.objects.create(name="Elsewhere", slug="elsewhere")
    people: dict[str, User] = {}
    for name in ("viewer", "member", "admin", "stranger"):
        people[name] = User.objects.create_user(f"a-{name}", password=seeding.PASSWORD)
        role = Role.MEMBER if name == "stranger" else Role(name)
        where = elsewhere if name == "stranger" else project
        Membership.objects.create(project=where, user=people[name], role=role)
    Membership.objects.create(project=project, user=_second(), role=Role.ADMIN)
    clients: dict[str, Client | None] = {}
    for name, person in people.items():
        browser = clients[name] = Client()
        browser.force_login(person)
    headers = {}
    for who, name, scope in (("read token", "member", "read"), ("write token", "admin", "write")):
        _, secret = tokens.token_create(by=people[name], name=who, scope=scope)
        headers[who] = f"Bearer {secret}"
    theirs = {}
    for name in ("viewer", "member", "admin"):
        theirs[name], _ = tokens.token_create(by=people[name], name="theirs")
    later = timezone.now() + timedelta(hours=1)
    ApiToken.objects.update(last_used_at=later)  # no row changes by being used
    invitation, secret = invitations.invitation_create(
        project=project, by=people["admin"], max_uses=50
    )
    video = Video.objects.filter(version=seeded.version, split="test").first()
    assert video is not None
    seeding.add_footage(seeded, video.key)
    external = seeding.add_external(seeded)
    kept = external.uploads.filter(kind="artifact").get()
    view = SavedView.objects.create(
        project=project, name="Best", query="sort=-auc", created_by=owner
    )
    channel = Channel.objects.create(
        project=project, kind="webhook", name="team", target="https://hooks.example.org/team",
        confirmed_at=timezone.now(),
    )  # fmt: skip
    rule = NotifyRule.objects.create(channel=channel, project=project, event="run-ended")
    told = Delivery.objects.create(
        channel=channel, once="x", event="test", subject="A test", text="", status="failed"
    )
    shared = _report(owner, project)
    clients["link holder"] = Client()
    clients["link holder"].post(f"/s/{shared['share']}/", {"password": seeding.PASSWORD})
    values = {
        "sweep_id": sweep.pk,
        "channel_id": channel.pk, "rule_id": rule.pk, "delivery_id": told.pk,
        "view_id": view.pk, "run_id": seeded.evaluations[0].pk, "version_id": seeded.version.pk,
        "feature_set_id": seeded.feature_set.pk, "dataset_id": seeded.version.dataset_id,
        "kind": "evaluate", "action": "stop", "video_id": video.pk, "video": video.key,
        "first": seeded.runs["first"].pk, "second": seeded.runs["second"].pk,
        "watched": bags[0].keys[0], "running": seeded.runs["running"].pk,
        "failed": seeded.runs["failed"].pk, "external": external.pk,
        "upload_id": kept.pk, "file_id": kept.pk, "kept_path": kept.path,
        "experiment": Experiment.objects.create(project=project, name="An experiment").pk,
        "model": f"m-{LoggedModel.objects.create(run=external, name='a', path='a').pk.hex}",
        "rest": "nothing/of/the/kind",
        "worker_id": seeded.worker.pk, "worker": seeded.worker.name,
        "queued": Run.objects.filter(project=project, state="queued").first().pk,
        "password_link": _password_link(owner),
        "slug": project.slug, "user_id": owner.pk, "username": owner.username,
        "invitation_id": invitation.pk, "secret": secret, **shared,
        **{f"{name}_token": token.pk for name, token in theirs.items()},
    }  # fmt: skip
    hidden = (str(seeded.version.pk), seeded.runs["second"].name, project.name)
    return World(
        values={name: str(value) for name, value in values.items()},
        people=clients, headers=headers, data_dir=data_dir, secrets=hidden, before=rows(),
    )  # fmt: skip


def _report(owner: User, project: Project) -> dict[str, Any]:
    """A report with a panel, a comment of its owner, and a link with a password."""
    given = [blocks.panel("runs", q="", sort="", cols="")]
    report = reports.report_create(project=project, title="Findings", given=given, by=owner)
    block = given[0]["id"]
    comment = reports.comment_add(report=report, block=block, text="Well", by=owner)
    link, secret = sharing.link_create(report=report, by=owner, password=seeding.PASSWORD)
    return {
        "report_id": report.pk, "block": block, "comment_id": comment.pk, "share": secret,
        "link_id": link.pk,
    }  # fmt: skip


def _password_link(person: User) -> str:
    return passwords.link_create(user=person, by=None)[1]


def _second() -> User:
    """Another admin, so that the first may leave."""
    return User.objects.create_user("a-second", password=seeding.PASSWORD)


def rows() -> dict[str, list[Any]]:
    """All rows of our tables, but for sessions, which every visit may touch."""
    ours = [
        m for m in apps.get_models(include_auto_created=True) if not m.__name__.endswith("Session")
    ]
    return {m._meta.label: list(m._base_manager.order_by("pk").values_list()) for m in ours}
