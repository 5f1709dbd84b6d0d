/* A libnvidia-ml.so.1 of two GPUs for tests: the real nvidia-ml-py is loaded over it, so that structures, versions and
 * handles pass through the real binding. It answers with numbers a test knows and refuses what has the wrong shape.
 * Layouts follow nvml.h; GPU 1 has an XID 79 as soon as somebody waits for events. */

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, TIMEOUT = 10, VERSION_MISMATCH = 25 };
enum { UNSIGNED_INT = 1, UNSIGNED_LONG_LONG = 3 };
#define ALL_SCOPES 0xffffffffu
#define MIB (1024ull * 1024ull)

typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } Pci;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct {
    unsigned field, scope; int64_t at, latency; unsigned type; int result;
    union { double d; unsigned ui; unsigned long long ull; } value;
} Field;
typedef struct { unsigned id; int result; double value; void *info[3]; } Metric;
typedef struct { unsigned version, count; void *older, *newer; Metric metrics[]; } Metrics;
typedef struct { unsigned version, supported; } Support;
typedef struct { void *device; unsigned long long type, data; unsigned gi, ci; } Event;

static int gpus[2], event_set, samples[16], allocated, told;

static int index_of(void *device) { return (int)((int *)device - gpus); }

int nvmlInitWithFlags(unsigned flags) { return flags ? INVALID_ARGUMENT : SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return SUCCESS; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { strncpy(text, "580.95.05", size); return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = &gpus[index]; return SUCCESS; }
int nvmlDeviceGetMinorNumber(void *device, unsigned *minor) { *minor = index_of(device); return SUCCESS; }
int nvmlDeviceGetName(void *device, char *text, unsigned size) { strncpy(text, "NVIDIA Stub", size); return SUCCESS; }
int nvmlDeviceGetUUID(void *device, char *text, unsigned size) {
    strncpy(text, index_of(device) ? "GPU-b" : "GPU-a", size);
    return SUCCESS;
}
int nvmlDeviceGetPciInfo_v3(void *device, Pci *pci) {
    memset(pci, 0, sizeof *pci);
    strcpy(pci->bus_id, index_of(device) ? "00000000:3c:00.0" : "00000000:3b:00.0");
    return SUCCESS;
}

int nvmlDeviceGetClockInfo(void *device, unsigned clock, unsigned *mhz) { *mhz = 1000 + clock; return SUCCESS; }
int nvmlDeviceGetTemperature(void *device, unsigned sensor, unsigned *celsius) { *celsius = 44; return SUCCESS; }
int nvmlDeviceGetUtilizationRates(void *device, Utilization *found) {
    found->gpu = 91;
    found->memory = 33;
    return SUCCESS;
}
int nvmlDeviceGetEncoderUtilization(void *device, unsigned *percent, unsigned *period) {
    *percent = 12;
    *period = 167000;
    return SUCCESS;
}
int nvmlDeviceGetDecoderUtilization(void *device, unsigned *percent, unsigned *period) { return NOT_SUPPORTED; }
int nvmlDeviceGetMemoryInfo_v2(void *device, Memory *memory) {
    if (memory->version != (sizeof(Memory) | 2u << 24)) return VERSION_MISMATCH;
    memory->total = 143771 * MIB;
    memory->reserved = 600 * MIB;
    memory->free = 171 * MIB;
    memory->used = 143000 * MIB;
    return SUCCESS;
}
int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *reasons) {
    *reasons = 0x24; /* power cap, software thermal slowdown */
    return SUCCESS;
}
int nvmlDeviceGetFieldValues(void *device, int count, Field *fields) {
    for (Field *field = fields; field < fields + count; field++) {
        int of_links = field->field == 138 || field->field == 139;
        field->result = of_links && field->scope != ALL_SCOPES ? INVALID_ARGUMENT : SUCCESS;
        field->type = UNSIGNED_LONG_LONG;
        field->value.ull = field->field;
        if (field->field == 82 || field->field == 185) {
            field->type = UNSIGNED_INT;
            field->value.ull = 0xdeadbeef00000000ull; /* whoever reads the wrong member of the union shows it */
            field->value.ui = field->field == 82 ? 59 : 321500;
        }
        if (field->field == 230) field->result = INVALID_ARGUMENT; /* a driver older than the field */
    }
    return SUCCESS;
}

int nvmlGpmQueryDeviceSupport(void *device, Support *support) {
    support->supported = 1;
    return support->version == 1 ? SUCCESS : VERSION_MISMATCH;
}
int nvmlGpmSampleAlloc(void **sample) { *sample = &samples[allocated++]; return SUCCESS; }
int nvmlGpmSampleGet(void *device, void *sample) { ++*(int *)sample; return SUCCESS; }
int nvmlGpmMetricsGet(Metrics *asked) {
    if (asked->version != 1) return VERSION_MISMATCH;
    if (!asked->older || !asked->newer || asked->older == asked->newer) return INVALID_ARGUMENT;
    for (unsigned place = 0; place < asked->count; place++) {
        asked->metrics[place].result = SUCCESS;
        asked->metrics[place].value = asked->metrics[place].id == 10 ? NAN : asked->metrics[place].id;
    }
    return SUCCESS;
}

int nvmlEventSetCreate(void **set) { *set = &event_set; return SUCCESS; }
int nvmlDeviceRegisterEvents(void *device, unsigned long long types, void *set) {
    return types == 8 && set == &event_set ? SUCCESS : INVALID_ARGUMENT;
}
int nvmlEventSetWait_v2(void *set, Event *event, unsigned milliseconds) {
    if (told++) {
        usleep(milliseconds * 1000);
        return TIMEOUT;
    }
    event->device = &gpus[1];
    event->type = 8;
    event->data = 79;
    return SUCCESS;
}
