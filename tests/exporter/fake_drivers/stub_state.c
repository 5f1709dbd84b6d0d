/* Reads the NVML stub's state file, described in stub_state.h. Old states are never freed: their texts are lent out. */

#define _GNU_SOURCE
#include "stub_state.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 1 << 14, NOT_SUPPORTED = 3, LOST = 15, KEY = 96, MOST_XIDS = 256 };

typedef struct { char *key, *text; } Entry;
typedef struct {
    struct timespec changed;
    ino_t file;
    Entry slots[SLOTS];
    Entry told[MOST_XIDS];
    int xids;
} State;

static State *volatile state;
static pthread_mutex_t reading = PTHREAD_MUTEX_INITIALIZER;

static Entry *slot(State *of, const char *key) {
    unsigned hash = 2166136261u;
    for (const char *at = key; *at; at++) hash = (hash ^ (unsigned char)*at) * 16777619u;
    for (unsigned place = hash % SLOTS;; place = (place + 1) % SLOTS)
        if (!of->slots[place].key || !strcmp(of->slots[place].key, key)) return &of->slots[place];
}

static void take(State *into, char *line) {
    char *text = line + strcspn(line, " ");
    if (*line == '#' || !*line) return;
    if (*text) *text++ = 0;
    if (!strncmp(line, "xid@", 4)) {
        if (into->xids < MOST_XIDS) into->told[into->xids++] = (Entry){line + 4, text};
        return;
    }
    *slot(into, line) = (Entry){line, text};
}

static State *current(void) {
    const char *path = getenv("NVML_STUB");
    struct stat found;
    if (!path || stat(path, &found)) {
        fprintf(stderr, "NVML_STUB does not name a state file\n");
        abort();
    }
    State *now = state;
    if (now && now->file == found.st_ino && !memcmp(&now->changed, &found.st_mtim, sizeof now->changed)) return now;
    pthread_mutex_lock(&reading);
    FILE *file = fopen(path, "r");
    State *fresh = calloc(1, sizeof *fresh);
    if (file && fresh && !fstat(fileno(file), &found)) {
        fresh->file = found.st_ino;
        fresh->changed = found.st_mtim;
        char *line = NULL;
        size_t room = 0;
        for (ssize_t length; (length = getline(&line, &room, file)) >= 0;) {
            if (length && line[length - 1] == '\n') line[length - 1] = 0;
            take(fresh, strdup(line));
        }
        free(line);
        state = fresh;
    }
    if (file) fclose(file);
    pthread_mutex_unlock(&reading);
    return state;
}

static const char *look_up(int gpu, int gi, const char *key) {
    State *now = current();
    char special[KEY + 32];
    if (gi != ANY) {
        snprintf(special, sizeof special, "%s@%d.%d", key, gpu, gi);
        return slot(now, special)->text; /* an instance has no figure but its own */
    }
    snprintf(special, sizeof special, "%s@%d", key, gpu);
    const char *text = gpu == ANY ? NULL : slot(now, special)->text;
    return text ? text : slot(now, key)->text;
}

#define FORMATTED(into, key)                         \
    char into[KEY];                                  \
    va_list arguments;                               \
    va_start(arguments, key);                        \
    vsnprintf(into, sizeof into, key, arguments);    \
    va_end(arguments)

const char *text_of(int gpu, int gi, const char *key, ...) {
    FORMATTED(name, key);
    return look_up(gpu, gi, name);
}

static int refusal(const char *text) {
    if (!text) return NOT_SUPPORTED;
    return strncmp(text, "error ", 6) ? 0 : atoi(text + 6);
}

int number_of(double *number, int gpu, int gi, const char *key, ...) {
    FORMATTED(name, key);
    const char *text = look_up(gpu, gi, name);
    int result = refusal(text);
    if (!result) *number = strtod(text, NULL);
    return result;
}

int whole_of(unsigned long long *whole, int gpu, int gi, const char *key, ...) {
    FORMATTED(name, key);
    const char *text = look_up(gpu, gi, name);
    int result = refusal(text);
    if (!result) *whole = strtoull(text, NULL, 0);
    return result;
}

int xids(void) { return current()->xids; }

const char *xid_at(int number, int *gpu) {
    Entry found = current()->told[number];
    *gpu = atoi(found.key);
    return found.text;
}

static long long burnt_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static int asked_for(const char *what, const char *function, int gpu) {
    unsigned long long yes = 0;
    return !whole_of(&yes, gpu, ANY, "%s/%s", what, function) && yes;
}

void hang_if_asked(const char *function, int gpu) {
    while (asked_for("hang", function, gpu)) pause();
}

Call call_begins(const char *function, int gpu, int gi) {
    unsigned long long time_us = 0, lost = 0;
    Call call = {burnt_ns(), 0, 0};
    if (!whole_of(&time_us, gpu, ANY, "burn_us")) call.burn_ns = 1000ll * time_us;
    if (text_of(ANY, ANY, "chatter")) (void)!write(1, "NVRM: a library speaks\n", 23);
    if (asked_for("crash", function, gpu)) _exit(9);
    if (!whole_of(&time_us, gpu, ANY, "sleep_us/%s", function) || !whole_of(&time_us, gpu, ANY, "sleep_us"))
        usleep(time_us);
    hang_if_asked(function, gpu);
    const char *all = text_of(ANY, ANY, "all"), *own = text_of(gpu, gi, "%s", function);
    call.result = all ? refusal(all) : own ? refusal(own) : 0;
    if (gpu != ANY && !whole_of(&lost, gpu, ANY, "lost") && lost) call.result = LOST;
    return call;
}

void call_ends(Call *call) {
    while (burnt_ns() < call->began_ns + call->burn_ns) {
    }
}
