"""The decision which run is next: its rules one by one, and what comes of them over weeks."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field, replace

import pytest

from webapp.runs.scheduling import (
    Candidate,
    Place,
    Room,
    Rules,
    Standing,
    charged,
    choose,
    in_order,
)

NOW = 1_000_000.0
HOUR = 3600.0
ONE = Room(kind="gpu", free=(Place(0, "A"),))


def run(id: str, owner: str = "ann", **fields: object) -> Candidate:
    values = {"project": "p", "priority": 0, "queued_at": NOW}
    return Candidate(id=id, owner=owner, **{**values, **fields})  # type: ignore[arg-type]


def chosen(*waiting: Candidate, room: Room = ONE, **standings: Standing) -> object:
    found = choose(waiting, standings, room, NOW)
    return found.id if found else None


# --- the rules -------------------------------------------------------------------------------


def test_nothing_waits_nothing_starts():
    assert chosen() is None


def test_priority_comes_before_use():
    heavy = Standing(used_s=10 * HOUR, last_start=NOW)
    assert chosen(run("a", "ann"), run("b", "bob", priority=1), bob=heavy) == "b"


def test_of_one_priority_the_owner_who_used_least_for_their_share_goes_first():
    a, b = run("a", "ann", queued_at=NOW - HOUR), run("b", "bob")

    assert chosen(a, b, ann=Standing(used_s=2.0), bob=Standing(used_s=1.0)) == "b"
    assert chosen(a, b, ann=Standing(used_s=2.0, share=4), bob=Standing(used_s=1.0)) == "a"


def test_of_one_owner_the_oldest_goes_first():
    assert chosen(run("new"), run("old", queued_at=NOW - 1)) == "old"


def test_waiting_without_any_start_lifts_a_level_at_a_time():
    low = run("low", "ann", priority=-2, queued_at=NOW - 13 * HOUR)
    rival = run("rival", "bob", queued_at=NOW)

    assert chosen(low, rival, ann=Standing(used_s=0, last_start=NOW - 1)) == "rival"
    assert chosen(low, rival, bob=Standing(used_s=1, last_start=NOW)) == "low"
    assert chosen(replace(low, priority=-3), rival, bob=Standing(used_s=1)) == "rival"


def test_an_order_by_hand_exchanges_places_within_its_project_only():
    mine, first = run("mine", "ann", project="p"), run("first", "ann", project="p", by_hand=1)
    other = run("other", "bob", project="q")

    # ann is next: her project's first by hand takes her place
    assert chosen(mine, replace(first, owner="cem"), other, bob=Standing(5), cem=Standing(9)) == (
        "first"
    )
    # bob's project is next: an order in another project changes nothing
    assert chosen(mine, first, other, ann=Standing(used_s=9)) == "other"


def test_an_order_by_hand_lifts_nobody_over_a_higher_priority():
    assert chosen(run("urgent", priority=1), run("first", by_hand=-5)) == "urgent"


def test_several_gpus_are_taken_together_on_different_devices():
    two = run("two", gpus=2)
    shared = Room(kind="gpu", free=(Place(0, "A"), Place(2, "A")), devices=2)
    apart = Room(kind="gpu", free=(Place(0, "A"), Place(2, "A"), Place(1, "B")), devices=2)

    assert chosen(two, room=shared) is None
    assert apart.places(two) == (0, 1)


def test_small_runs_pass_a_large_one_until_it_has_waited_long_enough():
    room = Room(kind="gpu", free=(Place(0, "A"),), devices=2)
    small = run("small", "bob")

    assert chosen(run("large", gpus=2, queued_at=NOW - 60), small, room=room) == "small"
    assert chosen(run("large", gpus=2, queued_at=NOW - 601), small, room=room) is None
    # where it could never run, nothing is kept for it
    assert chosen(run("large", gpus=3, queued_at=NOW - 601), small, room=room) == "small"


def test_memory_is_counted_where_it_is_known():
    room = Room(kind="gpu", free=(Place(0, "A", 10_000), Place(1, "B", None)), memory_mb=80_000)

    assert room.places(run("fits", memory_mb=10_000)) == (0,)
    assert room.places(run("unknown")) == (0,)
    assert room.places(run("big", memory_mb=10_001)) == (1,)
    assert not room.could_hold(run("huge", memory_mb=80_001))


@pytest.mark.parametrize("seed", range(20))
def test_the_order_of_all_is_that_of_one_choice_after_the_other(seed):
    chance = random.Random(seed)
    waiting = [
        run(
            str(i), chance.choice("abcd"), project=chance.choice("pq"),
            priority=chance.choice((-1, 0, 0, 2)), queued_at=NOW - chance.uniform(0, 20 * HOUR),
            by_hand=chance.choice((None, None, chance.randrange(50))),
            gpus=chance.choice((1, 1, 2)),
        )
        for i in range(60)
    ]  # fmt: skip
    standings = {
        o: Standing(
            chance.uniform(0, 4 * HOUR),
            chance.choice((1, 2)),
            chance.choice((None, NOW - 9 * HOUR)),
        )
        for o in "abc"
    }
    room = Room(kind="gpu", free=tuple(Place(i, str(i)) for i in range(2)), devices=2)

    left, used, one_by_one = list(waiting), dict(standings), []
    while left:
        found = choose(left, used, room, NOW)
        assert found is not None
        left.remove(found)
        used[found.owner] = charged(used.get(found.owner, Standing()), found, NOW)
        one_by_one.append(found.id)

    assert [r.id for r in in_order(waiting, standings, NOW)] == one_by_one


# --- weeks of it -----------------------------------------------------------------------------


@dataclass
class Site:
    """Devices and people over time, with the real decision and the real accounting rule."""

    devices: int
    half_life_s: float = 24 * HOUR
    rules: Rules = field(default_factory=Rules)
    now: float = 0.0
    started: dict[str, float] = field(default_factory=dict)
    served_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    passed: int = 0  # starts while a run of a level above waited

    def play(
        self,
        arrivals: list[tuple[Candidate, float]],
        shares: dict[str, float],
        until: float | None = None,
    ) -> None:
        """Let runs arrive at their `queued_at` and last the seconds given beside them."""
        lasts = {run.id: seconds for run, seconds in arrivals}
        arrivals = sorted(arrivals, key=lambda pair: pair[0].queued_at)
        groups: dict[tuple[str, int], list[Candidate]] = defaultdict(list)
        used: dict[str, float] = defaultdict(float)
        as_of: dict[str, float] = defaultdict(float)
        last: dict[str, float] = {}
        busy: list[tuple[float, float, Candidate]] = []  # end, start, run
        next_arrival = 0
        while next_arrival < len(arrivals) or busy or any(groups.values()):
            while next_arrival < len(arrivals) and arrivals[next_arrival][0].queued_at <= self.now:
                found = arrivals[next_arrival][0]
                groups[found.owner, found.priority].append(found)
                next_arrival += 1
            while len(busy) < self.devices:
                heads = [runs[0] for runs in groups.values() if runs]
                standings = {}
                for owner, share in shares.items():
                    decayed = used[owner] * 0.5 ** ((self.now - as_of[owner]) / self.half_life_s)
                    running = sum(
                        max(end - start, 900.0) for end, start, r in busy if r.owner == owner
                    )
                    standings[owner] = Standing(decayed + running, share, last.get(owner))
                room = Room(kind="gpu", free=(Place(0, "A"),))
                best = choose(heads, standings, room, self.now, self.rules)
                if best is None:
                    break
                self.passed += any(head.priority > best.priority for head in heads)
                groups[best.owner, best.priority].remove(best)
                self.started[best.id] = last[best.owner] = self.now
                busy.append((self.now + lasts[best.id], self.now, best))
            moments = [end for end, _, _ in busy]
            if next_arrival < len(arrivals):
                moments.append(arrivals[next_arrival][0].queued_at)
            self.now = min(moments)
            if until is not None and self.now > until:
                return
            for end, start, done in [b for b in busy if b[0] <= self.now]:
                busy.remove((end, start, done))
                owner = done.owner
                used[owner] *= 0.5 ** ((end - as_of[owner]) / self.half_life_s)
                used[owner] += end - start
                as_of[owner] = end
                self.served_s[owner] += end - start


def test_eight_devices_twenty_people_five_thousand_runs_nobody_starves():
    chance = random.Random(42)
    people = [f"person{i}" for i in range(20)]
    arrivals = []
    for i in range(5000):  # some queue hundreds at once, some one now and then
        owner = chance.choices(people, weights=[20, 20, *[1] * 18])[0]
        at = 0.0 if owner in people[:2] else chance.uniform(0, 14 * 24 * HOUR)
        low = owner == people[19]  # always below everybody else
        seconds = chance.lognormvariate(0, 0.8) * 0.6 * HOUR
        arrivals.append((run(str(i), owner, queued_at=at, priority=-1 if low else 0), seconds))
    site = Site(devices=8)

    site.play(arrivals, dict.fromkeys(people, 1.0))

    assert len(site.started) == 5000
    waited = defaultdict(list)
    for found, _ in arrivals:
        waited[found.owner].append(site.started[found.id] - found.queued_at)
    rare = sorted(w for owner in people[2:19] for w in waited[owner])
    flood = sorted(w for owner in people[:2] for w in waited[owner])
    # who queues a run now and then does not wait behind who queued two thousand at once
    assert rare[len(rare) // 2] < 1 * HOUR, rare[len(rare) // 2] / HOUR
    assert rare[-1] < 24 * HOUR, rare[-1] / HOUR
    assert flood[-1] > 5 * 24 * HOUR  # so the devices were scarce: the figures above mean something
    # a person below all others gets a start for every lift that they wait, and a device's next end
    for owner in people:
        mine = [found for found, _ in arrivals if found.owner == owner]
        assert _longest_unserved(mine, site.started) < site.rules.lift_s + 3 * HOUR, owner


def _longest_unserved(runs: list[Candidate], started: dict[str, float]) -> float:
    """The longest time in which something of a person waited and nothing of theirs started."""
    longest = last = 0.0
    for at, _ in sorted((started[r.id], r.id) for r in runs):
        since = min(r.queued_at for r in runs if started[r.id] >= at)
        longest = max(longest, at - max(last, since))
        last = at
    return longest


def test_shares_converge_when_everybody_always_has_work():
    chance = random.Random(7)
    shares = {"ann": 1.0, "bob": 1.0, "cem": 2.0, "dee": 4.0}
    mean_h = {"ann": 0.2, "bob": 3.0, "cem": 1.0, "dee": 1.0}  # the length of runs must not matter
    arrivals = [
        (run(f"{owner}{i}", owner, queued_at=0.0), chance.uniform(0.5, 1.5) * mean_h[owner] * HOUR)
        for owner in shares
        for i in range(3000)
    ]
    site = Site(devices=8)

    site.play(arrivals, shares, until=10 * 24 * HOUR)

    total = sum(site.served_s.values())
    for owner, share in shares.items():
        assert site.served_s[owner] / total == pytest.approx(share / 8, rel=0.1), owner


def test_priorities_hold_while_nobody_waits_long():
    chance = random.Random(3)
    arrivals = [
        (
            run(str(i), chance.choice("abcdef"), queued_at=chance.uniform(0, 40 * HOUR),
                priority=chance.choice((0, 5))),
            chance.uniform(0.1, 1.0) * HOUR,
        )
        for i in range(500)
    ]  # fmt: skip
    site = Site(devices=8)

    site.play(arrivals, dict.fromkeys("abcdef", 1.0))

    assert site.passed == 0


def test_a_stream_of_urgent_runs_starves_nobody():
    arrivals = [(run("low", "ann", queued_at=0.0, priority=-3), HOUR)]
    arrivals += [
        (run(f"u{i}", "bob", queued_at=i * 0.4 * HOUR, priority=0), HOUR) for i in range(200)
    ]
    site = Site(devices=1)  # two and a half times as much urgent work as there is time

    site.play(arrivals, {"ann": 1.0, "bob": 1.0})

    lift = site.rules.lift_s
    assert 3 * lift <= site.started["low"] <= 3 * lift + 2 * HOUR
