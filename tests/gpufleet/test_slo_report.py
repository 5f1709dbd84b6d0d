"""`gpufleet slo report` and `slo incident` as commands: on a ledger at rest and in use, and what they refuse."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from gpufleet.cli import main
from slo.ledger import Ledger
from slo.observed import Slice
from tests.generate import ROOT
from tests.slo.report import seeded


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return seeded.write(tmp_path_factory.mktemp("ledger"), simulated=True)


def run(
    capsys: pytest.CaptureFixture[str], ledger: tuple[Path, Path], command: str, *more: str
) -> tuple[int, str, str]:
    code = main(["slo", command, "--slos", str(ledger[0]), "--data", str(ledger[1]), *more])
    said = capsys.readouterr()
    return code, said.out, said.err


def golden(name: str) -> str:
    return (ROOT / "tests/golden/slo" / name).read_text(encoding="utf-8")


def test_a_month_as_text_and_as_a_page(
    capsys: pytest.CaptureFixture[str], ledger: tuple[Path, Path], tmp_path: Path
) -> None:
    month = ("--month", "2026-10", "--time-zone", "Europe/Berlin")
    assert run(capsys, ledger, "report", *month) == (0, golden("report.md"), "")
    page = tmp_path / "october.html"
    code, out, _ = run(capsys, ledger, "report", *month, "--format", "html", "--out", str(page))
    assert (code, out) == (0, f"wrote {page}\n")
    assert page.read_text(encoding="utf-8") == golden("report.html")


def test_the_draft_about_the_last_incident(capsys: pytest.CaptureFixture[str], ledger: tuple[Path, Path]) -> None:
    for more in ((), ("--latest",), ("--from", "2026-10-26", "--to", "2026-10-27")):
        said = run(capsys, ledger, "incident", "--slo", "chat-ttft", "--time-zone", "Europe/Berlin", *more)
        assert said == (0, golden("incident.md"), "")


def test_several_incidents_of_a_span_are_drafted_as_one(
    capsys: pytest.CaptureFixture[str], ledger: tuple[Path, Path]
) -> None:
    code, out, _ = run(capsys, ledger, "incident", "--slo", "chat-ttft", "--from", "2026-10-25", "--to", "2026-10-27")
    assert code == 0
    assert "2 520 of" in out
    assert out.count("Alert fires: page") == 2


def test_a_ledger_in_use_is_read_as_it_is_and_left_as_it_was(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    own = seeded.write(tmp_path, simulated=True)
    with closing(Ledger(own[1] / "ledger.sqlite")) as writing:
        writing.register(seeded.load([own[0]]))
        writing.append([Slice("chat-ttft", 2, (), seeded.END, 0.0, 0.0, 7.0, 60.0, {"b:1": (7.0, 7.0)}, True)])
        code, out, _ = run(capsys, own, "report", "--month", "2026-10")
        assert code == 0
        assert "2 527 of 568 007 requests" in out
        writing.append([Slice("chat-ttft", 2, (), seeded.END + 60, 7.0, 7.0, 7.0, 60.0, {}, True)])
        assert writing.data_through("chat-ttft") == seeded.END + 120


def test_nothing_is_made_where_there_is_no_ledger(
    capsys: pytest.CaptureFixture[str], ledger: tuple[Path, Path], tmp_path: Path
) -> None:
    code, _, err = run(capsys, (ledger[0], tmp_path / "data"), "report")
    assert code == 1
    assert f"{tmp_path}/data/ledger.sqlite: there is no ledger" in err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_ledger_is_refused_and_left_where_it_is(
    capsys: pytest.CaptureFixture[str], ledger: tuple[Path, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "ledger.sqlite"
    broken.write_bytes(b"no database at all, whatever its name says" * 100)
    code, _, err = run(capsys, (ledger[0], tmp_path), "report")
    assert code == 1
    assert "ledger.sqlite: " in err
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.sqlite"]


@pytest.mark.parametrize(
    ("command", "more", "said"),
    [
        ("report", ("--month", "2026-13"), "--month: '2026-13' is no month: write it as 2026-10"),
        ("report", ("--month", "2026-09"), "nothing was counted in September 2026: it has 24 Oct 2026 00:00 UTC to"),
        ("report", ("--quarter", "2026-5"), "--quarter: '2026-5' is no quarter: write it as 2026-Q3"),
        ("report", ("--time-zone", "Mars"), "--time-zone: time zone 'Mars' is not known"),
        ("report", ("--from", "soon"), "--from: 'soon' is no time"),
        ("report", ("--from", "2026-10-26", "--to", "2026-10-25"), "--to: the end must be later than the start"),
        ("report", ("--to", "2026-10-25"), "--to: give --from as well"),
        ("report", ("--month", "2026-10", "--from", "2026-10-25"), "give them, or --month, or --quarter"),
        ("report", ("--out", "/nowhere/report.md"), "/nowhere/report.md: cannot be written"),
        ("incident", ("--slo", "chat-e2e"), "has no such SLO; it has chat-ttft, chat-availability"),
        ("incident", ("--slo", "chat-availability", "--to", "2026-10-25"), "--to: give --from as well"),
        ("incident", ("--slo", "chat-availability"), "no alert fired that the ledger knows of"),
        ("incident", ("--slo", "chat-ttft", "--latest", "--from", "2026-10-25"), "give it, or --from and --to"),
        ("incident", ("--slo", "chat-ttft", "--from", "2026-10-24", "--to", "2026-10-25"), "burned nowhere faster"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_refused_with_what_to_do(
    capsys: pytest.CaptureFixture[str], ledger: tuple[Path, Path], command: str, more: tuple[str, ...], said: str
) -> None:
    code, out, err = run(capsys, ledger, command, *more)
    assert (code, out) == (1, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_an_edited_file_has_no_incident(
    capsys: pytest.CaptureFixture[str], ledger: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "chat.yaml").write_text(seeded.FILE.replace("500ms", "2s"), encoding="utf-8")
    code, _, err = run(capsys, (tmp_path, ledger[1]), "incident", "--slo", "chat-ttft")
    assert code == 1
    assert "chat.yaml:5: chat-ttft is not what" in err


@pytest.mark.parametrize("command", ["report", "incident"])
def test_help_has_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["slo", command, "--help"])
    assert ended.value.code == 0
    assert f"example: gpufleet slo {command} --slos slos/" in " ".join(capsys.readouterr().out.split())


def test_of_several_groups_the_one_that_burned_most_is_drafted_and_the_others_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    files = tmp_path / "slos"
    files.mkdir()
    (files / "chat.yaml").write_text(
        seeded.FILE.replace("objective: 99%,", "objective: 99%, group_by: [model_name],"), encoding="utf-8"
    )
    with closing(Ledger(tmp_path / "ledger.sqlite")) as writing:
        writing.register(seeded.load([files]))
        for model, share in (("small", 30.0), ("large", 90.0), ("calm", 0.0)):
            group = (("model_name", model),)
            writing.append(
                Slice("chat-ttft", 1, group, t, 100.0 - bad, 100.0 - bad, 100.0, 60.0, {}, False)
                for t in range(seeded.START, seeded.START + seeded.DAY, 60)
                for bad in [share if seeded.START + 36000 <= t < seeded.START + 39600 else 0.0]
            )
    span = ("--from", "2026-10-24", "--to", "2026-10-25")
    for more in ((), span):
        code, out, _ = run(capsys, (files, tmp_path), "incident", "--slo", "chat-ttft", *more)
        assert code == 0
        assert out.startswith("# Post-mortem (draft): chat-ttft (model_name=large), 24 Oct 2026 10:00 UTC")
        assert "- chat-ttft (model_name=small): 1 800 of 6 000 requests" in out
        assert "calm" not in out
    code, out, _ = run(capsys, (files, tmp_path), "report", "--month", "2026-10")
    assert code == 0
    assert [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("| chat-ttft (")][:3] == [
        "chat-ttft (model_name=large)",
        "chat-ttft (model_name=small)",
        "chat-ttft (model_name=calm)",
    ]
