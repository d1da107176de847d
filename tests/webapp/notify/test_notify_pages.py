"""Settings, Notifications: the pages and the API over the same services."""

from __future__ import annotations

import pytest
from django.core import mail
from django.test import Client

from webapp.accounts import tokens
from webapp.accounts.models import AuditEvent, Membership, Role
from webapp.notify import addresses, delivering, services
from webapp.notify.models import Channel, Delivery, Event, Rule

pytestmark = pytest.mark.django_db
MINE = "/settings/notifications/"
API = "/api/v1/notifications/"
REAL_RESOLVE = addresses.resolve


@pytest.fixture(autouse=True)
def names(monkeypatch, settings):
    """All names lead to the Internet, but for those of the settings; mail is set up."""
    settings.MAIL_FROM = "vadlab@lab.example.org"
    monkeypatch.setattr(
        addresses, "resolve", lambda target: ["127.0.0.1" if target.allowed else "8.8.8.8"]
    )


def add(client, kind="webhook", name="chat", target="https://hooks.example.org/T0/s3cret"):
    return client.post(MINE, {"what": "channel", "kind": kind, "name": name, "target": target})


def post(client, path, **body):
    return client.post(API + path, body, content_type="application/json")


def test_an_empty_page_says_what_it_is_for_and_has_the_form(client):
    text = client.get(MINE).content.decode()

    assert "Nobody is told yet" in text
    assert "New channel" in text and "New rule" not in text


def test_the_secret_of_a_webhook_is_shown_once_and_its_address_never(client):
    made = add(client).content.decode()
    again = client.get(MINE).content.decode()
    secret = Channel.objects.get().secret

    assert secret in made and secret not in again
    assert "https://hooks.example.org/…" in again
    assert "s3cret" not in made + again


def test_mail_begins_with_the_code_that_was_sent_there(client, user):
    assert add(client, "mail", "me", "anna@example.org").status_code == 302
    found = Channel.objects.get()
    delivering.deliver_due()
    assert found.code in mail.outbox[0].body

    refused = client.post(f"{MINE}channels/{found.pk}/test/")
    assert refused.status_code == 400
    wrong = client.post(f"{MINE}channels/{found.pk}/confirm/", {"code": "12 34"})
    assert wrong.status_code == 400
    spaced = f" {found.code[:4]} {found.code[4:]} "
    assert client.post(f"{MINE}channels/{found.pk}/confirm/", {"code": spaced}).status_code == 302
    found.refresh_from_db()
    assert (found.problem, found.wrong_codes) == ("", 1)


def test_codes_cannot_be_guessed(client):
    add(client, "mail", "me", "anna@example.org")
    found = Channel.objects.get()
    Channel.objects.update(wrong_codes=services.WRONG_CODES)

    answer = client.post(f"{MINE}channels/{found.pk}/confirm/", {"code": found.code})

    assert answer.status_code == 429
    assert Channel.objects.get().confirmed_at is None


@pytest.mark.parametrize(
    ("kind", "target", "why"),
    [
        ("webhook", "http://169.254.169.254/latest/", "not public"),
        ("webhook", "gopher://example.org/", "begin with"),
        ("mail", "anna", "not an address"),
        ("mail", "anna@example.org\nBcc: all@example.org", "not an address"),
        ("pigeon", "home", "none of"),
    ],
)
def test_an_address_that_will_not_do_is_refused_beside_its_field(
    client, monkeypatch, kind, target, why
):
    monkeypatch.setattr(addresses, "resolve", REAL_RESOLVE)
    answer = add(client, kind, "x", target)
    error = post(client, "channels/", kind=kind, name="x", target=target)

    assert answer.status_code == 200
    assert not Channel.objects.exists()
    assert error.status_code == 422
    assert why in str(error.json()["fields"])
    assert "field-error" in answer.content.decode()


def test_without_mail_the_form_says_who_can_set_it_up(client, settings):
    settings.MAIL_FROM = ""

    assert "VADLAB_MAIL_URL" in add(client, "mail", "me", "anna@example.org").content.decode()


def test_nobody_makes_channels_without_end(client, user):
    for n in range(services.MOST_CHANNELS):
        services.channel_create(
            owner=user, kind="mail", name=f"{n}", target="anna@example.org", by=user
        )
    assert "delete one first" in str(post(client, "channels/", kind="mail", name="x",
                                          target="anna@example.org").json())  # fmt: skip

    Channel.objects.all().delete()

    assert "within an hour" in str(post(client, "channels/", kind="mail", name="x",
                                        target="anna@example.org").json())  # fmt: skip


