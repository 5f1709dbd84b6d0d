/* A libnvidia-ml.so.1 for tests: the real nvidia-ml-py is loaded over it, so that structures, versions and handles pass
 * through the real binding. Layouts follow nvml.h, written out anew; every figure comes from the state file, whose
 * grammar stands in stub_state.h. What has the wrong shape (version, scope, handle) is refused as NVML would.
 * Built by tests/exporter/stub_driver.py:  cc -shared -fPIC -pthread libnvidia-ml.c stub_state.c */

#include "stub_state.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, TIMEOUT = 10,
    VERSION_MISMATCH = 25,
};
enum { GPUS = 64, INSTANCES = 8, DOUBLE = 0, UNSIGNED_INT = 1, UNSIGNED_LONG_LONG = 3, XID_EVENT = 8 };
#define ALL_SCOPES 0xffffffffu
#define VERSION(type, number) (sizeof(type) | (number) << 24)

/* A handle. `place` is ANY of a GPU itself, else the place of an instance on it, `gi` the GPU instance's number. */
typedef struct { int gpu, place, gi; } Device;
typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } Pci;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory;
typedef struct { unsigned long long total, free, used; } Bar1;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned max, high, partial, low, none; } Banks;
typedef struct { unsigned version; unsigned char cluster[16]; unsigned status, clique; unsigned char state; unsigned mask; } Fabric;
typedef struct { unsigned version; int celsius; } Margin;
typedef struct { unsigned sms, copy, decoder, encoder, jpeg, ofa, gpu_slices, compute_slices; unsigned long long mib; } Attributes;
typedef struct { unsigned pid; unsigned long long bytes; unsigned gi, ci; } Process;
typedef struct { unsigned pid; unsigned long long at; unsigned sm, memory, encoder, decoder; } ProcessSample;
typedef struct { unsigned year; unsigned short month, day, hour, minute, second; unsigned char status; } Expiry;
typedef struct { int code; unsigned state; char info[128], product[128]; unsigned enabled; Expiry expiry; } License;
typedef struct { int supported; unsigned count; License features[3]; } Licenses;
typedef struct {
    unsigned field, scope; int64_t at, latency; unsigned type; int result;
    union { double d; unsigned ui; unsigned long long ull; } value;
} Field;
typedef struct { unsigned id; int result; double value; void *info[3]; } Metric;
typedef struct { Device *of; unsigned gets; } Sample;
typedef struct { unsigned version, count; Sample *older, *newer; Metric metrics[]; } Metrics;
typedef struct { unsigned version, supported; } Support;
typedef struct { Device *device; unsigned long long type, data; unsigned gi, ci; } Event;

static Device gpus[GPUS], instances[GPUS][INSTANCES];
static int count, told, event_set;

static int whole_into(unsigned *into, const Device *of, const char *key) {
    unsigned long long whole = 0;
    int result = whole_of(&whole, of->gpu, of->gi, "%s", key);
    *into = whole;
    return result;
}

static int text_into(char *into, unsigned size, const char *text) { return snprintf(into, size, "%s", text), SUCCESS; }

/* Opening, and what belongs to no GPU. */

int nvmlInitWithFlags(unsigned flags) {
    CALL("nvmlInit", ANY, ANY);
    unsigned long long found = 0;
    if (flags) return INVALID_ARGUMENT;
    whole_of(&found, ANY, ANY, "gpus");
    count = found;
    told = xids();
    for (int gpu = 0; gpu < GPUS; gpu++) gpus[gpu] = (Device){gpu, ANY, ANY};
    return SUCCESS;
}
int nvmlShutdown(void) { return SUCCESS; }
static int version_into(char *into, unsigned size, const char *key) {
    const char *text = text_of(ANY, ANY, "%s", key);
    return text ? text_into(into, size, text) : NOT_SUPPORTED;
}
int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    CALL("nvmlSystemGetDriverVersion", ANY, ANY);
    return version_into(text, size, "driver");
}
int nvmlSystemGetNVMLVersion(char *text, unsigned size) {
    CALL("nvmlSystemGetNVMLVersion", ANY, ANY);
    return version_into(text, size, "nvml");
}
int nvmlSystemGetCudaDriverVersion(int *version) {
    CALL("nvmlSystemGetCudaDriverVersion", ANY, ANY);
    double number = 0;
    int result = number_of(&number, ANY, ANY, "cuda");
    return *version = number, result;
}
int nvmlDeviceGetCount_v2(unsigned *found) {
    CALL("nvmlDeviceGetCount", ANY, ANY);
    return *found = count, SUCCESS;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device) {
    CALL("nvmlDeviceGetHandleByIndex", index, ANY);
    if ((int)index >= count) return INVALID_ARGUMENT;
    return *device = &gpus[index], SUCCESS;
}

