"""What is said: one message as mail and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.urls import reverse

from webapp.notify.models import Channel, Delivery, Rule
from webapp.runs.models import MetricSummary, Run, RunEvent
from webapp.runs.recovery import words


@dataclass(frozen=True, kw_only=True)
class Message:
    event: str
    subject: str  # one line
    text: str  # what else there is to say
    run: Run | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def to(self, channel: Channel, *, once: str, rule: Rule | None = None) -> Delivery:
        """A message to be sent. Not saved."""
        subject = " ".join(self.subject.split())[:200]  # a header has one line
        link = _link(self.run)
        text = "\n\n".join(part for part in (self.text, link) if part)
        delivery = Delivery(
            channel=channel, rule=rule, run=self.run, once=once, event=self.event,
            subject=subject, text=text,
        )  # fmt: skip
        delivery.payload = {
            "id": str(delivery.pk),
            "event": self.event,
            "at": delivery.created_at.isoformat(),
            "text": _escaped(f"{subject}\n{text}".strip()),
            "run": _run(self.run, link) if self.run else None,
            **self.facts,
        }
        return delivery


def of_event(event: RunEvent) -> Message:
    """That a run ended, or was lost."""
    run = event.run
    facts: dict[str, Any] = {}
    text = event.message
    if event.kind == "failed" and run.error:
        facts["error"] = {name: run.error.get(name, "") for name in ("code", "message", "hint")}
        text = f"{run.error.get('message', '')} {run.error.get('hint', '')}".strip()
    if event.kind == "succeeded" and run.took_s is not None:
        text = f"It took {words(run.took_s)}."
    verb = {"lost": "was lost", "cancelled": "was cancelled"}.get(event.kind, event.kind)
    subject = f"{run.name} {verb}"
    return Message(event=f"run-{event.kind}", subject=subject, text=text, run=run, facts=facts)


def of_metric(rule: Rule, summary: MetricSummary) -> Message:
    value = summary.greatest if rule.above else summary.least
    step = summary.greatest_step if rule.above else summary.least_step
    where = "above" if rule.above else "below"
    return Message(
        event="metric-crossed",
        subject=f"{summary.run.name}: {rule.metric_key} is {where} {rule.value:g}",
        text=f"{rule.metric_key} was {value:g} at step {step}.",
        run=summary.run,
        facts={
            "metric": {
                "key": rule.metric_key, "value": value, "step": step, "than": rule.value,
                "crossed": where,
            }
        },
    )  # fmt: skip


def of_wait(rule: Rule, *, oldest: Run, waited_s: float, count: int, why: str) -> Message:
    runs = "1 run waits" if count == 1 else f"{count} runs wait"
    return Message(
        event="queue-waits",
        subject=f"{runs} longer than {rule.minutes} min",
        text=f"{oldest.name} has waited for {words(waited_s)}. {why}".strip(),
        run=oldest,
        facts={"queue": {"runs": count, "oldest_s": round(waited_s), "why": why}},
    )


def of_test(by: str) -> Message:
    return Message(
        event="test",
        subject="A test of VADLab",
        text=f"{by} asked for this message. Nothing happened.",
    )


def of_code(channel: Channel) -> Message:
    """The code that shows that somebody reads mail at this address."""
    return Message(
        event="confirm",
        subject="Your code for VADLab",
        text=f"{channel.code} is the code for {channel.name}. Enter it under Settings, "
        "Notifications. If you know nothing of this, do nothing, and no more will come.",
    )


def _run(run: Run, link: str) -> dict[str, Any]:
    return {
        "id": str(run.pk),
        "name": run.name,
        "kind": run.kind,
        "state": run.state,
        "attempt": run.attempt,
        "owner": run.owner.username,
        "project": run.project.slug,
        "url": link,
    }


def _link(run: Run | None) -> str:
    """Empty unless the server knows its own address."""
    if run is None or not settings.PUBLIC_URL:
        return ""
    return f"{settings.PUBLIC_URL}{reverse('runs:detail', args=[run.pk])}"


def _escaped(text: str) -> str:
    """For chats that read `text` as marked up: a run called `<!channel>` calls nobody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