def rule(client, channel, **fields):
    given = {"what": "rule", "event": "run-ended", "of": "*", "channel": channel.pk, "above": "yes"}
    return client.post(MINE, given | fields)


def test_a_rule_is_made_paused_and_deleted(client, project, make_channel):
    channel = make_channel()
    rule(client, channel)
    rule(client, channel, event="metric-crossed", of=project.slug, metric_key="val/auc",
         value="0.8", above="no", minutes="5")  # fmt: skip

    first, second = Rule.objects.order_by("pk")
    assert (first.event, first.project, first.minutes) == (Event.RUN_ENDED, None, None)
    assert (second.project, second.value, second.above, second.minutes) == (
        project, 0.8, False, None,
    )  # fmt: skip
    text = client.get(MINE).content.decode()
    assert "val/auc goes below 0.8" in text and f"all runs of {project}" in text
    client.post(f"{MINE}rules/{first.pk}/pause/")
    assert Rule.objects.get(pk=first.pk).paused
    client.post(f"{MINE}rules/{first.pk}/delete/")
    assert Rule.objects.get() == second


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"event": "metric-crossed", "value": "1"}, "metric_key"),
        ({"event": "metric-crossed", "metric_key": "a", "value": "nan"}, "value"),
        ({"event": "metric-crossed", "metric_key": "a", "value": "1e999"}, "value"),
        ({"event": "metric-crossed", "metric_key": "a"}, "value"),
        ({"event": "queue-waits"}, "minutes"),
        ({"event": "queue-waits", "minutes": "999999999"}, "minutes"),
        ({"event": "nothing"}, "event"),
        ({"of": "elsewhere"}, "of"),
        ({"channel": "99999999"}, "channel"),
    ],
)
def test_a_rule_that_cannot_be_says_why_beside_its_field(client, make_channel, fields, field):
    fields.setdefault("channel", make_channel().pk)
    answer = client.post(MINE, {"what": "rule", "event": "run-ended", "of": "*", "above": "yes",
                                **fields})  # fmt: skip

    assert answer.context["rule_form"].errors.get(field), answer.context["rule_form"].errors
    assert not Rule.objects.exists()


def test_the_same_rule_twice_is_refused(client, make_channel):
    channel = make_channel()
    rule(client, channel)

    assert "such a rule" in rule(client, channel).content.decode()


def test_the_log_shows_what_became_of_a_test_and_can_send_it_again(client, make_channel, receiver):
    channel = make_channel(target=receiver.url)
    assert client.post(f"{MINE}channels/{channel.pk}/test/").status_code == 302
    assert 'hx-trigger="every 3s"' in client.get(MINE).content.decode()
    receiver.status = 404
    delivering.deliver_due()

    page = client.get(f"{MINE}?status=failed").content.decode()
    assert "It answered 404." in page and 'hx-trigger="every 3s"' not in page
    part = client.get(MINE, headers={"HX-Request": "true"}).content.decode()
    assert part.startswith('<section class="panel" id="notify-log"')
    receiver.status = 200
    client.post(f"{MINE}deliveries/{Delivery.objects.get().pk}/again/")
    delivering.deliver_due()
    assert Delivery.objects.get().status == "sent"
    assert Client().get(MINE).status_code == 302


def test_a_channel_is_not_tested_without_end(client, make_channel):
    channel = make_channel()
    answers = [client.post(f"{MINE}channels/{channel.pk}/test/").status_code for _ in range(6)]

    assert answers == [302] * 5 + [429]


def test_channels_of_others_are_not_there(make_channel, make_user, project, sign_in):
    channel = make_channel()
    made = Rule.objects.create(channel=channel, event="run-ended")
    other = sign_in(make_user(project=project, role=Role.ADMIN))

    assert other.post(f"{MINE}channels/{channel.pk}/test/").status_code == 404
    assert other.post(f"{MINE}rules/{made.pk}/delete/").status_code == 404
    assert other.get(API + "channels/").json() == {"results": []}
    answer = rule(other, channel)
    assert answer.context["rule_form"].errors["channel"]
    assert post(other, "rules/", channel=channel.pk, event="run-ended").status_code == 404


