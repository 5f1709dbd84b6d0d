"""The process that talks to a DCGM hostengine: `python -m exporter.sources.dcgm_worker --address host:5555`.

Experimental: built against DCGM's public headers and never yet run against a real hostengine.

Status: stands. Context: a call into libdcgm waits for the hostengine, which waits for the driver; neither has a
deadline that holds. Decision: as with the driver's worker, every call is made here, and the parent gives this process
up when it does not answer. Fields are watched for every GPU and every MIG instance; what the hostengine last saw is
asked for in one call. A lost connection is made anew with the next request, and so is one whose MIG instances have
changed: the hostengine forgets watches with the connection that asked for them. Consequences: this module and
dcgm_structs import the standard library alone; no sentinel and no value of an earlier time leaves this process.

A request is one line: {"number", "every": seconds, "fields": [ids]}. Its answer: {"number", "error", "detail",
"figures": [[uuid, instance, field, value], …]}.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
import time
from typing import Any

from exporter.sources import dcgm_structs as dcgm
from exporter.sources.nvml_worker import die_with_parent

LOOK_FOR_PARTS_SECONDS = 60.0
STALE_INTERVALS = 3
STALE_SECONDS = 5.0
"""A value older than this and STALE_INTERVALS is what the hostengine saw before it stopped looking."""
_CONNECT_MS = 1000
_CONTENDED = (-6, -36, -38)
"""The whole list of fields cannot be watched; fewer of them perhaps can."""
FEWER = (1001, 1004, 1005, 1009, 1010)
"""What dcgm-exporter watches unless told otherwise."""


class DcgmError(Exception):
    """A call failed; `code` is a dcgmReturn_t."""

    def __init__(self, call: str, code: int) -> None:
        super().__init__(dcgm.WORDS.get(code, f"{call} returned {code}"))
        self.code = code
        self.detail = f"{call} returned {code}"


class Connection:
    """A connection with its watches. Raises DcgmError."""

    def __init__(self, library: ctypes.CDLL, address: str, fields: list[int], every: float) -> None:
        self._library = library
        self._every = every
        self._handle = dcgm.Handle()
        params = dcgm.ConnectParams(dcgm.CONNECT_VERSION, 0, _CONNECT_MS, int(address.startswith("/")))
        self._call("dcgmConnect_v2", address.encode(), ctypes.byref(params), ctypes.byref(self._handle))
        try:
            self.parts = self._hierarchy()
            self._groups = [dcgm.Handle(dcgm.ALL_GPUS)]
            if self.parts:
                instances = dcgm.Handle()
                name = f"gpufleet-instances-{os.getpid()}".encode()
                self._on("dcgmGroupCreate", dcgm.INSTANCES_GROUP, name, ctypes.byref(instances))
                self._groups.append(instances)
            self._names = self._watch([dcgm.FIELD_UUID], "names", self._groups[:1])
            self._fields = self._watch_figures(fields)
            self._on("dcgmUpdateAllFields", 1)
        except DcgmError:
            self.close()
            raise
        self._looked_at = time.monotonic()

    def close(self) -> None:
        """Disconnect, whatever comes of it."""
        self._library.dcgmDisconnect(self._handle)

    def figures(self) -> list[tuple[str, str, int, float]]:
        """(UUID, GPU instance, field, value) of all that has a fresh value."""
        if time.monotonic() - self._looked_at >= LOOK_FOR_PARTS_SECONDS:
            self._looked_at = time.monotonic()
            if self._hierarchy() != self.parts:
                raise DcgmError("dcgmGetGpuInstanceHierarchy", dcgm.CONNECTION_NOT_VALID)  # its watches are not all
        uuids = {entity: text for (_, entity), _, text in self._values(self._groups[0], self._names)}
        found = []
        for group in self._groups:
            for where, field, value in self._values(group, self._fields):
                of_gpu = (str(uuids.get(where[1], "")), "") if where[0] == dcgm.ENTITY_GPU else ("", "")
                uuid, instance = self.parts.get(where, of_gpu)
                if uuid and isinstance(value, float):
                    found.append((uuid, instance, field, value))
        return found

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code != dcgm.OK:
            raise DcgmError(name, code)

    def _on(self, name: str, *arguments: Any) -> None:
        self._call(name, self._handle, *arguments)

    def _watch_figures(self, fields: list[int]) -> dcgm.Handle:
        try:
            return self._watch(fields, "figures", self._groups)
        except DcgmError as error:
            fewer = [field for field in fields if field in FEWER]
            if error.code not in _CONTENDED or not fewer or fewer == fields:
                raise
            return self._watch(fewer, "fewer", self._groups)

    def _watch(self, fields: list[int], name: str, groups: list[dcgm.Handle]) -> dcgm.Handle:
        """Watch fields on groups; the id of the group of fields."""
        made = dcgm.Handle()
        ids = (ctypes.c_ushort * len(fields))(*fields)
        self._on(
            "dcgmFieldGroupCreate", len(fields), ids, f"gpufleet-{name}-{os.getpid()}".encode(), ctypes.byref(made)
        )
        for group in groups:
            self._on("dcgmWatchFields", group, made, int(self._every * 1e6), self._every * 10, 2)
        return made

    def _hierarchy(self) -> dict[tuple[int, int], tuple[str, str]]:
        """(entity group, entity) of each GPU instance → its GPU's UUID and its id there."""
        hierarchy = dcgm.Hierarchy(dcgm.HIERARCHY_VERSION)
        try:
            self._on("dcgmGetGpuInstanceHierarchy", ctypes.byref(hierarchy))
        except DcgmError as error:
            if error.code == dcgm.NOT_SUPPORTED:
                return {}
            raise
        entries = hierarchy.entries[: min(hierarchy.count, len(hierarchy.entries))]
        return {
            (one.entity.group, one.entity.id): (one.info.gpu_uuid.decode("ascii", "replace"), str(one.info.instance))
            for one in entries
            if one.entity.group == dcgm.ENTITY_INSTANCE
        }

    def _values(self, group: dcgm.Handle, fields: dcgm.Handle) -> list[tuple[tuple[int, int], int, float | str]]:
        """((entity group, entity), field, value) of all that the hostengine gives and that is a value."""
        found: list[tuple[tuple[int, int], int, float | str]] = []
        wrong: list[int] = []
        oldest = (time.time() - STALE_SECONDS - STALE_INTERVALS * self._every) * 1e6

        def take(entity_group: int, entity: int, values: Any, count: int, _data: Any) -> int:
            for one in values[:count]:
                if one.version != dcgm.VALUE_VERSION:
                    wrong.append(one.version)
                    return -1
                value = number_or_text(one)
                if value is not None and (isinstance(value, str) or one.ts >= oldest):
                    found.append(((entity_group, entity), one.field, value))
            return 0

        # A callback's exception would be lost, so it raises none; and it must outlive the call.
        callback = dcgm.OnValues(take)
        code = self._library.dcgmGetLatestValues_v2(self._handle, group, fields, callback, None)
        if wrong:
            raise DcgmError(f"dcgmGetLatestValues_v2, values of version {wrong[0]:#x},", dcgm.VERSION_MISMATCH)
        if code != dcgm.OK:
            raise DcgmError("dcgmGetLatestValues_v2", code)
        return found


