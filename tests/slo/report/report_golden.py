"""The texts of `slo report` and `slo incident` on the seeded ledger: generated, and held against what is printed."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

from slo.incident import incidents
from slo.ledger_reader import LedgerReader
from slo.report import findings, gather, html, period, postmortem, telling
from slo.spec import load
from tests.slo.report import seeded

GOLDEN = "tests/golden/slo"
ZONE = "Europe/Berlin"


def generate() -> Mapping[str, str]:
    """The texts by their paths from the repository's root."""
    with tempfile.TemporaryDirectory() as folder:
        files, data = seeded.write(Path(folder), simulated=True)
        slos = load([files])
        with LedgerReader.reading(data / "ledger.sqlite") as ledger:
            report = telling.tell(gather.gather(ledger, slos, period.month("2026-10", ZONE)))
            ttft = next(slo for slo in slos if slo.name == "ttft")
            end = ledger.data_through(ttft.id)
            assert end is not None
            latest = incidents(ledger, ttft, (), since=ledger.minutes_from(ttft.id, ()) or 0.0, until=end)[-1]
            draft = postmortem.draft(findings.find(ledger, latest), ZoneInfo(ZONE))
    return {
        f"{GOLDEN}/report.md": report.markdown(),
        f"{GOLDEN}/report.html": html.page(report),
        f"{GOLDEN}/incident.md": draft.markdown(),
    }
