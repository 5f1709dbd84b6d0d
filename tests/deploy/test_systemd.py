"""The units: systemd takes them, they score well, and their commands work inside what they forbid."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from gpufleet import cli
from tests.deploy import sandbox
from tests.exporter.stub_driver import StubDriver

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
SLOS = Path(__file__).parents[2] / "gpufleet" / "slos"
NAMES = ("gpufleet-agent", "gpufleet-slo")
EXPOSURE = {"gpufleet-agent": 17, "gpufleet-slo": 12}
"""At most, in tenths, as `systemd-analyze security` counts: 100 is a unit that forbids nothing."""
DROP_INS = sorted(UNITS.glob("*.d/*.conf"))
_TOLD = {"$GPUFLEET_SLO_ARGS": "--agent http://127.0.0.1:9400", "$GPUFLEET_PAGING_ARGS": ""}

PROBE = r"""
import os, sys
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
def can(what):
    try:
        what()
        return True
    except OSError:
        return False
print({
    "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16) | int(status["CapPrm"], 16),
    "no_new_privileges": status["NoNewPrivs"], "seccomp": status["Seccomp"], "root": os.getuid() == 0,
    "writes_root": can(lambda: open("/etc/gpufleet-was-here", "w")), "writes_tmp": can(lambda: open("/tmp/x", "w")),
    "writes_usr": can(lambda: open("/usr/gpufleet-was-here", "w")),
    "writes_sys": os.access("/proc/sys/kernel", os.W_OK),
    "home": os.listdir("/home"), "devices": sorted(os.listdir("/dev")), "mounts": can(lambda: os.chroot("/tmp")),
    "packets": can(lambda: __import__("socket").socket(17, 3)), "nice": can(lambda: os.setpriority(0, 0, 5)),
})
"""


def merged(name: str) -> sandbox.Unit:
    return sandbox.read(UNITS / f"{name}.service")


def placed(folder: Path, *, drop_ins: Sequence[Path] = ()) -> None:
    """The units in a folder, with a program that is there in the place of ours, as `verify` wants."""
    for path in [*UNITS.glob("*.service"), *drop_ins]:
        to = folder / path.relative_to(UNITS)
        to.parent.mkdir(exist_ok=True)
        to.write_text(re.sub(r"/opt/gpufleet[a-z-]*/bin/gpufleet", "/bin/true", path.read_text(encoding="utf-8")))


def exposure(folder: Path, name: str) -> int:
    """The overall exposure in tenths."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(folder / f"{name}.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for \S+: (\d+)\.(\d)", done.stdout)
    assert found, done.stderr
    return int(found[1]) * 10 + int(found[2])