/* Who a GPU is. */

int nvmlDeviceGetMinorNumber(Device *of, unsigned *minor) {
    CALL("nvmlDeviceGetMinorNumber", of->gpu, ANY);
    if (whole_into(minor, of, "minor")) *minor = of->gpu;
    return SUCCESS;
}
int nvmlDeviceGetPciInfo_v3(Device *of, Pci *pci) {
    CALL("nvmlDeviceGetPciInfo", of->gpu, ANY);
    const char *bus = text_of(of->gpu, ANY, "bus");
    memset(pci, 0, sizeof *pci);
    snprintf(pci->bus_id, sizeof pci->bus_id, "%s", bus ? bus : "");
    if (!bus) snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:%02x:00.0", 0x3b + of->gpu);
    return SUCCESS;
}

typedef struct { int gi, ci; char uuid[96], profile[32]; } Instance;

static int instance_at(Instance *into, int gpu, int place) {
    const char *line = text_of(gpu, ANY, "mig/%d", place);
    if (!line || sscanf(line, "%d %d %95s %31s", &into->gi, &into->ci, into->uuid, into->profile) != 4) return NOT_FOUND;
    return SUCCESS;
}
int nvmlDeviceGetName(Device *of, char *text, unsigned size) {
    CALL("nvmlDeviceGetName", of->gpu, of->gi);
    const char *name = text_of(of->gpu, ANY, "name");
    Instance one;
    if (of->place == ANY) return text_into(text, size, name ? name : "NVIDIA Stub");
    if (instance_at(&one, of->gpu, of->place)) return NOT_FOUND;
    return snprintf(text, size, "%s MIG %s", name ? name : "NVIDIA Stub", one.profile), SUCCESS;
}
int nvmlDeviceGetUUID(Device *of, char *text, unsigned size) {
    CALL("nvmlDeviceGetUUID", of->gpu, of->gi);
    const char *uuid = text_of(of->gpu, ANY, "uuid");
    Instance one;
    if (of->place != ANY) return instance_at(&one, of->gpu, of->place) ? NOT_FOUND : text_into(text, size, one.uuid);
    if (uuid) return text_into(text, size, uuid);
    return snprintf(text, size, "GPU-%08d-0000-0000-0000-000000000000", of->gpu), SUCCESS;
}

/* Calls that give one number. */

#define NUMBER(function, name, type)                                      \
    int function(Device *of, type *number) {                              \
        CALL(name, of->gpu, of->gi);                                      \
        unsigned long long whole = 0;                                     \
        int result = whole_of(&whole, of->gpu, of->gi, name);             \
        return *number = whole, result;                                   \
    }
NUMBER(nvmlDeviceGetPowerUsage, "nvmlDeviceGetPowerUsage", unsigned)
NUMBER(nvmlDeviceGetPerformanceState, "nvmlDeviceGetPerformanceState", unsigned)
NUMBER(nvmlDeviceGetFanSpeed, "nvmlDeviceGetFanSpeed", unsigned)
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, "nvmlDeviceGetCurrPcieLinkGeneration", unsigned)
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, "nvmlDeviceGetCurrPcieLinkWidth", unsigned)
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, "nvmlDeviceGetMaxPcieLinkGeneration", unsigned)
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, "nvmlDeviceGetMaxPcieLinkWidth", unsigned)
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, "nvmlDeviceGetCurrentClocksEventReasons", unsigned long long)

#define NUMBER_BY(function, name)                                         \
    int function(Device *of, unsigned which, unsigned *number) {          \
        CALL(name, of->gpu, of->gi);                                      \
        unsigned long long whole = 0;                                     \
        int result = whole_of(&whole, of->gpu, of->gi, name "/%u", which);\
        return *number = whole, result;                                   \
    }
