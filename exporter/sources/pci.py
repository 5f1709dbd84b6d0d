"""NVIDIA GPUs on the PCI bus, as sysfs lists them: the GPUs a node should have, told without the driver."""

from __future__ import annotations

import re
from pathlib import Path

PCI_DEVICES = Path("/sys/bus/pci/devices")
_NVIDIA = "0x10de"
_DISPLAY_CLASSES = ("0x0300", "0x0302")
"""VGA controller and 3D controller. Audio functions, NVSwitches and bridges have others."""
_PASSED_THROUGH = "vfio-pci"
_ADDRESS = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])", re.IGNORECASE)


def bus_id(address: str) -> str:
    """A PCI address in NVML's form: eight digits of domain, upper case. "0000:3b:00.0" → "00000000:3B:00.0"."""
    match = _ADDRESS.fullmatch(address)
    return f"{match[1]:0>8}:{match[2]}".upper() if match else address.upper()


def passed_through(devices: Path = PCI_DEVICES) -> frozenset[str]:
    """Bus ids of the NVIDIA GPUs that belong to a virtual machine now."""
    return frozenset(address for address, away in _scan(devices) if away)


def gpus(devices: Path = PCI_DEVICES) -> tuple[str, ...]:
    """Bus ids of the NVIDIA GPUs under `devices`, sorted; none where the folder cannot be read.

    A GPU bound to vfio-pci belongs to a virtual machine, and no driver here will ever show it: it is left out.
    """
    return tuple(sorted(address for address, away in _scan(devices) if not away))


def _scan(devices: Path) -> list[tuple[str, bool]]:
    """(bus id, whether it is passed through) of every NVIDIA GPU."""
    found = []
    try:
        for device in devices.iterdir():
            if _read(device / "vendor") == _NVIDIA and _read(device / "class").startswith(_DISPLAY_CLASSES):
                away = (device / "driver").resolve().name == _PASSED_THROUGH
                found.append((bus_id(device.name), away))
    except OSError:
        return []
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
