"""Whatever happens to pages, processes, sources and the tally itself: the ledger holds what happened, once."""

from __future__ import annotations

import copy
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from slo.budget import Counts
from slo.counting import Missed, Tally
from slo.deltas import EARLY_SECONDS
from slo.ledger import Ledger

GOOD = {"on-edge": (1, 1), "between": (1, 2), "below": (-1, 0)}
"""SLO name → the last bucket number that is certainly good, and possibly good."""


@pytest.fixture
def machine(engine, agent, slo, tmp_path):
    numbers = count()
    slos = [
        slo("on-edge", threshold="0.5"),
        slo("between", threshold="0.7"),
        slo("below", threshold="0.1"),
        slo("requests", "availability", requests=True),
    ]

    class Truth(RuleBasedStateMachine):
        stay = tuple(slos)

        def __init__(self):
            super().__init__()
            self.path = tmp_path / f"{next(numbers)}.db"
            self.ledger = Ledger(self.path)
            self.revisions = self.ledger.register(self.stay)
            self.now = 1_000_000_000.0
            self.serial = 0
            self.agents = [agent("a"), agent("b")]
            self.fresh_tally()
            self.known = {"seen": {}, "last": {}, "events": {}}
            self.old_scrape = None

        def fresh_tally(self):
            self.tally = Tally(self.stay, self.ledger.state(), revisions=self.revisions)

        def teardown(self):
            try:
                self.finish()
            finally:
                self.ledger.close()

        @initialize(gauge=st.booleans(), history=st.integers(0, 50))
        def begin(self, gauge, history):
            for one in self.agents:
                first = engine(f"{one.name}:1", self.now - 5000 if gauge else None)
                first.serve(0, "2xx", history)
                one.engines.append(first)
                self.look(one)
            self.commit()

        def engines(self):
            return [e for a in self.agents for e in a.engines]

        def look(self, one):
            self.now += 0.25
            """Scrape, and count for ourselves what an all-knowing observer would have counted."""
            self.old_scrape = scrape = one.scrape(self.now)
            self.tally.feed(scrape)
            last = self.known["last"].get(one.name)
            for e in one.engines:
                if not (e.shown and e.up):
                    continue
                process, events = self.known["seen"].get(e.target, (e.process, {}))
                if last is None:
                    process, events = e.process, dict(e.events)  # history before the first look
                for key, n in e.events.items():
                    gained = n - (events.get(key, 0) if process == e.process else 0)
                    self.known["events"][key] = self.known["events"].get(key, 0) + gained
                self.known["seen"][e.target] = (e.process, dict(e.events))
            self.known["last"][one.name] = self.now

        @rule(
            who=st.integers(0, 9),
            bucket=st.integers(0, 3),
            code=st.sampled_from(["2xx", "4xx", "5xx"]),
            times=st.integers(1, 1000),
        )
        def serve(self, who, bucket, code, times):
            e = self.engines()[who % len(self.engines())]
            e.serve(bucket, code, times)

        @rule(which=st.integers(0, 1), step=st.sampled_from([1.0, 5.0, 15.0, 60.0, 300.0]))
        def scrape(self, which, step):
            self.now += step
            self.look(self.agents[which])

        @rule(step=st.sampled_from([5.0, 15.0]), times=st.integers(1, 20))
        def scrape_on(self, step, times):
            for _ in range(times):
                self.now += step
                for one in self.agents:
                    self.look(one)

        @rule(which=st.integers(0, 1))
        def miss(self, which):
            self.now += 5
            self.tally.missed(Missed(self.agents[which].name, self.now, "no answer"))

        @rule()
        def repeat(self):
            self.tally.feed(self.old_scrape)

        @rule(who=st.integers(0, 9))
        def restart(self, who):
            e = self.engines()[who % len(self.engines())]
            if e.started is None:  # nothing on the page tells but the fall: let it be seen
                e.up = e.shown = True
                at = next(a for a in self.agents if e in a.engines)
                self.now += 5
                e.restart(self.now)
                e.serve(0, "2xx", 0)
                self.look(at)
                self.commit()
            else:
                self.now += 12
                e.restart(self.now)

        @rule(who=st.integers(0, 9), up=st.booleans(), shown=st.booleans())
        def hide(self, who, up, shown):
            e = self.engines()[who % len(self.engines())]
            e.up, e.shown = up, shown

        @precondition(lambda self: len(self.engines()) < 5)
        @rule(which=st.integers(0, 1), events=st.integers(0, 20))
        def born(self, which, events):
            self.now += 12
            self.serial += 1
            new = engine(f"new:{self.serial}", self.now)
            new.serve(1, "2xx", events)
            self.agents[which].engines.append(new)

        @rule(who=st.integers(0, 9))
        def learn_where(self, who):
            e = self.engines()[who % len(self.engines())]
            e.labels = {"pod": f"pod-{self.now:.0f}", "node": "n"}

        @rule()
        def commit(self):
            slices = self.tally.close(self.now)
            self.ledger.append(slices, self.tally.state())
            self.ledger.append(slices, self.tally.state())  # a retry
            self.saved, self.saved_scrape = copy.deepcopy(self.known), self.old_scrape

        @rule(whole=st.booleans())
        def crash(self, whole):
            if whole:
                self.ledger.close()
                self.ledger = Ledger(self.path)
            self.fresh_tally()
            self.known, self.old_scrape = copy.deepcopy(self.saved), self.saved_scrape

        def finish(self):
            for one in self.agents:
                self.look(one)
            for one in self.agents:
                self.tally.missed(Missed(one.name, self.now + 4000, "the end"))
            self.ledger.append(self.tally.close(self.now + 4000), self.tally.state())
            events = self.known["events"]
            total = sum(events.values())
            end = self.now + 4000
            for one in self.stay:
                counts = self.ledger.counts(one.id, (), 0, end)
                assert counts.total == total, one.id
                if one.name == "requests":
                    assert counts.bad == sum(n for (_, code), n in events.items() if code == "5xx")
                    continue
                sure, maybe = GOOD[one.name]
                assert counts.good == sum(n for (bucket, _), n in events.items() if bucket <= sure)
                assert counts.good_upper == sum(n for (bucket, _), n in events.items() if bucket <= maybe)
                spent = self.ledger.spenders(one.id, (), 0, end)
                assert sum(t for _, t in spent.values()) == pytest.approx(total)
                assert sum(b for b, _ in spent.values()) == pytest.approx(counts.bad)
                # Ten seconds at the most are taken for watched before a gap that is not over yet (EARLY_SECONDS).
                assert counts.observed_seconds <= self.now - 1_000_000_000 + 2 * EARLY_SECONDS

    return Truth


