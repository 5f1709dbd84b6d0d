/* A libdcgm.so.4 for tests: it says what the file named by FAKE_DCGM says, and writes its calls to that file's name
   with .calls behind it. Structures are laid out here a second time, by dcgm_structs.h's own sizes.

   Lines of the file: return FUNCTION CODE | hang FUNCTION | crash FUNCTION | version HEX | instance ENTITY GPU-UUID ID
   | value GROUP ENTITY FIELD TYPE TEXT STATUS AGE-SECONDS */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

typedef struct { unsigned version, persist, timeout_ms, is_unix; } Connect;
typedef struct {
    unsigned version; unsigned short field, type; int status; int64_t ts;
    union { int64_t i64; double dbl; char str[256]; char blob[4096]; } value;
} Value;
typedef struct {
    unsigned version, count;
    struct { int group; unsigned id; int parent_group; unsigned parent; char uuid[128]; unsigned index, instance, compute, profile, slices; } of[448];
} Hierarchy;
_Static_assert(sizeof(Connect) == 16 && sizeof(Value) == 4120 && sizeof(Hierarchy) == 73480, "dcgm_structs.h");
typedef int (*Take)(int, unsigned, Value *, int, void *);

static struct { unsigned short ids[128]; int count; } field_groups[64];
static int field_group_count, handles;

static FILE *state(void) { return fopen(getenv("FAKE_DCGM"), "r"); }

static int called(const char *name, const char *about) {
    char path[4096], line[1024], what[64], of[64], rest[64];
    int code = 0, hang = 0;
    snprintf(path, sizeof path, "%s.calls", getenv("FAKE_DCGM"));
    FILE *file = fopen(path, "a");
    fprintf(file, "%s %s\n", name, about);
    fclose(file);
    file = state();
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "%63s %63s %63s", what, of, rest) >= 2 && !strcmp(of, name)) {
            if (!strcmp(what, "return")) code = atoi(rest);
            if (!strcmp(what, "hang")) hang = 1;
            if (!strcmp(what, "crash")) _exit(3);
        }
    fclose(file);
    while (hang) pause();
    return code;
}

int dcgmInit(void) { return called("dcgmInit", ""); }

int dcgmConnect_v2(const char *address, Connect *with, uintptr_t *handle) {
    char about[256];
    snprintf(about, sizeof about, "%s %u", address, with->is_unix);
    *handle = 1000 + ++handles;
    return with->version != 0x2000010 ? -12 : called("dcgmConnect_v2", about);
}

int dcgmDisconnect(uintptr_t handle) { (void)handle; return called("dcgmDisconnect", ""); }

int dcgmGroupCreate(uintptr_t handle, int type, const char *name, uintptr_t *id) {
    (void)handle; (void)name;
    *id = 7;
    return type != 3 ? -1 : called("dcgmGroupCreate", "");
}

int dcgmFieldGroupCreate(uintptr_t handle, int count, const unsigned short *ids, const char *name, uintptr_t *id) {
    (void)handle; (void)name;
    if (count < 1 || count > 128) return -1;
    memcpy(field_groups[field_group_count].ids, ids, count * sizeof *ids);
    field_groups[field_group_count].count = count;
    *id = 100 + field_group_count++;
    return called("dcgmFieldGroupCreate", "");
}

int dcgmWatchFields(uintptr_t handle, uintptr_t group, uintptr_t fields, long long every, double age, int samples) {
    char about[256];
    (void)handle;
    snprintf(about, sizeof about, "%lx %d %lld %g %d", (unsigned long)group, field_groups[fields - 100].count, every, age, samples);
    int code = called("dcgmWatchFields", about);
    return field_groups[fields - 100].count > 5 ? code : 0; /* a code is for the long list alone */
}

int dcgmUpdateAllFields(uintptr_t handle, int wait) { (void)handle; return wait != 1 ? -1 : called("dcgmUpdateAllFields", ""); }

int dcgmGetGpuInstanceHierarchy(uintptr_t handle, Hierarchy *into) {
    char line[1024], uuid[128];
    unsigned entity, id;
    (void)handle;
    if (into->version != 0x2011f08) return -12;
    into->count = 0;
    FILE *file = state();
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "instance %u %127s %u", &entity, uuid, &id) == 3)
            for (int kind = 4; kind <= 5; kind++) { /* each has one compute instance */
                memset(&into->of[into->count], 0xff, sizeof into->of[0]);
                into->of[into->count].group = kind;
                into->of[into->count].id = entity;
                strcpy(into->of[into->count].uuid, uuid);
                into->of[into->count++].instance = id;
            }
    fclose(file);
    return called("dcgmGetGpuInstanceHierarchy", "");
}

int dcgmGetLatestValues_v2(uintptr_t handle, uintptr_t group, uintptr_t fields, Take take, void *data) {
    static Value value;
    char line[1024], text[256], type;
    int of, status, code = called("dcgmGetLatestValues_v2", "");
    unsigned entity, field, version = 0x1001018;
    double age;
    struct timeval now;
    (void)handle;
    gettimeofday(&now, NULL);
    FILE *file = state();
    while (code == 0 && fgets(line, sizeof line, file)) {
        sscanf(line, "version %x", &version);
        if (sscanf(line, "value %d %u %u %c %255s %d %lf", &of, &entity, &field, &type, text, &status, &age) != 7) continue;
        if (of != (group == 0x7fffffff ? 1 : 4)) continue;
        for (int place = 0; place < field_groups[fields - 100].count; place++)
            if (field_groups[fields - 100].ids[place] == field) {
                memset(&value, 0, sizeof value);
                value.version = version;
                value.field = field;
                value.type = type;
                value.status = status;
                value.ts = (now.tv_sec - age) * 1e6 + now.tv_usec;
                if (type == 'i') value.value.i64 = strtoll(text, NULL, 0);
                if (type == 'd') value.value.dbl = strtod(text, NULL);
                if (type == 's') strcpy(value.value.str, text);
                if (take(of, entity, &value, 1, data)) code = -1;
            }
    }
    fclose(file);
    return code;
}
