"""What operators read: each command names what is there; what a host was given is taken away again to the last file."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from gpufleet import cli
from tests.deploy.test_systemd import EXPOSURE

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
README = (DEPLOY / "README.md").read_text(encoding="utf-8")
UPGRADE = (DEPLOY / "UPGRADE.md").read_text(encoding="utf-8")
CHART = (DEPLOY / "helm" / "gpufleet" / "README.md").read_text(encoding="utf-8")
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
PROGRAMS = {
    *("docker", "helm", "kubectl", "systemctl", "install", "deploy/install.sh", "cyclonedx-py", "gpufleet"),
    *("echo", "for", "mv", "rm", "$EDITOR"),
}
_BLOCK = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:docker|helm|kubectl|deploy/install\.sh|systemctl) [^`]+)`")


def lines(text: str) -> list[str]:
    """The command lines of a document: those of its blocks, and those of others' programs between backquotes."""
    blocks = [line for block in _BLOCK.findall(text) for line in block.splitlines() if line]
    return blocks + [line for line in _INLINE.findall(text) if "…" not in line]


LINES = [pytest.param(line, id=line.split("  ")[0][:80]) for text in (README, UPGRADE) for line in lines(text)]


@pytest.mark.parametrize("line", LINES)
def test_a_command_names_what_is_there(line: str):
    words = shlex.split(line, comments=True)
    assert words[0] in PROGRAMS
    assert [word for word in words if word.startswith("deploy/") and not (ROOT / word).exists()] == []
    for stage in re.findall(r"--target (\S+)", line):
        assert f" AS {stage}\n" in DOCKERFILE
    for name in re.findall(r"--build-arg (\w+)=", line):
        assert f"ARG {name}=" in DOCKERFILE
    for value in re.findall(r"--set ([\w.]+)=", line):
        assert f"| `{value}` |" in CHART
    if words[0] == "gpufleet" or (words[:2] == ["docker", "compose"] and "gpufleet" in words):
        assert callable(cli.parse(words[words.index("gpufleet") + 1 :]).run)
    if words[0] == "systemctl":
        units = {word for word in words if word.startswith("gpufleet")}
        assert [unit for unit in units if not (DEPLOY / "systemd" / f"{unit}.service").exists()] == []


def test_values_of_the_chart_that_are_named_exist():
    [table] = re.findall(r"^\| what \| Kubernetes \|.*?\n\n", README, re.MULTILINE | re.DOTALL)
    named = {name for row in table.strip().splitlines()[2:] for name in re.findall(r"`([\w.]+)`", row.split("|")[2])}
    assert len(named) > 5
    assert [name for name in named if f"`{name}" not in CHART] == []


def test_alerts_and_settings_that_are_named_exist():
    runbooks = {path.stem for path in (ROOT / "alerts" / "runbooks").glob("*.md")}
    named = set(re.findall(r"`((?:Gpu|Llm|Slo|Gpufleet)[A-Z]\w+)`", README + UPGRADE))
    assert len(named) > 8
    assert named <= runbooks


def block(text: str, start: str) -> str:
    """The code block that begins with `start`."""
    [found] = [one for one in _BLOCK.findall(text) if one.startswith(start)]
    return str(found)


FAKE_SYSTEMCTL = """\
#!/usr/bin/env bash
# Does to folders what systemd does with units: state appears at the start and goes with `clean`.
set -eu
state() { sed -n 's/^StateDirectory=//p' "$ROOT/etc/systemd/system/$1.service"; }
case $1 in
  enable) for unit in "${@:3}"; do mkdir -p "$ROOT/var/lib/private/$(state "$unit")"; done ;;
  clean) for unit in "${@:3}"; do rm -r "$ROOT/var/lib/private/$(state "$unit")"; done ;;
  disable | daemon-reload | restart) ;;
  *) exit 2 ;;
esac
"""


def test_what_a_host_was_given_is_taken_away_again_to_the_last_file(tmp_path: Path):
    """The documents' lines below another root, with systemd's part played; the folders of /opt are made empty."""
    root = tmp_path / "root"
    for folder in ("etc/systemd/system", "etc/default", "opt", "var/lib/private", "bin"):
        (root / folder).mkdir(parents=True)
    (root / "bin" / "systemctl").write_text(FAKE_SYSTEMCTL)
    (root / "bin" / "systemctl").chmod(0o755)

    def run(script: str) -> None:
        script = re.sub(r"(?<=\s)/(etc|opt)/", rf"{root}/\1/", script)
        script = re.sub(r"^deploy/install\.sh \w+", "mkdir -p", script, flags=re.MULTILINE)
        environment = {**os.environ, "PATH": f"{root / 'bin'}:{os.environ['PATH']}", "ROOT": str(root)}
        subprocess.run(["bash", "-euc", script], cwd=ROOT, env=environment, check=True)

    def there() -> set[str]:
        return {str(path.relative_to(root)) for path in root.rglob("*")}

    before = there()
    for start in ("deploy/install.sh agent", "deploy/install.sh slo", "echo ", "install -D -m 0644 deploy/systemd/gpu"):
        run(block(README, start))
    assert there() - before >= {
        *("etc/gpufleet/agent.yaml", "etc/gpufleet/slos/inference.yaml", "etc/default/gpufleet-slo"),
        *("etc/systemd/system/gpufleet-slo.service.d/paging.conf", "var/lib/private/gpufleet-slo", "opt/gpufleet-slo"),
    }
    run(block(UPGRADE, "systemctl disable"))
    assert there() == before


def test_scores_in_the_document_are_those_that_a_test_holds():
    said = re.findall(r"`systemd-analyze security`: (\d\.\d) and (\d\.\d) of 10", README)
    assert said == [tuple(f"{EXPOSURE[name] / 10:.1f}" for name in ("gpufleet-agent", "gpufleet-slo"))]