@pytest.fixture
def following(machine, tmp_path):
    """The same while SLO files change. A second tally counts everything all the time: who comes late is held to it."""
    everything = machine.stay
    numbers = count()

    class Following(machine):
        stay = (everything[0], everything[3])
        crash = None  # a restart while a source goes over declares a gap (slo.tally_follow)

        def __init__(self):
            self.all_of_it = Ledger(tmp_path / f"all-{next(numbers)}.db")
            self.always = Tally(everything, revisions=self.all_of_it.register(everything))
            self.counted = self.stay
            super().__init__()

        def look(self, one):
            super().look(one)
            self.always.feed(self.old_scrape)

        @rule(come=st.sets(st.sampled_from([1, 2])), first=st.booleans())
        def change(self, come, first):
            others = tuple(everything[which] for which in come)
            self.counted = (*others, *self.stay) if first else (*self.stay, *others)
            self.tally.follow(self.counted, self.ledger.register(self.counted))

        @rule(times=st.integers(5, 40))
        def go_on(self, times):
            for number in range(times):
                self.now += 5
                for one in self.agents:
                    for e in one.engines:
                        e.serve(number % 4, ("2xx", "5xx")[number % 2])
                    self.look(one)

        @rule()
        def commit(self):
            super().commit()
            self.all_of_it.append(self.always.close(self.now))

        def finish(self):
            super().finish()
            for one in self.agents:
                self.always.missed(Missed(one.name, self.now + 4000, "the end"))
            self.all_of_it.append(self.always.close(self.now + 4000))
            for one in self.counted:
                own, whole = (self.by_minute(ledger, one.id) for ledger in (self.ledger, self.all_of_it))
                for start, counts in own.items():
                    assert counts in (whole[start], Counts(span_seconds=60)), one.id

        def by_minute(self, ledger, slo_id):
            return dict(ledger.history(slo_id, (), 999_999_960, self.now // 60 * 60 + 4020, 60))

        def teardown(self):
            super().teardown()
            self.all_of_it.close()

    return Following


def test_the_ledger_holds_what_happened(machine):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=100,
            stateful_step_count=40,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_slos_that_stay_lose_nothing_when_others_come_and_go(following):
    run_state_machine_as_test(
        following,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_nothing_missed_is_full_coverage(agent, engine, slo, tmp_path):
    one = agent("a", [engine("a:1", 0.0), engine("a:2", 0.0)])
    slos = [slo("ttft", threshold="0.5"), slo("up", "availability")]
    ledger = Ledger(tmp_path / "l.db")
    tally = Tally(slos, revisions=ledger.register(slos))
    start = 1_000_000_020.0
    for i in range(0, 7200, 5):
        if i % 600 == 0:  # the service is restarted now and then
            ledger.append(tally.close(start + i), tally.state())
            tally = Tally(slos, ledger.state(), revisions=ledger.register(slos))
        one.engines[i % 2].serve(i % 4, "2xx")
        one.scrape(start + i)
        tally.feed(one.scrape(start + i + 0.003 * (i % 7)))
        ledger.append(tally.close(start + i + 1), tally.state())
    for each in slos:
        counts = ledger.counts(each.id, (), start, start + 7140)
        assert counts.coverage >= 0.999
    assert ledger.counts(slos[0].id, (), 0, start + 7140).total == 7140 // 5 - 1