@pytest.mark.parametrize("drop_ins", [(), DROP_INS], ids=["as they are", "with every drop-in"])
def test_systemd_takes_the_units(drop_ins: Sequence[Path], tmp_path: Path, binary: Callable[[str], str]):
    placed(tmp_path, drop_ins=drop_ins)
    for name in NAMES:
        command = [
            binary("systemd-analyze"),
            "verify",
            "--man=no",
            "--recursive-errors=no",
            tmp_path / f"{name}.service",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_forbids_what_it_can(name: str, tmp_path: Path, binary: Callable[[str], str]):
    binary("systemd-analyze")
    placed(tmp_path)
    assert exposure(tmp_path, name) <= EXPOSURE[name]


@pytest.mark.parametrize("path", DROP_INS, ids=lambda path: path.name)
def test_a_drop_in_costs_less_than_one_point_and_says_why(path: Path, tmp_path: Path, binary: Callable[[str], str]):
    binary("systemd-analyze")
    placed(tmp_path, drop_ins=[path])
    name = path.parent.name.removesuffix(".service.d")
    assert exposure(tmp_path, name) <= EXPOSURE[name] + 9
    assert path.read_text(encoding="utf-8").startswith("# Off unless installed: ")


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_runs_a_command_that_exists(name: str):
    unit = merged(name)
    assert cli.parse(command(unit)[1:]).run
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert {word for word in unit["ExecStart"][-1].split() if word.startswith("$")} <= _TOLD.keys()
    kept = f"/var/lib/{unit['StateDirectory'][-1]}"
    assert kept in unit["ExecStart"][-1].split() or f"GPUFLEET_STATE={kept}" in unit["Environment"]


def test_paging_by_a_key_that_systemd_hands_over_is_an_option_of_the_service():
    drop_in = sandbox.read(UNITS / "gpufleet-slo.service.d" / "paging.conf")
    [value] = drop_in["Environment"]
    name, _, words = shlex.split(value)[0].partition("=")
    assert f"${name}" in merged("gpufleet-slo")["ExecStart"][-1].split()
    credential = drop_in["LoadCredential"][0].partition(":")[0]
    args = cli.parse([*command(merged("gpufleet-slo"))[1:], *words.replace("%d", "/run/credentials").split()])
    assert Path("/run/credentials", credential) in vars(args).values()


def command(unit: sandbox.Unit, replaced: dict[str, str] | None = None) -> list[str]:
    text = unit["ExecStart"][-1]
    for old, new in (_TOLD | (replaced or {})).items():
        text = text.replace(old, new)
    return text.split()


class Inside:
    """Runs commands as a unit runs its own."""

    def __init__(self, name: str, prefix: Path, folder: Path) -> None:
        """`folder` has `etc` and `state`, the unit's configuration and its state directory."""
        self.unit = merged(name)
        (folder / "state").mkdir()
        os.chown(folder / "state", sandbox.NOBODY, sandbox.NOBODY)
        self.folder = folder
        python = prefix / "bin" / "python"
        base = subprocess.check_output([python, "-c", "import sys; print(sys.base_prefix)"], text=True).strip()
        self._keep = {
            base: base,
            str(prefix): "/mnt/prefix",
            str(folder / "etc"): "/mnt/etc",
            str(folder / "state"): "/mnt/state",
        }
        self.environment = dict(one.strip('"').partition("=")[::2] for one in self.unit.get("Environment", []))

    def gpufleet(self, *more: str) -> list[str]:
        """The unit's command with the folders where they are seen inside."""
        words = command(
            self.unit, {"/etc/gpufleet": "/mnt/etc", f"/var/lib/{self.unit['StateDirectory'][-1]}": "/mnt/state"}
        )
        return ["/mnt/prefix/bin/python", "-m", "gpufleet", *words[1:], *more]

    @contextmanager
    def running(self, words: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
        spec = {
            "unit": self.unit,
            "keep": self._keep,
            "writable": ["/mnt/state"],
            "syscalls": sandbox.syscalls(self.unit),
            "command": [*words],
            "environment": {
                key: value.replace("/var/lib/gpufleet", "/mnt/state") for key, value in self.environment.items()
            },
        }
        file = self.folder / "spec.json"
        file.write_text(json.dumps(spec))
        with (self.folder / "stderr").open("w") as stderr:
            process = subprocess.Popen(
                ["unshare", "--mount", sys.executable, sandbox.__file__, str(file)],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)
            assert process.stdout is not None
            process.stdout.close()

    @property
    def said(self) -> str:
        return (self.folder / "stderr").read_text()


@pytest.fixture
def inside(installed: Callable[[str], Path], binary: Callable[[str], str], tmp_path: Path) -> Callable[[str], Inside]:
    for tool in ("unshare", "systemd-analyze"):
        binary(tool)
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("it takes root to make a namespace of mounts")

    def make(name: str) -> Inside:
        shutil.copytree(SLOS, tmp_path / "etc" / "slos")
        shutil.copy(UNITS / "agent.yaml", tmp_path / "etc")
        return Inside(name, installed(name.removeprefix("gpufleet-")), tmp_path)

    return make


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


def awaited(what: Callable[[], bool], process: subprocess.Popen[str], said: Callable[[], str]) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            if what():
                return
        except OSError:
            pass
        assert process.poll() is None, said()
        assert time.monotonic() < end, said()
        time.sleep(0.1)


@pytest.mark.parametrize("name", NAMES)
def test_inside_a_unit_nothing_can_be_done_but_what_it_is_for(name: str, inside: Callable[[str], Inside]):
    box = inside(name)
    with box.running(["/mnt/prefix/bin/python", "-c", PROBE]) as process:
        assert process.stdout is not None
        said = process.stdout.read()
    assert said, box.said
    assert ast.literal_eval(said) == {  # a dict that the probe above printed
        "capabilities": 0,
        "no_new_privileges": "1",
        "seccomp": "2",
        "root": False,
        "writes_root": False,
        "writes_tmp": True,
        "writes_usr": False,
        "writes_sys": False,
        "home": [],
        "devices": sorted(sandbox.DEVICES),
        "mounts": False,
        "packets": False,
        "nice": False,
    }


def test_the_agent_works_inside_its_unit(
    inside: Callable[[str], Inside], free_port: Callable[[], int], binary: Callable[[str], str]
):
    """On the driver's stub: a worker process with the library, an XID kept, engines looked for."""
    box, port = inside("gpufleet-agent"), free_port()
    driver = StubDriver.build(box.folder / "etc", binary("cc"))
    shutil.copy(Path(driver.environment["LD_LIBRARY_PATH"]) / "libnvidia-ml.so.1", box.folder / "etc")
    box.environment |= {"LD_LIBRARY_PATH": "/mnt/etc", "NVML_STUB": "/mnt/etc/nvml.state"}
    url = f"http://127.0.0.1:{port}/metrics"
    with box.running(box.gpufleet("--listen", f"127.0.0.1:{port}", "--gpu", "nvml")) as process:
        awaited(lambda: "DCGM_FI_DEV_GPU_TEMP{" in get(url), process, lambda: box.said)
        driver.xid(0, 79)
        awaited((box.folder / "state" / "gpus.json").exists, process, lambda: box.said)
        page = get(url)
    assert page.count("DCGM_FI_DEV_GPU_TEMP{") == driver.state["gpus"]
    assert re.findall(r"^gpufleet_source_up\{.* 0$", page, re.MULTILINE) == []


def test_the_service_works_inside_its_unit(inside: Callable[[str], Inside], free_port: Callable[[], int]):
    box, port = inside("gpufleet-slo"), free_port()
    with box.running(box.gpufleet("--listen", f"127.0.0.1:{port}")) as process:
        url = f"http://127.0.0.1:{port}"
        awaited(lambda: '"id"' in get(f"{url}/api/v1/slos"), process, lambda: box.said)
        assert "groups:" in get(f"{url}/rules.yaml")
        assert "<html" in get(url)
        assert (box.folder / "state" / "ledger.sqlite").exists()
        started = re.findall(r"^process_start_time_seconds (\S+)$", get(f"{url}/metrics"), re.MULTILINE)
        assert [time.time() - float(one) < 300 for one in started] == [True]
        process.terminate()
        assert process.wait(30) == 0, box.said