NUMBER_BY(nvmlDeviceGetClockInfo, "nvmlDeviceGetClockInfo")
NUMBER_BY(nvmlDeviceGetMaxClockInfo, "nvmlDeviceGetMaxClockInfo")
NUMBER_BY(nvmlDeviceGetApplicationsClock, "nvmlDeviceGetApplicationsClock")
NUMBER_BY(nvmlDeviceGetTemperature, "nvmlDeviceGetTemperature")
NUMBER_BY(nvmlDeviceGetTemperatureThreshold, "nvmlDeviceGetTemperatureThreshold")

static int share(Device *of, const char *name, unsigned *percent, unsigned *period_us) {
    *period_us = 167000;
    return whole_into(percent, of, name);
}
int nvmlDeviceGetEncoderUtilization(Device *of, unsigned *percent, unsigned *period_us) {
    CALL("nvmlDeviceGetEncoderUtilization", of->gpu, of->gi);
    return share(of, "nvmlDeviceGetEncoderUtilization", percent, period_us);
}
int nvmlDeviceGetDecoderUtilization(Device *of, unsigned *percent, unsigned *period_us) {
    CALL("nvmlDeviceGetDecoderUtilization", of->gpu, of->gi);
    return share(of, "nvmlDeviceGetDecoderUtilization", percent, period_us);
}

/* Calls that fill a structure; its members are entries of their own. */

static int member(unsigned long long *into, const Device *of, const char *function, const char *name) {
    const char *suffix = strstr(function, "_v");
    int length = suffix ? (int)(suffix - function) : (int)strlen(function);
    return whole_of(into, of->gpu, of->gi, "%.*s/%s", length, function, name);
}
#define MEMBER(into, name)                                                          \
    do {                                                                            \
        unsigned long long whole = 0;                                               \
        int refused = member(&whole, of, __func__, name);                           \
        if (refused) return refused;                                                \
        (into) = whole;                                                             \
    } while (0)

