"""The only package that changes a run's state.

The database decides, Celery delivers: a queued run is a row, the message is a doorbell. Every step
is one guarded update (`moves`), so two processes cannot both win. A claim is a fencing token: what
an executor writes carries it, and a write under an old claim is refused with `ClaimLost`.

`commands` is what people say; `claiming`, `executing` and `ending` a claim's life, with `stopping`
as what is asked of it meanwhile; `external` the runs that no worker has; `parents` what a run waits
for; `sweeping` finds the rest. Each step leaves an event (`events`), and rings where it queues a
run (`bells`).
"""
