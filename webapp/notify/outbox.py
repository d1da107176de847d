"""From the event to the rules, without losing one.

An event that rules may ask for gets a row here in the transaction that writes the event: they
commit together or not at all. (A cursor over the events would miss one whose transaction commits
after a younger one's.) The clock then turns rows into messages; see matching.py.
"""

from __future__ import annotations

from webapp.notify.models import Event, Notice
from webapp.runs.models import RunEvent

# kind of the run's event: the events of rules that it is
MEANS: dict[str, tuple[Event, ...]] = {
    "succeeded": (Event.RUN_ENDED,),
    "cancelled": (Event.RUN_ENDED,),
    "failed": (Event.RUN_ENDED, Event.RUN_FAILED),
    "lost": (Event.RUN_FAILED,),
}


def note(event: RunEvent) -> None:
    """Remember to look for rules; called by the lifecycle for every event."""
    if event.kind in MEANS:
        Notice.objects.create(event=event)