def test_a_project_is_told_by_what_its_admins_set_up(make_user, project, sign_in, client, user):
    chief = make_user(project=project, role=Role.ADMIN)
    browser, page = sign_in(chief), f"{MINE}projects/{project.slug}/"
    browser.post(page, {"what": "channel", "kind": "webhook", "name": "team",
                        "target": "https://hooks.example.org/x"})  # fmt: skip
    channel = Channel.objects.get()
    browser.post(page, {"what": "rule", "event": "run-failed", "of": project.slug,
                        "channel": channel.pk, "above": "yes"})  # fmt: skip

    assert (channel.project, channel.user, Rule.objects.get().project) == (project, None, project)
    assert "all runs of" in browser.get(page).content.decode()
    assert client.get(page).status_code == 403
    assert client.post(f"{MINE}channels/{channel.pk}/delete/").status_code == 404
    assert AuditEvent.objects.get(kind="channel-created").project == project
    Membership.objects.filter(user=chief).update(role=Role.MEMBER)
    assert browser.post(f"{MINE}channels/{channel.pk}/delete/").status_code == 404


def test_the_api_does_all_of_it(client, project):
    made = post(client, "channels/", kind="webhook", name="chat", target="https://a.example.org/b")
    assert made.status_code == 201 and made.json()["secret"].startswith("whsec_")
    pk = made.json()["id"]
    body = {"channel": pk, "event": "metric-crossed", "metric_key": "loss", "crosses": "below",
            "value": 1, "project": project.slug}  # fmt: skip
    created = post(client, "rules/", **body).json()
    assert (created["crosses"], created["value"], created["project"]) == ("below", 1, project.slug)
    assert post(client, f"channels/{pk}/test/").status_code == 202
    assert client.get(API + "deliveries/").json()["results"][0]["event"] == "test"
    changed = client.patch(f"{API}channels/{pk}/", {"paused": True}, "application/json")
    assert changed.json()["paused"] is True
    assert "secret" not in client.get(API + "channels/").json()["results"][0]
    assert client.delete(f"{API}rules/{created['id']}/").status_code == 204
    assert client.delete(f"{API}channels/{pk}/").status_code == 204
    assert not Delivery.objects.exists()


def test_a_channel_that_is_sent_twice_is_one_and_its_secret_is_not_kept(client):
    def make():
        return client.post(
            API + "channels/",
            {"kind": "webhook", "name": "chat", "target": "https://hooks.example.org/x"},
            "application/json", headers={"Idempotency-Key": "k"},
        )  # fmt: skip

    made, again = make(), make()

    assert made.status_code == 201 and made.json()["secret"].startswith("whsec_")
    assert made["Cache-Control"] == "no-store"
    assert (again.status_code, again.json()["code"]) == (409, "idempotency-used")
    assert Channel.objects.count() == 1


@pytest.mark.parametrize(
    "body",
    [
        {"channel": 10**30, "event": "run-ended"},
        {"channel": True, "event": "run-ended"},
        {"event": "metric-crossed", "metric_key": "a", "value": 10**400},
        {"event": "metric-crossed", "metric_key": "a", "value": "1"},
        {"event": "queue-waits", "minutes": 10**30},
        {"event": "run-ended", "crosses": "beside"},
        {"event": "run-ended", "other": 1},
    ],
)
def test_a_hostile_rule_is_refused(client, make_channel, body):
    body.setdefault("channel", make_channel().pk)

    assert post(client, "rules/", **body).status_code in (400, 404, 422)
    assert not Rule.objects.exists()


def test_a_token_of_one_project_reaches_no_notifications(user, project, make_channel):
    make_channel()
    _, secret = tokens.token_create(by=user, name="t", scope="write", project=project)
    headers = {"Authorization": f"Bearer {secret}"}

    assert Client().get(API + "channels/", headers=headers).json() == {"results": []}
    answer = Client().post(API + "channels/", {"kind": "mail"},
                           content_type="application/json", headers=headers)  # fmt: skip
    assert answer.status_code == 403
    assert Channel.objects.count() == 1


def test_the_page_costs_the_same_for_many(client, make_channel, django_assert_max_num_queries):
    for _ in range(12):
        channel = make_channel()
        Rule.objects.create(channel=channel, event="run-ended")
        Delivery.objects.create(channel=channel, event="test", once="x", subject="s", text="")

    with django_assert_max_num_queries(14):
        client.get(MINE)
