"""`gpufleet slo backtest`: what history would have fired, under one set of windows and another."""

import json
from pathlib import Path

import pytest

from gpufleet.cli import main
from gpufleet.data import LEDGER_FILE
from slo.ledger import Ledger
from slo.observed import Slice
from slo.spec import load

SLOS = """\
apiVersion: gpufleet/v1
service: chat
slos:
  - {name: ttft, signal: ttft, threshold: 500ms, objective: 99.9%, window: 30d}
"""
START = 1_790_000_040 // 60 * 60
"""2026-09-21T14:14:00Z"""
MINUTES = 3 * 1440
BURN = range(2 * 1440, 2 * 1440 + 30)
"""Half an hour in which a fifth of 100 requests a minute are late; one of 2,000 is at all other times."""
FROM, TO = "2026-09-22T14:00:00Z", "2026-09-24T14:00:00Z"


def history(minute: int) -> tuple[float, float]:
    """Bad and all requests of a minute."""
    return (20.0, 100.0) if minute in BURN else (1.0 if minute % 20 == 0 else 0.0, 100.0)


def quiet(minute: int) -> tuple[float, float]:
    """Three requests an hour, of which one failed, once."""
    asked = minute % 20 == 0
    return (float(asked and minute == 2 * 1440), float(asked))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "slos.yaml").write_text(SLOS)
    return tmp_path


def counted(folder: Path, per_minute) -> list[str]:
    """A ledger of that history; the arguments that replay it."""
    slos = load([folder / "slos.yaml"])
    ledger = Ledger(folder / LEDGER_FILE)
    revision = ledger.register(slos)["chat-ttft"]
    rows = [(START + 60 * n, *per_minute(n)) for n in range(MINUTES)]
    ledger.append(
        [Slice("chat-ttft", revision, (), at, total - bad, total - bad, total, 60.0) for at, bad, total in rows]
    )
    ledger.close()
    given = {"--slos": str(folder), "--data": str(folder), "--from": FROM, "--to": TO}
    return ["slo", "backtest", *(word for pair in given.items() for word in pair)]


def replayed(arguments: list[str], capsys: pytest.CaptureFixture[str], *windows: str) -> dict[str, dict]:
    """What is found under each set of windows."""
    more = [word for one in windows for word in ("--windows", one)]
    assert main([*arguments, *more, "--format", "json"]) == 0
    return {one["windows"]: one for one in json.loads(capsys.readouterr().out)}


def test_a_burn_pages_once_and_what_it_cost_until_then_is_told(folder, capsys):
    found = replayed(counted(folder, history), capsys)["own"]
    [page] = [one for one in found["alerts"] if one["severity"] == "page" and one["long"] == "1h"]
    # 14.4 times 0.1 % of an hour's 6,000 requests are 86.4 bad ones: with the 3 before, the fifth minute passes it.
    assert page["began"] == "2026-09-23T14:19:00Z"
    total = 100 * (2 * 1440 + 5)
    in_long = sum(history(n)[0] for n in range(2 * 1440 + 5 - 60, 2 * 1440 + 5))
    assert page["error_budget_spent"] == pytest.approx(in_long / (total / 1000))
    bad = sum(history(n)[0] for n in range(2 * 1440 + 5))
    assert page["error_budget_remaining"] == pytest.approx(1 - bad / (total / 1000))
    assert found["coverage"] == pytest.approx(1.0)


def test_windows_are_compared_on_the_same_minutes(folder, capsys):
    found = replayed(counted(folder, history), capsys, "own", "sloth", "page:12h/1h:1,ticket:1d/2h:3")
    assert list(found) == ["own", "sloth", "page:12h/1h:1,ticket:1d/2h:3"]
    first = {name: min(a["began"] for a in one["alerts"] if a["severity"] == "page") for name, one in found.items()}
    assert first["own"] == first["sloth"]  # 99.9 % over 30 d is what Sloth's are made for
    slow = found["page:12h/1h:1,ticket:1d/2h:3"]
    assert {a["long"] for a in slow["alerts"]} <= {"12h", "1d"}
    assert slow["unseen_ratio"] > 0


def test_one_failure_at_night_pages_under_sloths_windows_alone(folder, capsys):
    found = replayed(counted(folder, quiet), capsys, "own", "sloth")
    assert found["own"]["alerts"] == []
    assert found["own"]["unseen_ratio"] == 1.0
    assert [a["severity"] for a in found["sloth"]["alerts"]].count("page") > 0


def test_the_table_reads_like_a_log(folder, capsys):
    assert main(counted(folder, history)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("chat-ttft, windows own: ")
    assert "coverage 100.0%" in lines[0]
    assert any(line.startswith("  2026-09-23T14:19:00Z  page   1h/5m over 14.4  for ") for line in lines[1:])


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--windows", "page:1h"], "is no window"),
        (["--windows", "page:5m/1h:2"], "short ≤ long ≤ 30d"),
        (["--slo", "chat-nope"], "no such SLO"),
        (["--to", "2026-09-01T00:00:00Z"], "must be later than --from"),
        (["--data", "/nonexistent/gpufleet"], "--data"),
    ],
)
def test_what_cannot_be_replayed_is_refused(folder, capsys, more, told):
    assert main([*counted(folder, quiet), *more]) == 1
    assert told in capsys.readouterr().err


def test_sloths_windows_are_for_the_windows_that_sloth_has(folder, capsys):
    arguments = counted(folder, quiet)
    (folder / "slos.yaml").write_text(SLOS.replace("30d", "7d"))
    assert main([*arguments, "--windows", "sloth"]) == 1
    assert "sloth has windows for 28d and 30d alone" in capsys.readouterr().err


def test_an_slo_without_counts_is_told(folder, capsys):
    arguments = counted(folder, quiet)
    (folder / "slos.yaml").write_text(
        SLOS + "  - {name: tpot, signal: tpot, threshold: 50ms, objective: 99%, window: 30d}\n"
    )
    assert main(arguments) == 0
    assert "chat-tpot has no counts there" in capsys.readouterr().err
