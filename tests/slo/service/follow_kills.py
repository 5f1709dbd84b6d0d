"""Kills a service that goes over to other SLOs again and again, and looks at what is left. Run by a test.

    python tests/slo/service/follow_kills.py FILE KILLS SEED

The service is forked, so that a kill costs milliseconds. Its clock is a scripted one: each poll is five seconds later,
and the engine has answered one request by then. After each kill the ledger must open without a message, and hold no
minute with more requests than there were, nor one whose requests differ by more than one from those of the time that it
declares as watched: the step over a restart in mid-change is not.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from exporter.metrics import llm
from exporter.model import labels_of
from exporter.page import PageSample
from slo.ledger import Ledger
from slo.model import Method, Slo, Window
from slo.observed import Missed, Scrape
from slo.service import Service

START = 1_000_000_020.0
STEP = 5.0
LABELS = {"target": "e:8000", "model_name": "m"}
EDGES = ("0.25", "0.5", "1.0", "+Inf")
SERIES = (
    PageSample(llm.ENGINE_UP.name, labels_of(LABELS)),
    *(PageSample(llm.TIME_TO_FIRST_TOKEN.bucket, labels_of({**LABELS, "le": edge})) for edge in EDGES),
)


def slo(name: str, threshold: str) -> Slo:
    return Slo("chat", name, "ttft", Decimal("0.99"), Window("30d", 30 * 86400), Method.OCCURRENCES, Decimal(threshold))


STAYS = slo("stays", "0.5")
OTHERS = (slo("more", "0.25"), slo("edited", "1.0"), slo("edited", "0.25"))


class Pages:
    """The engine's page every five seconds, from where the tally was."""

    name = "pages"
    interval_seconds = STEP

    def __init__(self) -> None:
        self.now = START

    def resume(self, heard: Mapping[str, float]) -> None:
        self.now = max([self.now, *heard.values()])

    def follow(self, slos: Sequence[Slo]) -> None:
        """The page has everything."""

    async def poll(self) -> list[Scrape | Missed]:
        self.now += STEP
        answered = (self.now - START) / STEP + 1000
        return [Scrape("a", self.now, SERIES, [1.0, *[answered] * len(EDGES)], SERIES)]

    async def close(self) -> None:
        """Nothing is held."""


async def serve(path: Path, dice: random.Random) -> None:
    """For ever: a few polls, then other SLOs."""
    pages = Pages()
    ledger = Ledger(path)
    pages.resume(Service([STAYS], pages, ledger)._tally.heard())
    service = Service(some(dice), pages, ledger, clock=lambda: pages.now)
    while True:
        for _ in range(dice.randrange(30)):
            await service.poll()
            await service.close_minutes()
        await service.follow(some(dice))


def some(dice: random.Random) -> list[Slo]:
    """The one that stays, and others with ids of their own."""
    found = {one.id: one for one in dice.sample(OTHERS, dice.randrange(len(OTHERS)))}
    return [STAYS, *found.values()]


def check(path: Path) -> int:
    """Minutes of the SLO that stays, after looking at those of all."""
    ledger = Ledger(path)
    assert ledger.messages == [], ledger.messages
    told = 0
    for one in (STAYS, *OTHERS):
        if one.id not in ledger.register([one]) or not ledger.groups(one.id):
            continue
        for start, counts in ledger.history(one.id, (), START, START + 86400 * 20, 60):
            watched = counts.observed_seconds / STEP
            assert watched - 1 <= counts.total <= min(watched + 1, 60 / STEP), f"{one.id} {start}: {counts}"
            told += one is STAYS and counts.observed_seconds > 0
    ledger.close()
    return told


def main() -> int:
    """Kill, look, again."""
    path, kills, dice = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    minutes = 0
    for number in range(kills):
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(serve(path, random.Random(number)))
            except BaseException as error:
                os.write(2, f"the service failed: {error!r}\n".encode())
                os._exit(1)
        time.sleep(dice.random() ** 2 * 0.3)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the service ended by itself"
        minutes = check(path)
    sys.stdout.write(f"{kills} kills, {minutes} minutes, none twice\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
