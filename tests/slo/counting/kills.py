"""Kills a process that writes a ledger, again and again, and looks at what is left. Run by a test and a bench.

    python tests/slo/counting/kills.py FILE KILLS SEED

The writer is forked, so that a kill costs milliseconds: it opens the ledger, appends (and appends again, a retry) until
SIGKILL meets it at a random instant, in the middle of packing and of putting old days together as well. After each kill
the ledger must open without a message, hold everything that was committed, and nothing twice. Prints what it did.
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import struct
import sys
import time
from decimal import Decimal
from pathlib import Path

from slo import ledger as ledger_module
from slo.ledger import Ledger
from slo.model import Method, Slo, Window
from slo.observed import Slice

MINUTES = 45
GROUPS = tuple((("node", name),) for name in "abc")
EVER = 60 * 10_000_000
KEPT_MINUTES = 3 * 1440
"""Old days are put together after three days here, so that the writer does that often."""


def the_slo() -> Slo:
    return Slo(
        "chat", "ttft", "ttft", Decimal("0.99"), Window("1h", 3600), Method.OCCURRENCES, Decimal("0.5"),
        group_by=("node",),
    )  # fmt: skip


def slices(n: int) -> list[Slice]:
    """The minutes from number `n` on: two events each, one of them bad."""
    return [
        Slice(the_slo().id, 1, group, 60 * m, 1.0, 1.0, 2.0, 60.0, {f"r{m // 500 % 7}": (1.0, 2.0)})
        for group in GROUPS
        for m in range(n, n + MINUTES)
    ]


def write(path: Path, told: mmap.mmap) -> None:
    """Append for ever; `told` gets how many minutes are committed."""
    ledger = Ledger(path)
    ledger.register([the_slo()])
    n = int(ledger.state().get("n", b"0"))
    while True:
        made = slices(n)
        n += MINUTES
        for _ in range(2):
            ledger.append(made, {"n": str(n).encode()})
            struct.pack_into("<Q", told, 0, n)


def check(path: Path, told: int) -> int:
    """Minutes of each group in the ledger, after looking at all of it."""
    ledger = Ledger(path)
    assert ledger.messages == [], ledger.messages
    n = int(ledger.state().get("n", b"0"))
    assert n >= told, f"{told} minutes were committed, {n} are left"
    for group in GROUPS if n else ():
        counts = ledger.counts("chat-ttft", group, 0, EVER)
        found = (counts.total, counts.bad, counts.observed_seconds)
        assert found == (2 * n, n, 60 * n), f"{found} after {n} minutes"
        spent = ledger.spenders("chat-ttft", group, 0, EVER).values()
        assert (sum(b for b, _ in spent), sum(t for _, t in spent)) == (n, 2 * n), f"spenders after {n} minutes"
    ledger.close()
    return n


def main() -> int:
    """Kill, look, again."""
    path, kills, dice = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    ledger_module.KEPT_MINUTES, ledger_module.KEPT_MARGIN_MINUTES = KEPT_MINUTES, 0
    told = mmap.mmap(-1, 8)
    n = 0
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            try:
                write(path, told)
            except BaseException as error:
                os.write(2, f"the writer failed: {error!r}\n".encode())
                os._exit(1)
        time.sleep(dice.random() ** 2 * 0.08)  # from before the file is open to several appends later
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the writer ended by itself"
        n = check(path, struct.unpack_from("<Q", told, 0)[0])
    sys.stdout.write(f"{kills} kills, {n} minutes of {len(GROUPS)} groups, none lost, none twice\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
