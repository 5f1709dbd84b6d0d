"""What the images hold: locked, hash by hash, no more than each half needs; the build's own commands run here."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.hostile.processes import MALLOC

DEPLOY = Path(__file__).parents[2] / "deploy"
ROOT = DEPLOY.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
EXTRAS = {"agent": ["kubernetes", "otlp"], "slo": ["slo"]}
TOOLS = Path(sys.executable).parent
LOCKED = ("agent", "slo", "build")


def locked(part: str) -> dict[str, Version]:
    """{package: its version} of one locked file; every line is a version, a hash, or it fails here."""
    found = {}
    for entry in re.split(r"\n(?! )", (DEPLOY / f"requirements-{part}.txt").read_text(encoding="utf-8").strip()):
        head, *hashes = entry.replace(" \\\n", "\n").splitlines()
        match = re.fullmatch(r"([a-z0-9-]+)==([0-9a-z.]+)(?: ; .+)?", head)
        assert match, head
        assert hashes, head
        assert [line for line in hashes if not re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", line)] == []
        found[match[1]] = Version(match[2])
    return found


def wanted(part: str) -> list[Requirement]:
    """What pyproject.toml asks for."""
    if part == "build":
        return [Requirement(line) for line in PROJECT["build-system"]["requires"]]
    extras = PROJECT["project"]["optional-dependencies"]
    lines = [*PROJECT["project"]["dependencies"], *(line for name in EXTRAS[part] for line in extras[name])]
    return [Requirement(line) for line in lines]


def copied(stage: str) -> set[str]:
    """The sources that a stage copies out of the tree, with those of the stage it stands on."""
    found: set[str] = set()
    [(base, body)] = re.findall(rf"^FROM (\S+) AS {stage}\n(.*?)(?=^FROM|\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    for line in re.findall(r"^COPY (?!--from)(.+)$", body, re.MULTILINE):
        found |= set(line.split()[:-1])
    return found | (copied(base) if f" AS {base}\n" in DOCKERFILE else set())


def run(*command: str | Path, rc: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # what is installed, no more
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=cwd, env=alone)
    assert done.returncode == rc, done.stderr
    return done


@pytest.mark.parametrize("part", LOCKED)
def test_what_is_locked_is_what_the_project_asks_for(part: str):
    have = locked(part)
    for one in wanted(part):
        name = canonicalize_name(one.name)
        assert one.specifier.contains(have[name]), f"{one}: locked is {have[name]}, run `make lock`"


@pytest.mark.parametrize("part", LOCKED)
def test_the_locked_files_name_no_index_and_no_address(part: str):
    text = (DEPLOY / f"requirements-{part}.txt").read_text(encoding="utf-8")
    assert re.findall(r"://|^-|@", text, re.MULTILINE) == []


def test_both_images_are_made_of_the_same_versions():
    agent, slo = locked("agent"), locked("slo")
    assert {name: agent[name] for name in agent.keys() & slo.keys()} == {n: slo[n] for n in agent.keys() & slo.keys()}


def test_the_image_of_the_agent_holds_no_budgets_boards_or_rules(installed: Callable[[str], Path], tmp_path: Path):
    prefix = installed("agent")
    page = run(prefix / "bin" / "gpufleet", "agent", "--once", "--gpu", "none", cwd=tmp_path).stdout
    assert "gpufleet_build_info{" in page
    for module in ("slo", "alerts", "dashboards", "jinja2", "grafanalib", "promql_parser", "prometheus_client"):
        refused = run(prefix / "bin" / "python", "-c", f"import {module}", rc=1, cwd=tmp_path)
        assert f"No module named '{module}'" in refused.stderr
    for module in ("grpc", "opentelemetry.proto"):  # pods and OTLP are a setting away
        run(prefix / "bin" / "python", "-c", f"import {module}", cwd=tmp_path)


@pytest.mark.parametrize("command", [("slo", "validate", "slos/"), ("up",), ("alerts", "--help"), ("dashboards",)])
def test_where_the_agent_alone_is_the_rest_says_what_to_install(
    command: tuple[str, ...], installed: Callable[[str], Path], tmp_path: Path
):
    said = run(installed("agent") / "bin" / "gpufleet", *command, rc=2, cwd=tmp_path)
    assert said.stdout == ""
    assert re.fullmatch(
        rf"gpufleet {command[0]}: only the node agent is .*pip install 'gpufleet\[slo\]'.*\n", said.stderr
    )


def modules_of(extra: str) -> list[str]:
    """Modules that the packages of an extra bring."""
    names = {Requirement(line).name for line in PROJECT["project"]["optional-dependencies"][extra]}
    found = importlib.metadata.packages_distributions()
    packages = {canonicalize_name(name) for name in names}
    return sorted({module for module, by in found.items() if packages & {canonicalize_name(name) for name in by}})


@pytest.mark.parametrize("module", modules_of("slo"))
def test_a_plain_install_that_lacks_a_package_says_so_and_not_by_a_traceback(module: str, tmp_path: Path):
    """`pip install gpufleet` has all of our own modules and none of these."""
    (tmp_path / "slo.yaml").write_text(
        "apiVersion: gpufleet/v1\nservice: chat\nslos: [{name: a, signal: availability, objective: 99%, window: 30d}]\n"
    )
    command = ["dashboards", "write", "--slos", str(tmp_path), "--out", str(tmp_path / "boards")]
    script = f"import sys; sys.modules[{module!r}] = None; from gpufleet.cli import main; sys.exit(main({command!r}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, 2), done.stderr  # not every command needs every package
    if done.returncode:
        assert f"(no module {module}): pip install 'gpufleet[slo]'" in done.stderr


def test_where_the_agent_alone_is_its_other_commands_work(installed: Callable[[str], Path], tmp_path: Path):
    gpufleet = installed("agent") / "bin" / "gpufleet"
    assert "packages: the node agent alone, all there" in " ".join(run(gpufleet, "doctor").stdout.split())
    page = tmp_path / "page.prom"
    page.write_text(run(gpufleet, "agent", "--once", "--gpu", "simulated").stdout)
    assert "boards of the other go on working" in run(gpufleet, "compare", page, "--with", page).stdout


def test_the_image_of_the_service_makes_rules_and_boards_and_tells_of_faults(
    installed: Callable[[str], Path], tmp_path: Path
):
    prefix = installed("slo")
    slos = prefix.joinpath("lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages/gpufleet/slos")
    run(prefix / "bin" / "gpufleet", "alerts", "write", "--slos", slos, "--out", tmp_path / "alerts")
    run(prefix / "bin" / "gpufleet", "dashboards", "write", "--slos", slos, "--out", tmp_path / "boards")
    assert (tmp_path / "alerts" / "rules.yaml").stat().st_size > 0
    assert len(list((tmp_path / "boards").glob("*.json"))) >= 6
    (tmp_path / "bad.yaml").write_text("apiVersion: gpufleet/v1\nservice: chat\nslo: []\n")
    refused = run(prefix / "bin" / "gpufleet", "slo", "validate", tmp_path / "bad.yaml", rc=1)
    assert "bad.yaml:3: " in refused.stdout + refused.stderr


@pytest.mark.parametrize("part", ["agent", "slo"])
def test_what_is_installed_is_what_was_locked_and_nothing_that_could_install_more(
    part: str, installed: Callable[[str], Path], tmp_path: Path
):
    bill = tmp_path / "sbom.json"
    run(TOOLS / "cyclonedx-py", "environment", "--output-reproducible", "-o", bill, installed(part) / "bin" / "python")
    have = {
        canonicalize_name(one["name"]): Version(one["version"]) for one in json.loads(bill.read_text())["components"]
    }
    version = have.pop("gpufleet")
    markers = {name for name in locked(part) if name not in have}
    assert have == {name: version for name, version in locked(part).items() if name in have}
    assert markers <= {"typing-extensions"}  # of Python before 3.13 alone
    assert f'"{version}"' in (ROOT / "gpufleet" / "__init__.py").read_text(encoding="utf-8")


def test_a_hash_that_is_wrong_installs_nothing_and_leaves_what_was_there(tmp_path: Path):
    """The file that came is not the one that was locked: the old install must go on as it was."""
    tree = tmp_path / "tree"
    (tree / "deploy").mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", "exporter", "gpufleet"):
        (tree / name).symlink_to(ROOT / name)
    for name in ("install.sh", "requirements-build.txt"):
        (tree / "deploy" / name).write_bytes((DEPLOY / name).read_bytes())
    (tree / "deploy" / "requirements-agent.txt").write_text(f"idna==3.20 --hash=sha256:{'0' * 64}\n")
    prefix = tmp_path / "prefix"
    prefix.mkdir()
    (prefix / "pyvenv.cfg").touch()
    done = run("bash", tree / "deploy" / "install.sh", "agent", prefix, rc=1)
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert [path.name for path in prefix.iterdir()] == ["pyvenv.cfg"]


def test_a_folder_that_holds_something_else_is_not_emptied(tmp_path: Path):
    (tmp_path / "mine.txt").touch()
    assert "is no virtual environment" in run(DEPLOY / "install.sh", "agent", tmp_path, rc=1).stderr
    assert (tmp_path / "mine.txt").exists()
    assert "usage: " in run(DEPLOY / "install.sh", "both", tmp_path, rc=2).stderr


def test_the_build_runs_the_script_that_is_tested_here_and_installs_nothing_else():
    assert re.findall(r"^RUN (deploy/.+)$", DOCKERFILE, re.MULTILINE) == [
        f"deploy/install.sh {part} /opt/gpufleet" for part in ("agent", "slo")
    ]
    assert re.findall(r"apt-get|apk |curl|wget|pip install|^ADD", DOCKERFILE, re.MULTILINE) == []


@pytest.mark.parametrize(("part", "packages"), [("agent", 2), ("slo", 5)])
def test_each_stage_copies_what_its_half_is_made_of(part: str, packages: int):
    script = (DEPLOY / "install.sh").read_text(encoding="utf-8")
    [names] = re.findall(rf"^  {part}\) packages=\(([a-z ]+)\)", script, re.MULTILINE)
    assert len(names.split()) == packages
    have = copied(f"install-{part}")
    assert have == {
        *names.split(),
        *("pyproject.toml", "README.md", "LICENSE", "deploy/install.sh"),
        *("deploy/requirements-build.txt", f"deploy/requirements-{part}.txt"),
    }
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert {re.sub(r"requirements-\w+", "requirements-*", one) for one in have} <= let_in


def test_an_image_runs_as_a_number_that_is_not_root_on_a_base_that_can_be_given_by_digest():
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.MULTILINE)
    assert [base for base, name in stages if name in ("install", "runtime")] == ["${BASE}", "${BASE}"]
    assert stages[-1] == ("runtime", "agent")  # what is built where no target is named
    users = re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE)
    assert users == ["65532:65532"]


def test_hadolint_finds_nothing_in_the_dockerfile():
    assert run(TOOLS / "hadolint", "--failure-threshold", "style", DEPLOY / "Dockerfile").stdout == ""


@pytest.mark.parametrize("script", sorted([*DEPLOY.rglob("*.sh"), ROOT / "tests" / "tools.sh"]), ids=lambda p: p.name)
def test_shellcheck_finds_nothing_in_scripts(script: Path):
    run(TOOLS / "shellcheck", script)


def test_images_and_units_give_the_memory_of_large_pages_back():
    said = " ".join(f"{name}={value}" for name, value in MALLOC.items())
    assert said in " ".join(DOCKERFILE.replace("\\", " ").split())
    for unit in (DEPLOY / "systemd").glob("*.service"):
        assert f"Environment={said}\n" in unit.read_text(encoding="utf-8")
