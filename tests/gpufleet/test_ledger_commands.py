"""`slo exclude`, `export` and `import` as commands: what they print, refuse and leave in the ledger."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gpufleet.cli import main
from slo.ledger import Ledger
from slo.model import Method, Slo, Window
from slo.observed import Slice

START = 1_763_640_000  # 2025-11-20T12:00:00Z
TTFT = Slo("chat", "ttft", "ttft", Decimal("0.99"), Window("30d", 2592000), Method.OCCURRENCES, Decimal("0.5"))
SPAN = ("--from", "2025-11-20T12:00:00Z", "--to", "2025-11-20T14:07:00+01:00")


@pytest.fixture
def data(tmp_path):
    ledger = Ledger(tmp_path / "data" / "ledger.sqlite")
    ledger.register([TTFT])
    ledger.append(Slice(TTFT.id, 1, (), START + 60 * n, 9.0, 9.0, 10.0, 60.0) for n in range(120))
    yield ledger
    ledger.close()


def run(capsys, *words):
    code = main(["slo", *map(str, words)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_span_is_excluded_listed_and_taken_back(data, capsys):
    where = ("--data", data.path.parent)
    assert run(capsys, "exclude", *SPAN, "--all", "--reason", "new racks", "--by", "ada", *where) == (
        0, "1: all SLOs, 2025-11-20T12:00:00Z to 2025-11-20T13:10:00Z: new racks (ada)\n", "",
    )  # fmt: skip
    data.reread()
    assert data.counts(TTFT.id, (), START, START + 7200).total == 500
    code, out, _ = run(capsys, "exclude", "--undo", 1, "--by", "bob", *where)
    assert code == 0
    assert out.endswith(" by bob\n")
    assert run(capsys, "exclude", "--list", *where)[1] == out
    data.reread()
    assert data.counts(TTFT.id, (), START, START + 7200).total == 1200


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give --from and --to, or --undo NUMBER, or --list"),
        ((*SPAN, "--all"), "--reason and --by is missing"),
        ((*SPAN, "--reason", "x", "--by", "y"), "--slo ID, or --all"),
        ((*SPAN, "--slo", "chat-tpot", "--reason", "x", "--by", "y"), "no such SLO; it has chat-ttft"),
        (("--from", SPAN[3], "--to", SPAN[1], "--all", "--reason", "x", "--by", "y"), "must be later"),
        (("--undo", "7", "--by", "y"), "no exclusion of that number holds"),
    ],
)
def test_what_is_missing_is_said(data, capsys, words, said):
    code, out, err = run(capsys, "exclude", *words, "--data", data.path.parent)
    assert (code, out) == (1, "")
    assert said in err


def test_a_copy_is_written_and_taken_over(data, capsys, tmp_path):
    code, out, _ = run(capsys, "export", tmp_path / "copy.sqlite", "--data", data.path.parent)
    assert (code, out[-3:]) == (0, "MB\n")
    code, out, _ = run(capsys, "import", tmp_path / "copy.sqlite", "--data", tmp_path / "other")
    assert (code, out) == (0, f"{tmp_path / 'copy.sqlite'}: 120 minutes of 1 SLOs and groups taken over\n")
    code, _, err = run(capsys, "export", tmp_path / "copy.sqlite", "--data", data.path.parent)
    assert code == 1
    assert "is there already" in err


def test_a_plain_day_begins_at_midnight_utc(data, capsys):
    days = ("--from", "2025-11-20", "--to", "2025-11-21")
    code, out, err = run(
        capsys, "exclude", *days, "--all", "--reason", "moved", "--by", "ada", "--data", data.path.parent
    )
    assert (code, err) == (0, "")
    assert out == "1: all SLOs, 2025-11-20T00:00:00Z to 2025-11-21T00:00:00Z: moved (ada)\n"
    with pytest.raises(SystemExit):
        main(["slo", "exclude", "--from", "2025-11-31", "--to", "2025-12-01"])
    assert (
        "'2025-11-31' is no time: write it as 2026-11-20T12:00:00Z, or a day as 2026-11-20" in capsys.readouterr().err
    )
