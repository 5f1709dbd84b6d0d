"""What one source knows that makes sense of another's readings: frozen facts, joined by exporter.attribution.

Imports exporter.model alone. A fact of `Measured` changes at each collection; all others stand for as long as an
assignment does, so that the join is made anew only when one of them changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.model import Family, Labels


@dataclass(frozen=True, slots=True)
class Part:
    """A MIG device: its UUID, the GPU instance it is in (the label GPU_I_ID) and its profile, as in 1g.10gb."""

    uuid: str
    instance: str = ""
    profile: str = ""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU the driver has named. `device` is nvidia and its minor number."""

    uuid: str
    index: str
    device: str
    simulated: bool = False
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """The resource claim through which a DRA driver gave a device."""

    name: str
    namespace: str
    driver: str
    pool: str
    device: str


@dataclass(frozen=True, slots=True)
class Holding:
    """A container of a pod was given the device `device`, an id as device plugins and DRA drivers write them."""

    device: str
    namespace: str
    pod: str
    container: str
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A device of a DRA driver, and its UUID."""

    driver: str
    pool: str
    device: str
    uuid: str


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What the Kubernetes API says of a pod: its uid, and those of its labels that were asked for, by page name."""

    namespace: str
    pod: str
    uid: str
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs of a batch system on the GPU with this index, or on its GPU instance `instance`."""

    gpu: str
    instance: str
    jobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EngineAt:
    """An engine, by the labels of its replica. `gpus` are UUIDs or indexes that the settings give for it."""

    labels: Labels
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineUses:
    """What listens at `port` of this machine, or a process it started, is at work on these GPUs, by UUID."""

    port: int
    gpus: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Use:
    """How much of a GPU a pod's processes take: bytes, and a share of its time; None where the driver cannot say."""

    memory_bytes: int | None
    busy_ratio: float | None


@dataclass(frozen=True, slots=True)
class UseOfGpu:
    """Pod uid → its use of the GPU. A pod that is not in it has no process there."""

    uuid: str
    pods: Mapping[str, Use] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DcgmFigure:
    """A figure that DCGM has of a GPU, or of its GPU instance `instance`, in the family's unit."""

    family: Family
    uuid: str
    instance: str
    value: float


Measured = UseOfGpu | DcgmFigure
