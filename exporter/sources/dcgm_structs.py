"""libdcgm's structures, constants and functions as far as the worker uses them, for ctypes. Standard library alone.

Layouts and constants are those of dcgm_structs.h, dcgm_agent.h and dcgm_fields.h, which agree from DCGM 3.3.9 to 4.6.0.
A structure's version is its size with the number of its layout above bit 24; DCGM refuses one that it does not know.
"""

from __future__ import annotations

import ctypes
from ctypes import (
    POINTER,
    Structure,
    Union,
    c_char,
    c_char_p,
    c_double,
    c_int,
    c_int64,
    c_longlong,
    c_size_t,
    c_uint,
    c_ushort,
    c_void_p,
)
from typing import Any

LIBRARIES = ("libdcgm.so.4", "libdcgm.so.3")
DEFAULT_PORT = 5555

OK = 0
NOT_SUPPORTED = -6
VERSION_MISMATCH = -12
CONNECTION_NOT_VALID = -21
WORDS = {
    -7: "it could not be started",
    -8: "the hostengine's NVML failed",
    -11: "it timed out",
    VERSION_MISMATCH: "the library and the hostengine are of different versions",
    -17: "no permission",
    CONNECTION_NOT_VALID: "no connection to the hostengine",
    -29: "the hostengine must run as root for profiling figures",
    -33: "the hostengine lacks its profiling module",
    -34: "another profiler uses the GPU",
    -36: "profiling is not supported here",
    -37: "the profiling library failed",
    -38: "the figures cannot be had at the same time",
    -54: "the hostengine is paused",
    -57: "the driver did not answer the hostengine",
    -67: "the hostengine has let go of the GPUs",
}
"""dcgmReturn_t in few words."""

ALL_GPUS = 0x7FFFFFFF
INSTANCES_GROUP = 3  # DCGM_GROUP_DEFAULT_INSTANCES; the group ALL_INSTANCES cannot be watched
ENTITY_GPU, ENTITY_INSTANCE = 1, 4
FIELD_UUID = 54
MOST_FIELDS = 128
INT64_BLANK = 0x7FFFFFFFFFFFFFF0
"""This and what is above it is no number: blank, not found, not supported, not permitted."""
DOUBLE_BLANK = 140737488355328.0
_STRING, _BLOB, _MOST_GPUS, _MOST_PARTS = 256, 4096, 32, 14


class ConnectParams(Structure):
    """dcgmConnectV2Params_v2: `timeout_ms` bounds the connecting alone."""

    _fields_ = (("version", c_uint), ("persist", c_uint), ("timeout_ms", c_uint), ("is_unix_socket", c_uint))


class Value(Union):
    """What a field holds; which member goes by its type."""

    _fields_ = (("i64", c_int64), ("dbl", c_double), ("str", c_char * _STRING), ("blob", c_char * _BLOB))


class FieldValue(Structure):
    """dcgmFieldValue_v1. `ts` are microseconds since 1970, `type` one of i, d, s."""

    _fields_ = (
        ("version", c_uint),
        ("field", c_ushort),
        ("type", c_ushort),
        ("status", c_int),
        ("ts", c_int64),
        ("value", Value),
    )


class Entity(Structure):
    """dcgmGroupEntityPair_t."""

    _fields_ = (("group", c_int), ("id", c_uint))


class PartInfo(Structure):
    """dcgmMigEntityInfo_t."""

    _fields_ = (
        ("gpu_uuid", c_char * 128),
        ("gpu_index", c_uint),
        ("instance", c_uint),
        ("compute_instance", c_uint),
        ("profile", c_uint),
        ("slices", c_uint),
    )


class PartEntry(Structure):
    """dcgmMigHierarchyInfo_v2."""

    _fields_ = (("entity", Entity), ("parent", Entity), ("info", PartInfo))


class Hierarchy(Structure):
    """dcgmMigHierarchy_v2."""

    _fields_ = (("version", c_uint), ("count", c_uint), ("entries", PartEntry * (_MOST_GPUS * _MOST_PARTS)))


def version_of(structure: type[Structure], number: int) -> int:
    """MAKE_DCGM_VERSION."""
    return ctypes.sizeof(structure) | number << 24


CONNECT_VERSION = version_of(ConnectParams, 2)
VALUE_VERSION = version_of(FieldValue, 1)
HIERARCHY_VERSION = version_of(Hierarchy, 2)

Handle = c_size_t
"""Handles and ids of groups are as wide as a pointer."""
OnValues = ctypes.CFUNCTYPE(c_int, c_int, c_uint, POINTER(FieldValue), c_int, c_void_p)
"""dcgmFieldValueEntityEnumeration_f: entity group, entity, values, how many, user data; 0 goes on."""

_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "dcgmInit": (),
    "dcgmConnect_v2": (c_char_p, POINTER(ConnectParams), POINTER(Handle)),
    "dcgmDisconnect": (Handle,),
    "dcgmGroupCreate": (Handle, c_int, c_char_p, POINTER(Handle)),
    "dcgmFieldGroupCreate": (Handle, c_int, POINTER(c_ushort), c_char_p, POINTER(Handle)),
    "dcgmWatchFields": (Handle, Handle, Handle, c_longlong, c_double, c_int),
    "dcgmUpdateAllFields": (Handle, c_int),
    "dcgmGetLatestValues_v2": (Handle, Handle, Handle, OnValues, c_void_p),
    "dcgmGetGpuInstanceHierarchy": (Handle, POINTER(Hierarchy)),
}


def load(path: str = "") -> ctypes.CDLL:
    """The library with its functions' types set. Raises OSError where there is none that can be used."""
    error = OSError("no libdcgm")
    for name in (path,) if path else LIBRARIES:
        try:
            library = ctypes.CDLL(name)
            for function, arguments in _FUNCTIONS.items():
                found = getattr(library, function)
                found.argtypes, found.restype = arguments, c_int
        except (OSError, AttributeError) as failure:
            error = OSError(str(failure))
        else:
            return library
    raise error