def number_or_text(one: Any) -> float | str | None:
    """A value as a number or a text; None where it has a status, or a sentinel in its place."""
    if one.status != dcgm.OK:
        return None
    kind = chr(one.type)
    if kind == "i":
        return None if one.value.i64 >= dcgm.INT64_BLANK else float(one.value.i64)
    if kind == "d":
        return one.value.dbl if one.value.dbl < dcgm.DOUBLE_BLANK else None  # NaN is less than nothing
    if kind == "s":
        text: str = one.value.str.decode("utf-8", "replace")
        return None if text.startswith("<<<") else text
    return None


class Worker:
    """Answers requests with what the hostengine at `address` last saw."""

    def __init__(self, address: str, library: str) -> None:
        self._address = address
        self._path = library
        self._library: ctypes.CDLL | None = None
        self._connection: Connection | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request's answer."""
        try:
            try:
                figures = self._figures(request)
            except DcgmError as error:
                if self._connection is None or error.code != dcgm.CONNECTION_NOT_VALID:
                    raise
                self._drop()
                figures = self._figures(request)
            return {"figures": figures, "error": "", "detail": ""}
        except DcgmError as error:
            self._drop()
            return {"figures": [], "error": str(error), "detail": error.detail}
        except OSError as error:
            return {"figures": [], "error": "libdcgm is not there, or not one that can be used", "detail": str(error)}

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _figures(self, request: dict[str, Any]) -> list[tuple[str, str, int, float]]:
        if self._library is None:
            library = dcgm.load(self._path)
            code = library.dcgmInit()
            if code != dcgm.OK:
                raise DcgmError("dcgmInit", code)
            self._library = library
        if self._connection is None:
            self._connection = Connection(self._library, self._address, request["fields"], request["every"])
        return self._connection.figures()


def main() -> int:
    """Run the worker."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--address", required=True, help="host:port, or the absolute path of a unix socket")
    parser.add_argument("--library", default="", help="path of libdcgm; else it is looked for as usual")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it closes our stdin
    die_with_parent()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the library prints must not get between our lines
    worker = Worker(arguments.address, arguments.library)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        answer = {"number": request["number"], **worker.answer(request)}
        out.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
        out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
