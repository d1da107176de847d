"""Messages reach a real receiver, signed; what fails is tried again and written down."""

from __future__ import annotations

import hashlib
import hmac
import json
import smtplib
from datetime import timedelta

import pytest
from django.core import mail
from django.db.models import F
from django.utils import timezone

from webapp.notify import delivering, services, webhook
from webapp.notify.models import Channel, Delivery, Status

pytestmark = pytest.mark.django_db


@pytest.fixture
def test_of(user):
    """A test message to a channel, to be sent."""
    return lambda channel: services.channel_test(channel=channel, by=user)


@pytest.fixture
def to_receiver(make_channel, receiver):
    return make_channel(target=receiver.url)


def row(delivery: Delivery) -> Delivery:
    delivery.refresh_from_db()
    return delivery


def due_again() -> None:
    Delivery.objects.update(next_at=timezone.now() - timedelta(seconds=1))


def test_a_message_is_posted_once_with_a_signature_that_holds(to_receiver, receiver, test_of):
    sent = test_of(to_receiver)

    assert delivering.deliver_due() == 1
    assert delivering.deliver_due() == 0
    ((path, headers, body),) = receiver.got
    assert path == "/hook?key=k3y"
    assert headers["content-type"] == "application/json"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    assert headers["x-vadlab-delivery"] == json.loads(body)["id"] == str(sent.pk)
    time, _, digest = headers["x-vadlab-signature"].removeprefix("t=").partition(",v1=")
    signed = f"{time}.".encode() + body
    expected = hmac.new(to_receiver.secret.encode(), signed, hashlib.sha256).hexdigest()
    assert digest == expected
    assert (row(sent).status, sent.code, sent.attempts, sent.error) == (Status.SENT, 204, 1, "")
    assert sent.took_ms is not None and sent.ended_at is not None


def test_a_new_secret_signs_differently(to_receiver, user):
    old = to_receiver.secret
    new = services.secret_renew(channel=to_receiver, by=user)

    assert new != old
    assert Channel.objects.get().secret == new
    assert new.removeprefix("whsec_") not in str(list(Channel.objects.values_list()))


def test_a_receiver_that_is_broken_is_asked_again_later_and_then_no_more(
    to_receiver, receiver, test_of
):
    receiver.status = 503
    sent = test_of(to_receiver)
    waits = []
    while row(sent).status == Status.PENDING:
        due_again()
        delivering.deliver_due()
        waits.append(round((row(sent).next_at - timezone.now()).total_seconds(), -1))

    assert waits[:-1] == [pytest.approx(s, abs=10) for s in delivering.BACK_OFF_S]
    assert (sent.status, sent.code, sent.attempts) == (Status.FAILED, 503, 6)
    assert sent.error == "It answered 503."
    assert len({body for _, _, body in receiver.got}) == 1  # the same message each time


@pytest.mark.parametrize(
    ("status", "after"),
    [(404, Status.FAILED), (410, Status.FAILED), (301, Status.FAILED), (429, Status.PENDING),
     (500, Status.PENDING), (200, Status.SENT)],
)  # fmt: skip
def test_what_the_answer_means(to_receiver, receiver, test_of, status, after):
    receiver.status = status
    sent = test_of(to_receiver)
    delivering.deliver_due()

    assert (row(sent).status, sent.code) == (after, status)


def test_an_address_that_is_inside_by_now_is_not_asked(to_receiver, receiver, test_of, settings):
    settings.WEBHOOK_ALLOW = []
    sent = test_of(to_receiver)
    Channel.objects.update(target="http://127.0.0.1/hook")
    delivering.deliver_due()

    assert row(sent).status == Status.FAILED
    assert "not public" in sent.error
    assert receiver.got == []


def test_of_two_who_find_a_message_due_one_sends_it(to_receiver, receiver, test_of, monkeypatch):
    test_of(to_receiver)

    def post(*args, real=webhook.post):
        if len(receiver.got) == 0:
            receiver.got.append(("", {}, b""))
            assert delivering.deliver_due() == 0  # the other, in the middle of it
        return 204

    monkeypatch.setattr(webhook, "post", post)

    assert delivering.deliver_due() == 1


