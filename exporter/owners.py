"""Settings → the sources that say whose the GPUs are, besides the kubelet, and those of DCGM's figures.

Imports exporter.settings and exporter.sources. Part of the wiring: exporter.agent alone imports it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from exporter.model import Source
from exporter.settings import Settings
from exporter.settings_attribution import DcgmSettings, hostengine_address, label_name
from exporter.settings_discovery import PodsSettings
from exporter.sources.access import Access
from exporter.sources.dcgm import HostengineSource
from exporter.sources.dcgm_exporter import DcgmExporterSource
from exporter.sources.kubernetes import Kubernetes
from exporter.sources.nvml import NvmlSource
from exporter.sources.pod_facts import PodFactsSource
from exporter.sources.pod_usage import PodUsage
from exporter.sources.pods import PodsSource
from exporter.sources.resource_slices import ResourceSlices
from exporter.sources.slurm import JobsSource


def wants_usage(settings: Settings) -> bool:
    """Whether the driver is to tell what each process takes."""
    return isinstance(settings.pods, PodsSettings) and settings.pods.processes


def owners(
    settings: Settings, *, node: str, pods: PodsSource | None, driver: NvmlSource | None, deadline_seconds: float
) -> Iterator[Source]:
    """The sources that the settings ask for. `pods` is the kubelet's and `driver` the GPUs', where there are."""
    given = settings.pods
    if isinstance(given, PodsSettings) and pods is not None:
        yield from _of_the_api(given, pods, node, deadline_seconds)
    if wants_usage(settings) and driver is not None:
        yield PodUsage(lambda: driver.usage)
    if settings.jobs is not None:
        yield JobsSource(Path(settings.jobs.directory))
    if settings.dcgm is not None:
        yield _dcgm(settings.dcgm, every_seconds=settings.interval_seconds, deadline_seconds=deadline_seconds)


def _of_the_api(given: PodsSettings, pods: PodsSource, node: str, deadline_seconds: float) -> Iterator[Source]:
    def kubernetes() -> Kubernetes:
        return Kubernetes(
            node=node, server=given.server, credentials=given.credentials, deadline_seconds=deadline_seconds
        )

    if given.labels or given.processes:
        labels = {key: label_name(key) for key in given.labels}
        yield PodFactsSource(kubernetes(), labels=labels, holders=lambda: pods.holders)
    if given.slices:
        yield ResourceSlices(kubernetes(), node=node, wanted=lambda: pods.claimed)


def _dcgm(given: DcgmSettings, *, every_seconds: float, deadline_seconds: float) -> Source:
    if given.exporter:
        access = Access(given.ca_file, given.token_file)
        return DcgmExporterSource(given.exporter, access=access, deadline_seconds=deadline_seconds)
    return HostengineSource(
        hostengine_address(given.hostengine),
        library=given.library,
        every_seconds=every_seconds,
        deadline_seconds=deadline_seconds,
    )