int nvmlDeviceGetUtilizationRates(Device *of, Utilization *into) {
    CALL("nvmlDeviceGetUtilizationRates", of->gpu, of->gi);
    MEMBER(into->gpu, "gpu");
    MEMBER(into->memory, "memory");
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo_v2(Device *of, Memory *into) {
    CALL("nvmlDeviceGetMemoryInfo", of->gpu, of->gi);
    if (into->version != VERSION(Memory, 2u)) return VERSION_MISMATCH;
    MEMBER(into->total, "total");
    MEMBER(into->reserved, "reserved");
    MEMBER(into->free, "free");
    MEMBER(into->used, "used");
    return SUCCESS;
}
int nvmlDeviceGetBAR1MemoryInfo(Device *of, Bar1 *into) {
    CALL("nvmlDeviceGetBAR1MemoryInfo", of->gpu, of->gi);
    MEMBER(into->total, "total");
    MEMBER(into->free, "free");
    MEMBER(into->used, "used");
    return SUCCESS;
}
int nvmlDeviceGetRowRemapperHistogram(Device *of, Banks *into) {
    CALL("nvmlDeviceGetRowRemapperHistogram", of->gpu, of->gi);
    MEMBER(into->max, "max");
    MEMBER(into->high, "high");
    MEMBER(into->partial, "partial");
    MEMBER(into->low, "low");
    MEMBER(into->none, "none");
    return SUCCESS;
}
int nvmlDeviceGetGpuFabricInfoV(Device *of, Fabric *into) {
    CALL("nvmlDeviceGetGpuFabricInfoV", of->gpu, of->gi);
    if (into->version != VERSION(Fabric, 2u)) return VERSION_MISMATCH;
    MEMBER(into->status, "status");
    MEMBER(into->clique, "clique");
    MEMBER(into->state, "state");
    MEMBER(into->mask, "mask");
    return SUCCESS;
}
int nvmlDeviceGetMarginTemperature(Device *of, Margin *into) {
    CALL("nvmlDeviceGetMarginTemperature", of->gpu, of->gi);
    if (into->version != VERSION(Margin, 1u)) return VERSION_MISMATCH;
    double celsius = 0;
    int result = number_of(&celsius, of->gpu, of->gi, "nvmlDeviceGetMarginTemperature");
    return into->celsius = celsius, result;
}
int nvmlDeviceGetGridLicensableFeatures_v4(Device *of, Licenses *into) {
    CALL("nvmlDeviceGetGridLicensableFeatures", of->gpu, of->gi);
    memset(into, 0, sizeof *into);
    MEMBER(into->supported, "supported");
    into->count = 1;
    return whole_into(&into->features[0].state, of, "nvmlDeviceGetGridLicensableFeatures/state");
}
int nvmlDeviceGetComputeRunningProcesses_v3(Device *of, unsigned *room, Process *into) {
    CALL("nvmlDeviceGetComputeRunningProcesses", of->gpu, of->gi);
    const char *pids = text_of(of->gpu, ANY, "pids");
    unsigned found = 0;
    char *after;
    for (unsigned long pid; pids && (pid = strtoul(pids, &after, 10), after != pids); pids = after, found++)
        if (found < *room) {
            const char *used = text_of(of->gpu, ANY, "used/%lu", pid);
            unsigned long long bytes = !used ? 1 << 30 : strcmp(used, "unknown") ? strtoull(used, NULL, 0) : -1ull;
            into[found] = (Process){pid, bytes, ALL_SCOPES, ALL_SCOPES};
        }
    int result = found > *room ? INSUFFICIENT_SIZE : SUCCESS;
    return *room = found, result;
}
int nvmlDeviceGetProcessUtilization(Device *of, ProcessSample *into, unsigned *room, unsigned long long since) {
    CALL("nvmlDeviceGetProcessUtilization", of->gpu, ANY);
    const char *pids = text_of(of->gpu, ANY, "pids");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    unsigned long long at = now.tv_sec * 1000000ull + now.tv_nsec / 1000;
    unsigned found = 0, space = into ? *room : 0;
    char *after;
    for (unsigned long pid; pids && (pid = strtoul(pids, &after, 10), after != pids); pids = after) {
        double busy;
        if (at <= since || number_of(&busy, of->gpu, ANY, "busy/%lu", pid)) continue;
        if (found < space) into[found] = (ProcessSample){pid, at, busy, 0, 0, 0};
        found++;
    }
    int result = !found ? NOT_FOUND : found > space ? INSUFFICIENT_SIZE : SUCCESS;
    return *room = found, result;
}

/* Field values: many at once, each with a status of its own. */

int nvmlDeviceGetFieldValues(Device *of, int asked, Field *fields) {
    CALL("nvmlDeviceGetFieldValues", of->gpu, of->gi);
    for (Field *field = fields; field < fields + asked; field++) {
        char scope[16] = "";
        if (field->scope == ALL_SCOPES) strcpy(scope, "/all");
        else if (field->scope) snprintf(scope, sizeof scope, "/%u", field->scope);
        const char *text = text_of(of->gpu, of->gi, "field/%u%s", field->field, scope);
        if (!text && !field->scope) text = text_of(of->gpu, of->gi, "field/%u/0", field->field);
        field->value.ull = 0xdeadbeefdeadbeefull; /* whoever reads the wrong member of the union shows it */
        field->result = !text ? NOT_SUPPORTED : strncmp(text, "error ", 6) ? SUCCESS : atoi(text + 6);
        if (field->result) continue;
        unsigned long long whole = strtoull(text, NULL, 0);
        field->type = strchr(text, '.') ? DOUBLE : whole > ALL_SCOPES ? UNSIGNED_LONG_LONG : UNSIGNED_INT;
        if (field->type == DOUBLE) field->value.d = strtod(text, NULL);
        else if (field->type == UNSIGNED_INT) field->value.ui = whole;
        else field->value.ull = whole;
    }
    return SUCCESS;
}

/* GPM: figures of the time between two samples. A sample remembers whose it is, and so do we check it. */

int nvmlGpmQueryDeviceSupport(Device *of, Support *support) {
    CALL("nvmlGpmQueryDeviceSupport", of->gpu, ANY);
    if (support->version != 1) return VERSION_MISMATCH;
    return whole_into(&support->supported, of, "nvmlGpmQueryDeviceSupport") == NOT_SUPPORTED ? NOT_SUPPORTED : SUCCESS;
}
int nvmlGpmSampleAlloc(Sample **sample) { return *sample = calloc(1, sizeof **sample), SUCCESS; }
int nvmlGpmSampleFree(Sample *sample) { return free(sample), SUCCESS; }
int nvmlGpmSampleGet(Device *of, Sample *sample) {
    CALL("nvmlGpmSampleGet", of->gpu, ANY);
    return *sample = (Sample){of, sample->gets + 1}, SUCCESS;
}
int nvmlGpmMigSampleGet(Device *of, unsigned gi, Sample *sample) {
    CALL("nvmlGpmMigSampleGet", of->gpu, gi);
    for (Device *one = instances[of->gpu]; one < instances[of->gpu] + INSTANCES; one++)
        if (one->gi == (int)gi && one->place != ANY) return *sample = (Sample){one, sample->gets + 1}, SUCCESS;
    return NOT_FOUND;
}
int nvmlGpmMetricsGet(Metrics *asked) {
    if (asked->version != 1) return VERSION_MISMATCH;
    if (!asked->older || !asked->newer || asked->older == asked->newer) return INVALID_ARGUMENT;
    Device *of = asked->newer->of;
    if (!of || asked->older->of != of) return INVALID_ARGUMENT;
    CALL("nvmlGpmMetricsGet", of->gpu, of->gi);
    for (Metric *metric = asked->metrics; metric < asked->metrics + asked->count; metric++)
        metric->result = number_of(&metric->value, of->gpu, of->gi, "gpm/%u", metric->id);
    return SUCCESS;
}

/* MIG. */

int nvmlDeviceGetMigMode(Device *of, unsigned *now, unsigned *pending) {
    CALL("nvmlDeviceGetMigMode", of->gpu, ANY);
    int result = whole_into(now, of, "mig");
    return *pending = *now, result;
}
int nvmlDeviceGetMaxMigDeviceCount(Device *of, unsigned *most) {
    CALL("nvmlDeviceGetMaxMigDeviceCount", of->gpu, ANY);
    return *most = 7, SUCCESS;
}
int nvmlDeviceGetMigDeviceHandleByIndex(Device *of, unsigned place, Device **into) {
    CALL("nvmlDeviceGetMigDeviceHandleByIndex", of->gpu, ANY);
    Instance one;
    if (place >= INSTANCES || instance_at(&one, of->gpu, place)) return NOT_FOUND;
    *into = &instances[of->gpu][place];
    **into = (Device){of->gpu, place, one.gi};
    return SUCCESS;
}
int nvmlDeviceGetGpuInstanceId(Device *of, unsigned *gi) {
    CALL("nvmlDeviceGetGpuInstanceId", of->gpu, of->gi);
    return *gi = of->gi, of->place == ANY ? INVALID_ARGUMENT : SUCCESS;
}
int nvmlDeviceGetAttributes_v2(Device *of, Attributes *into) {
    CALL("nvmlDeviceGetAttributes", of->gpu, of->gi);
    memset(into, 0, sizeof *into);
    Instance one;
    if (of->place == ANY || instance_at(&one, of->gpu, of->place)) return NOT_SUPPORTED;
    unsigned gigabytes = 0;
    sscanf(one.profile, "%ug.%ugb", &into->gpu_slices, &gigabytes);
    into->compute_slices = into->gpu_slices;
    into->mib = 1024ull * gigabytes;
    return SUCCESS;
}

/* Events. */

int nvmlEventSetCreate(int **set) {
    CALL("nvmlEventSetCreate", ANY, ANY);
    return *set = &event_set, SUCCESS;
}
int nvmlEventSetFree(int *set) { return set == &event_set ? SUCCESS : INVALID_ARGUMENT; }
int nvmlDeviceRegisterEvents(Device *of, unsigned long long types, int *set) {
    CALL("nvmlDeviceRegisterEvents", of->gpu, ANY);
    return (types & XID_EVENT) && set == &event_set ? SUCCESS : INVALID_ARGUMENT;
}
int nvmlEventSetWait_v2(int *set, Event *event, unsigned milliseconds) {
    CALL("nvmlEventSetWait", ANY, ANY);
    if (set != &event_set) return INVALID_ARGUMENT;
    unsigned step = text_of(ANY, ANY, "still") ? milliseconds : 20;
    for (unsigned waited = 0; told >= xids(); waited += step) {
        hang_if_asked("nvmlEventSetWait", ANY);
        if (waited >= milliseconds) return TIMEOUT;
        usleep(1000 * step);
    }
    int gpu = 0;
    unsigned gi = ALL_SCOPES, ci = ALL_SCOPES;
    unsigned long long code = 0;
    sscanf(xid_at(told++, &gpu), "%llu %u %u", &code, &gi, &ci);
    *event = (Event){&gpus[gpu], XID_EVENT, code, gi, ci};
    return SUCCESS;
}
