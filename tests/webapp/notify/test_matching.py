"""Which rules speak: of what a person may see, once, and without losing an event."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from vad.errors import VadError
from webapp.accounts.models import Membership
from webapp.notify import matching, messages
from webapp.notify.models import Channel, Delivery, Event, Look, Notice
from webapp.runs import chunks
from webapp.runs.claims import Claim, Outcome, Slot
from webapp.runs.lifecycle import claiming, commands, ending
from webapp.runs.models import Run, State

pytestmark = pytest.mark.django_db


@pytest.fixture
def end(make_run):
    """A run that ends as it does on a server."""

    def make(*, outcome: Outcome | None = None, **fields) -> Run:
        run = make_run(state=State.RUNNING, started_at=timezone.now(), kind="proxies", **fields)
        claim = Claim(id=run.claim, run_id=run.pk, attempt=run.attempt)
        ending.finish(claim, outcome or Outcome(kind="succeeded"))
        return run

    return make


def broken() -> Outcome:
    return Outcome(kind="failed", error=VadError("features-missing", "No features.", "Extract."))


def told(channel: Channel | None = None) -> list[str]:
    matching.look()
    found = Delivery.objects.exclude(event="confirm").order_by("created_at")
    return [d.subject for d in (found.filter(channel=channel) if channel else found)]


def test_the_end_of_ones_run_is_told_once(make_rule, end):
    make_rule()
    run = end()

    assert told() == [f"{run.name} succeeded"]
    assert told() == [f"{run.name} succeeded"]
    assert not Notice.objects.exists()


def test_an_event_is_told_if_its_transaction_commits_and_only_then(make_rule, make_run, user):
    make_rule()
    kept, gone = make_run(), make_run()
    commands.cancel(kept, by=user)
    with pytest.raises(RuntimeError), transaction.atomic():
        commands.cancel(gone, by=user)
        raise RuntimeError

    assert told() == [f"{kept.name} was cancelled"]


def test_an_event_that_commits_after_a_younger_one_was_told_is_not_lost(make_rule, make_run, user):
    make_rule()
    older, younger = make_run(), make_run()
    commands.cancel(older, by=user)
    held_back = Notice.objects.get()
    commands.cancel(younger, by=user)
    Notice.objects.filter(pk=held_back.pk).delete()  # as if it had not been committed
    assert told() == [f"{younger.name} was cancelled"]

    held_back.save(force_insert=True)

    assert told() == [f"{younger.name} was cancelled", f"{older.name} was cancelled"]


def test_two_rules_of_a_channel_that_mean_the_same_event_tell_it_once(make_rule, end):
    rule = make_rule()
    make_rule(Event.RUN_FAILED, channel=rule.channel)
    end(outcome=broken())

    assert len(told()) == 1
    payload = Delivery.objects.get().payload
    assert payload["event"] == "run-failed"
    assert payload["error"] == {"code": "features-missing", "message": "No features.",
                                "hint": "Extract."}  # fmt: skip


def test_a_run_that_is_lost_and_tries_again_is_told_as_lost(make_rule, end):
    make_rule(Event.RUN_FAILED)
    run = end(outcome=Outcome(kind="lost", reason="killed by SIGKILL"))

    assert told() == [f"{run.name} was lost"]
    assert Delivery.objects.get().payload["run"]["state"] == State.QUEUED
    end()
    assert len(told()) == 1


def test_a_rule_of_ones_runs_says_nothing_of_others_runs(make_rule, make_user, project, end):
    make_rule()
    end(owner=make_user(project=project))

    assert told() == []


def test_a_rule_of_a_project_tells_of_all_its_runs(make_rule, make_user, project, end):
    make_rule(project=project)
    end(owner=make_user(project=project))

    assert len(told()) == 1


def test_a_rule_of_a_project_that_one_has_left_is_silent(make_rule, make_user, project, user, end):
    make_rule(project=project)
    make_rule()
    Membership.objects.filter(user=user).delete()
    end()

    assert told() == []


def test_who_may_not_sign_in_any_more_is_told_nothing(make_rule, user, end):
    make_rule()
    user.is_active = False
    user.save()
    end()

    assert told() == []


def test_a_channel_of_a_project_tells_of_its_runs_alone(make_rule, make_channel, project, stranger,
                                                        end):  # fmt: skip
    make_rule(channel=make_channel(project=project), project=project)
    other = Membership.objects.get(user=stranger).project
    end(project=other, owner=stranger)
    run = end()

    assert told() == [f"{run.name} succeeded"]


@pytest.mark.parametrize("what", ["rule", "channel", "unconfirmed"])
def test_what_happens_during_a_pause_is_not_told_later(make_rule, make_channel, end, what):
    channel = make_channel(
        paused=what == "channel", confirmed_at=None if what == "unconfirmed" else timezone.now()
    )
    rule = make_rule(channel=channel, paused=what == "rule")
    end()
    assert told() == []

    type(rule).objects.update(paused=False)
    Channel.objects.update(paused=False, confirmed_at=timezone.now())

    assert told() == []


# --- metrics --------------------------------------------------------------------------------


def measure(run: Run, *values: float, key: str = "val/auc") -> None:
    chunks.append(run, chunks.columns([(n, {key: v}) for n, v in enumerate(values, 1)]))


def test_a_metric_that_crosses_a_value_is_told_once_a_run_with_where(make_rule, make_run):
    make_rule(Event.METRIC_CROSSED, metric_key="val/auc", value=0.8)
    run, low = make_run(state=State.RUNNING), make_run(state=State.RUNNING)
    measure(run, 0.7, 0.9, 0.6)  # it was over the value between two looks
    measure(low, 0.8)

    assert told() == [f"{run.name}: val/auc is above 0.8"]
    assert Delivery.objects.get().payload["metric"] == {
        "key": "val/auc", "value": 0.9, "step": 2, "than": 0.8, "crossed": "above"
    }  # fmt: skip
    chunks.append(run, chunks.columns([(4, {"val/auc": 0.95})]))
    assert len(told()) == 1


def test_below_is_the_other_way_round(make_rule, make_run):
    make_rule(Event.METRIC_CROSSED, metric_key="loss/total", above=False, value=0.1)
    run = make_run(state=State.RUNNING)
    measure(run, 0.5, 0.2, key="loss/total")
    assert told() == []

    chunks.append(run, chunks.columns([(3, {"loss/total": 0.05})]))

    assert len(told()) == 1


def test_runs_that_were_done_before_the_rule_was_made_are_not_told(make_rule, make_run):
    make_rule(Event.METRIC_CROSSED, metric_key="val/auc", value=0.8)
    old = timezone.now() - timedelta(hours=1)
    run = make_run(state=State.SUCCEEDED, beat_at=old, ended_at=old)
    measure(run, 0.9)

    assert told() == []


# --- the queue ------------------------------------------------------------------------------


def test_a_queue_that_waits_too_long_is_told_once_until_it_moves(make_rule, make_run):
    rule = make_rule(Event.QUEUE_WAITS, minutes=10)
    past = timezone.now() - timedelta(minutes=11)
    first = make_run(queued_at=past)
    make_run(queued_at=past + timedelta(seconds=1))
    make_run()

    assert told() == ["2 runs wait longer than 10 min"]
    assert told() == ["2 runs wait longer than 10 min"]
    text = Delivery.objects.get().text
    assert first.name in text and "No worker is alive" in text

    Run.objects.update(state=State.HELD)
    matching.look()
    rule.refresh_from_db()
    assert rule.alarmed_at is None
    Run.objects.update(state=State.QUEUED)
    assert len(told()) == 2


def test_a_short_wait_and_a_wait_of_others_are_not_told(make_rule, make_run, make_user, project):
    make_rule(Event.QUEUE_WAITS, minutes=10)
    past = timezone.now() - timedelta(minutes=11)
    make_run(queued_at=past, owner=make_user(project=project))
    make_run(queued_at=past, not_before=timezone.now() + timedelta(minutes=1))
    make_run()

    assert told() == []


def test_a_rule_that_crashes_does_not_silence_the_others(make_rule, make_run, monkeypatch):
    for minutes in (1, 2):
        make_rule(Event.QUEUE_WAITS, minutes=minutes)
    make_run(queued_at=timezone.now() - timedelta(minutes=11))
    of_wait = messages.of_wait

    def broken_for_one(rule, **given):
        if rule.minutes == 1:
            raise ValueError
        return of_wait(rule, **given)

    monkeypatch.setattr(messages, "of_wait", broken_for_one)

    assert told() == ["1 run waits longer than 2 min"]


# --- what is said ---------------------------------------------------------------------------


def test_a_name_cannot_call_a_chat_or_add_a_header(make_rule, end, settings):
    settings.PUBLIC_URL = "https://lab.example.org"
    make_rule()
    run = end(name="<!channel> & a\r\nBcc: all@example.org")

    matching.look()

    told_once = Delivery.objects.get()
    assert told_once.subject == "<!channel> & a Bcc: all@example.org succeeded"
    assert "&lt;!channel&gt; &amp; a Bcc" in told_once.payload["text"]
    assert told_once.payload["run"]["url"] == f"https://lab.example.org/runs/{run.pk}/"


def test_a_look_without_rules_writes_when_it_was(db):
    matching.look()

    assert (timezone.now() - Look.objects.get().at).total_seconds() < 60


def test_a_look_costs_no_more_for_many_runs_that_no_rule_is_about(
    make_rule, make_run, django_assert_max_num_queries
):
    make_rule(Event.METRIC_CROSSED, metric_key="val/auc", value=0.8)
    make_rule(Event.QUEUE_WAITS, minutes=10)
    for _ in range(15):
        measure(make_run(state=State.RUNNING), 0.1)
        make_run()

    with django_assert_max_num_queries(16):
        matching.look()


def test_only_ends_leave_a_notice(worker, make_run):
    """The outbox stands in the transactions of the queue, which are many."""
    make_run(config={"device": "cpu"})

    assert claiming.claim_best(worker=worker, slot=Slot("cpu")) is not None
    assert not Notice.objects.exists()
