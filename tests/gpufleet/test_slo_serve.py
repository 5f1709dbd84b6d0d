"""`gpufleet slo serve` as a process of its own, asked over HTTP."""

import json
import signal
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import yaml

from alerts import rules
from alerts.links import Links
from dashboards import boards
from gpufleet.cli import main
from slo.spec import load

SLOS = """\
apiVersion: gpufleet/v1
service: chat
slos:
  - {name: ttft, signal: ttft, threshold: 500ms, objective: 95%, window: 30d}
  - {name: availability, signal: availability, objective: 99.9%, window: 30d}
"""


@contextmanager
def serving(
    directory: Path, listen: str = "127.0.0.1:0", agent: str = "http://127.0.0.1:9", more: tuple[str, ...] = ()
):
    """The process and the URL it says it listens on; ended by SIGTERM, and then it must have ended well."""
    command = [sys.executable, "-m", "gpufleet", "slo", "serve", "--slos", str(directory), "--agent", agent]
    process = subprocess.Popen(
        [*command, "--data", str(directory / "data"), "--listen", listen, *more], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = next((line.split()[-1] for line in process.stdout if line.startswith("page on ")), "")
        yield process, url
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def slos(tmp_path) -> Path:
    (tmp_path / "slos.yaml").write_text(SLOS)
    return tmp_path


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_one_process_serves_budgets_rules_and_boards(slos, capsys):
    with serving(slos) as (_process, url):
        status, text = get(f"{url}/api/v1/slos")
        assert (status, [one["id"] for one in json.loads(text)["slos"]]) == (200, ["chat-availability", "chat-ttft"])
        status, text = get(f"{url}/rules.yaml")
        assert (status, text) == (200, rules.render(load([slos]), links=Links(runbooks=f"{url}/runbooks", page=url)))
        alerts = [r for group in yaml.safe_load(text)["groups"] for r in group["rules"] if "alert" in r]
        for runbook in {alert["annotations"]["runbook_url"] for alert in alerts}:  # at 3 a.m. this link must work
            status, text = get(runbook)
            assert (status, "## Mitigation" in text) == (200, True)
        assert get(f"{url}/runbooks/Nope.md")[0] == 404
        assert '<a class="action" href="/runbooks/SloNoData.md">' in get(f"{url}/slo/chat-ttft")[1]
        for uid, board in boards.render(load([slos]), page_url=url).items():
            assert get(f"{url}/dashboards/{uid}.json") == (200, boards.to_text(board))
        status, text = get(f"{url}/dashboards/none.json")
        assert (status, "there are gpufleet-" in text) == (404, True)

        assert main(["slo", "budget", "--url", url, "chat-ttft"]) == 0
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["id", "chat-ttft"]
        assert main(["slo", "budget", "--url", url, "chat-tftt"]) == 1
        assert "no SLO 'chat-tftt'" in capsys.readouterr().err


def test_a_port_in_use_and_a_ledger_in_use_are_said(slos, capsys):
    with serving(slos) as (_process, url):
        address = url.removeprefix("http://")
        arguments = ["slo", "serve", "--slos", str(slos), "--agent", "http://127.0.0.1:9", "--listen", address]
        assert main([*arguments, "--data", str(slos / "other")]) == 1
        in_use = f"{address}: the port is in use; end what listens there, or choose another with --listen\n"
        assert capsys.readouterr().err == in_use
        assert main([*arguments, "--data", str(slos / "data")]) == 1
        assert capsys.readouterr().err.startswith(f"{slos / 'data'}: in use by another gpufleet: stop that one")
        up = ["up", "--engine", "http://127.0.0.1:9", "--for", "1s", "--listen", "127.0.0.1:0"]
        assert main([*up, "--data", str(slos / "data")]) == 1
        assert capsys.readouterr().err.startswith(f"{slos / 'data'}: in use by another gpufleet: stop that one")


def test_a_data_directory_that_cannot_be_written_is_said(slos, capsys):
    (slos / "data" / "lock").mkdir(parents=True)
    arguments = ["slo", "serve", "--slos", str(slos), "--agent", "http://127.0.0.1:9", "--listen", "127.0.0.1:0"]
    assert main([*arguments, "--data", str(slos / "data")]) == 1
    told = f"{slos / 'data'}: cannot be written (Is a directory): choose another with --data\n"
    assert capsys.readouterr().err == told


def test_another_program_s_database_is_left_alone(slos, capsys):
    file = slos / "ledger.sqlite"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE theirs (a)")
    arguments = ["slo", "serve", "--slos", str(slos), "--agent", "http://127.0.0.1:9", "--listen", "127.0.0.1:0"]
    assert main([*arguments, "--data", str(slos)]) == 1
    assert capsys.readouterr().err == f"{file}: a database, but not a ledger; give another path\n"


def test_rules_that_cannot_be_written_say_why(slos):
    (slos / "slos.yaml").write_text(SLOS.replace("name: ttft,", "name: ttft, selector: {engine: none-such},"))
    with serving(slos) as (_process, url):
        status, text = get(f"{url}/rules.yaml")
        assert status == 422
        assert text.startswith(f"{slos / 'slos.yaml'}:4: ")