def test_a_message_whose_sender_died_is_sent_by_the_next(
    to_receiver, receiver, test_of, monkeypatch
):
    sent = test_of(to_receiver)

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(webhook, "post", die)
        delivering.deliver_due()
    assert delivering.deliver_due() == 0  # it may still be at it

    Delivery.objects.update(next_at=F("next_at") - delivering.LEASE)

    assert delivering.deliver_due() == 1
    assert (row(sent).status, sent.attempts) == (Status.SENT, 2)


def test_a_channel_that_fails_does_not_hold_up_the_others(
    make_channel, to_receiver, receiver, test_of
):
    dead = make_channel(target="http://127.0.0.1:1/")  # refused: it is no host of the settings
    for _ in range(3):
        test_of(dead)
    test_of(to_receiver)

    assert delivering.deliver_due() == 2
    assert len(receiver.got) == 1


def test_a_paused_channel_gets_nothing(to_receiver, receiver, test_of, user):
    test_of(to_receiver)
    services.channel_pause(channel=to_receiver, paused=True, by=user)

    assert delivering.deliver_due() == 0


def test_a_fault_of_ours_ends_one_message_and_not_the_rest(
    to_receiver, test_of, monkeypatch, make_channel, receiver
):
    broken, fine = test_of(to_receiver), test_of(make_channel(target=receiver.url))
    monkeypatch.setattr(delivering.json, "dumps", _once_broken(delivering.json.dumps))
    delivering.deliver_due()

    assert (row(broken).status, row(fine).status) == (Status.FAILED, Status.SENT)
    assert "ValueError" in broken.error


def _once_broken(real):
    calls = []

    def dumps(*args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("secret words")
        return real(*args, **kwargs)

    return dumps


def test_what_is_logged_holds_no_secret(to_receiver, receiver, test_of, caplog):
    caplog.set_level("DEBUG")
    test_of(to_receiver)
    receiver.status = 500
    delivering.deliver_due()

    assert "notify.failed" in caplog.text
    assert "k3y" not in caplog.text
    assert to_receiver.secret not in caplog.text


# --- mail -----------------------------------------------------------------------------------


@pytest.fixture
def by_mail(settings, make_channel):
    settings.MAIL_FROM = "vadlab@lab.example.org"
    return make_channel(kind="mail", target="anna@example.org")


def test_a_mail_goes_to_the_address_and_says_that_a_machine_wrote_it(by_mail, test_of):
    sent = test_of(by_mail)
    delivering.deliver_due()

    (message,) = mail.outbox
    assert (message.to, message.from_email) == (["anna@example.org"], "vadlab@lab.example.org")
    assert message.subject == "[VADLab] A test of VADLab"
    assert message.extra_headers["Auto-Submitted"] == "auto-generated"
    assert row(sent).status == Status.SENT


def test_no_line_break_of_a_name_makes_a_header(by_mail, user):
    Delivery.objects.create(channel=by_mail, event="test", once="x", subject="a\nBcc: b", text="")
    delivering.deliver_due()

    assert mail.outbox == []
    assert Delivery.objects.get().status == Status.FAILED


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (
            smtplib.SMTPRecipientsRefused({"anna@example.org": (550, b"nobody")}),
            550,
            "failed",
        ),
        (smtplib.SMTPRecipientsRefused({"anna@example.org": (451, b"later")}), 451, "pending"),
        (smtplib.SMTPServerDisconnected("gone"), None, "pending"),
        (ConnectionRefusedError(111, "refused"), None, "pending"),
    ],
)
def test_what_the_mail_server_says_decides(by_mail, test_of, monkeypatch, error, code, status):
    def send(self):
        raise error

    monkeypatch.setattr("django.core.mail.EmailMessage.send", send)
    sent = test_of(by_mail)
    delivering.deliver_due()

    assert (row(sent).status, sent.code) == (status, code)


def test_old_messages_are_forgotten_but_not_of_a_run_that_goes_on(make_channel, make_run, test_of):
    old = test_of(make_channel())
    kept = test_of(make_channel())
    Delivery.objects.filter(pk=kept.pk).update(run=make_run(state="running"))
    Delivery.objects.update(created_at=timezone.now() - timedelta(days=31))
    test_of(make_channel())
    delivering.forget_old()

    assert Delivery.objects.count() == 2
    assert not Delivery.objects.filter(pk=old.pk).exists()
