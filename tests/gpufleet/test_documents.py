"""Documents and code say the same: commands, flags, links, metric names, packages; and the wheel has what it needs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shlex
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.metrics import CATALOGUE
from gpufleet import cli
from slo import names
from slo.fleet_names import FLEET

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("gpufleet", "exporter", "slo", "alerts", "dashboards")
DOCUMENTS = sorted(
    path
    for top in (".", *PACKAGES, "deploy", "tests")
    for path in ROOT.glob("*.md" if top == "." else f"{top}/**/*.md")
)
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

_BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_UP = re.compile(r'make up ARGS="([^"]*)"')
_LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
_METRIC = re.compile(r"\b(?:DCGM_FI_|gpu_|llm_|gpufleet_)[A-Za-z0-9_:]*")
_SUFFIX = re.compile(r"_(bucket|sum|count)$")
_NO_METRICS = {
    "gpu_uuid": "a label",
    "llm_request": "a span",
    "gpu_hour": "a key of a file",
}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands(text: str) -> Iterator[list[str]]:
    """What a document's code blocks run: arguments of gpufleet, and those that `make up` hands on."""
    for block in _BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0].endswith("gpufleet") and len(words) > 1:
                yield words[1:]
    for arguments in _UP.findall(text):
        yield ["up", *shlex.split(arguments)]


COMMANDS = [
    pytest.param(words, id=f"{relative(path)}: {' '.join(words)}")
    for path in DOCUMENTS
    for words in commands(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_in_a_document_is_one_that_exists(words: list[str]):
    assert callable(cli.parse(words).run)


def test_the_readme_shows_every_command():
    shown = {words[0] for words in commands(README)} | {"up"}
    assert shown == set(cli.COMMANDS)


@pytest.mark.parametrize("command", [(), *((name,) for name in cli.COMMANDS)], ids=" ".join)
def test_every_help_has_an_example_and_its_sub_commands_too(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    waiting = [command]
    while waiting:
        words = waiting.pop()
        with pytest.raises(SystemExit) as ended:
            cli.parse([*words, "--help"])
        text = capsys.readouterr().out
        assert ended.value.code == 0
        assert re.search(r"^examples?:\s+gpufleet " + " ".join(words), text, re.MULTILINE), words
        if words:
            waiting += [(*words, name) for name in re.findall(r"^    ([a-z]+) ", text, re.MULTILINE)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_links_lead_somewhere(path: Path):
    targets = [target for target in _LINK.findall(path.read_text(encoding="utf-8")) if "://" not in target]
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_the_folders_of_the_readme_exist():
    folders = re.findall(r"^\| `([a-z]+)/` \|", README, re.MULTILINE)
    assert set(PACKAGES) < set(folders)
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_metrics_in_documents_exist(path: Path):
    modules = {path.stem for top in PACKAGES for path in (ROOT / top).rglob("*.py")}
    known = {*CATALOGUE, *names.RECORDED, *names.PUBLISHED, *FLEET, *modules}

    def exists(name: str) -> bool:
        if name in known or name in _NO_METRICS or _SUFFIX.sub("", name) in known:
            return True
        return name.endswith(("_", ":")) and any(one.startswith(name) for one in known)

    mentioned = set(_METRIC.findall(path.read_text(encoding="utf-8")))
    assert sorted(name for name in mentioned if not exists(name)) == []


def test_the_changelog_names_every_family_of_names():
    prefixes = {"DCGM_FI_" if name.startswith("DCGM_FI_") else f"{name.split('_')[0]}_" for name in CATALOGUE}
    prefixes |= {f"{name.split(':')[0]}:" for name in names.RECORDED if ":" in name}
    assert sorted(prefix for prefix in prefixes if f"`{prefix}`" not in CHANGELOG) == []


def test_the_readme_lists_what_is_depended_on_and_nothing_else():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {"agent": project["dependencies"], **project["optional-dependencies"]}
    wanted = {re.split(r"[<>=]", one)[0] for group in needed.values() for one in group}
    table = README.split("## What it stands on")[1]
    listed = {name for row in re.findall(r"^\| ([A-Za-z0-9, -]+) \|", table, re.MULTILINE) for name in row.split(", ")}
    assert listed - {"package", "---"} == wanted


def test_plain_package_names_are_of_this_distribution_alone():
    found = importlib.metadata.packages_distributions()
    assert {name: found.get(name, ["gpufleet"]) for name in PACKAGES} == {name: ["gpufleet"] for name in PACKAGES}
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        assert Path(spec.origin).parent == ROOT / name


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wheel = pytest.importorskip(
        "hatchling.builders.wheel", reason="hatchling is not installed here: nothing to build with"
    )
    monkeypatch.chdir(ROOT)
    [built] = wheel.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(built) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {
        relative(path)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == wanted
    assert {
        "slo/spec/schema.json",
        "slo/page/templates/slo.html",
        "slo/page/static/page.css",
        "alerts/runbooks/SloErrorBudgetBurn.md",
        "gpufleet/slos/chat.yaml",
        "gpufleet/py.typed",
    } <= packed
