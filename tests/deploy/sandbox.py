"""What systemd would put around a unit's command, put around it without systemd; imports the standard library alone.

`unshare --mount python sandbox.py SPEC` as root: makes the namespace what the unit says (read-only root, own /tmp,
empty /home, few devices, its own view of /proc), gives up every capability and root itself, loads the unit's system
call filters by libseccomp, as systemd does, and becomes the command. Not had without systemd: the device rules of
cgroups (a small /dev stands in for them), user namespaces, hostname, clock, limits of memory and tasks, RemoveIPC.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

MS_RDONLY, MS_NOSUID, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 32, 4096, 16384, 1 << 18
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
PROT_WRITE, PROT_EXEC = 2, 4
NOBODY = 65534
ALLOW, ERRNO_EPERM = 0x7FFF0000, 0x00050000 | errno.EPERM
EQUAL, MASKED_EQUAL = 4, 7
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

Unit = dict[str, list[str]]


def read(*paths: Path) -> Unit:
    """{key: its values in order} of a unit and its drop-ins; an empty value takes back those before it."""
    found: Unit = {}
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            if "=" not in line or line.startswith(("#", "[")):
                continue
            key, _, value = line.partition("=")
            found[key] = [*found.get(key, []), value] if value else [value]
    return found


def syscalls(unit: Unit) -> list[str]:
    """The system calls that the unit's filters leave."""
    allowed: set[str] = set()
    for value in unit["SystemCallFilter"]:
        names = _expanded(value.removeprefix("~").split())
        allowed = allowed - names if value.startswith("~") else allowed | names
    return sorted(allowed)


def _expanded(names: list[str]) -> set[str]:
    if not any(name.startswith("@") for name in names):
        return set(names)
    groups = [name for name in names if name.startswith("@")]
    said = subprocess.run(
        ["systemd-analyze", "syscall-filter", *groups], capture_output=True, text=True, check=True
    ).stdout
    inside = [line.strip() for line in said.splitlines() if line.startswith("    ") and "#" not in line]
    return {name for name in names if not name.startswith("@")} | _expanded(inside)


class _Compare(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def _filters(unit: Unit, allowed: list[str]) -> None:
    lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    lib.seccomp_init.restype = ctypes.c_void_p

    def load(default: int, rules: list[tuple[int, str, list[_Compare]]]) -> None:
        context = ctypes.c_void_p(lib.seccomp_init(default))
        for action, name, compares in rules:
            number = lib.seccomp_syscall_resolve_name(name.encode())
            if number < 0:
                continue  # of another processor, or newer than this library
            array = (_Compare * len(compares))(*compares)
            assert lib.seccomp_rule_add_array(context, action, number, len(compares), array) == 0, name
        assert lib.seccomp_load(context) == 0

    families = {getattr(socket, name) for name in unit["RestrictAddressFamilies"][-1].split()}
    others = [_Compare(0, EQUAL, number, 0) for number in range(46) if number not in families]
    denied = [(ERRNO_EPERM, "socket", [one]) for one in others]
    if unit.get("MemoryDenyWriteExecute") == ["yes"]:
        both = PROT_WRITE | PROT_EXEC
        denied.append((ERRNO_EPERM, "mmap", [_Compare(2, MASKED_EQUAL, both, both)]))
        denied.append((ERRNO_EPERM, "mprotect", [_Compare(2, MASKED_EQUAL, PROT_EXEC, PROT_EXEC)]))
    load(ALLOW, denied)
    load(ERRNO_EPERM, [(ALLOW, name, []) for name in allowed])


def _enter(unit: Unit, keep: dict[str, str], writable: list[str]) -> None:
    """Make this mount namespace the unit's. `keep`: {where it lies: where it is seen}, `writable`: of what is seen."""
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
        given = [None if text is None else text.encode() for text in (source, target, kind)]
        if libc.mount(*given, ctypes.c_ulong(flags), None if data is None else data.encode()):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), target)

    mount(None, "/", None, MS_REC | MS_PRIVATE)
    held = {seen: os.open(lies, os.O_PATH) for lies, seen in keep.items()}
    devices = {f"/dev/{name}": os.open(f"/dev/{name}", os.O_PATH) for name in DEVICES}
    empty = {"/dev": "mode=755", "/mnt": "mode=755"}
    if unit["ProtectHome"] == ["yes"]:
        empty |= {"/home": "mode=755", "/root": "mode=755"}
    if unit["PrivateTmp"] == ["yes"]:
        empty |= {"/tmp": "mode=1777", "/var/tmp": "mode=1777"}
    for place, mode in empty.items():
        mount("tmpfs", place, "tmpfs", MS_NOSUID, mode)
    for seen, number in {**held, **devices}.items():
        if seen in devices:
            Path(seen).touch()
        else:
            Path(seen).mkdir(parents=True, exist_ok=True)
        mount(f"/proc/self/fd/{number}", seen, None, MS_BIND)
        os.close(number)
    if unit.get("ProtectProc") == ["invisible"]:
        mount("proc", "/proc", "proc", 0, "hidepid=2")
    if unit["ProtectKernelTunables"] == ["yes"]:
        mount("/proc/sys", "/proc/sys", None, MS_BIND)
    open_ones = {*writable, "/tmp", "/var/tmp", "/proc", *devices}
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    for place in {line.split()[4] for line in lines} - open_ones:
        try:
            mount(None, place, None, MS_BIND | MS_REMOUNT | MS_RDONLY)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):  # hidden under what was put over it
                raise


def _become(spec: dict[str, Any]) -> None:
    unit: Unit = spec["unit"]
    libc = ctypes.CDLL(None, use_errno=True)
    _enter(unit, spec["keep"], spec["writable"])
    os.chdir("/")
    assert unit["CapabilityBoundingSet"] == [""], "capabilities of drop-ins are not for this sandbox"
    for number in range(64):
        libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    os.umask(int(unit["UMask"][-1], 8))
    _filters(unit, spec["syscalls"])
    os.execve(spec["command"][0], spec["command"], spec["environment"])


if __name__ == "__main__":
    _become(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
