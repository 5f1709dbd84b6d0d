/* The state file of the NVML stub: what it answers is written by a test and read anew whenever it changes.
 *
 * Its path is in the environment variable NVML_STUB. One line an entry, `KEY VALUE…`; `#` begins a comment line.
 * KEY@1 holds for GPU 1 alone and KEY@1.2 for its GPU instance 2; plain KEY for all. The most special one wins.
 * A figure the file does not have is not supported. Replace the file by renaming a new one over it, never in place.
 *
 *   gpus 8                          GPUs, as counted when the library is opened: hot-plug shows to a new process alone
 *   driver 580.95.05                versions; also `nvml` and `cuda` (13000)
 *   name NVIDIA H200                uuid@1 TEXT, bus@1 00000000:3b:00.0, minor@1 N: made up where they are not given
 *   FUNCTION VALUE                  result of a call that gives one number: nvmlDeviceGetPowerUsage 321500
 *   FUNCTION/MEMBER VALUE           member of the structure it fills, or its second argument: nvmlDeviceGetMemoryInfo/free,
 *                                   nvmlDeviceGetClockInfo/1; names are NVML's less _v2 and the like
 *   field/82 59                     field value, of scope 0; field/165/3 of link 3; field/138/all of all links
 *                                   a number with a point is a double, one below 2^32 an unsigned int, else unsigned long long
 *   gpm/1 62.5                      GPM metric of the GPU; gpm/1@0.7 of its instance 7; `nan` is blank. None: no GPM
 *   ANY KEY error 4                 this figure is refused with that nvmlReturn_t; FUNCTION error 4: the whole call is
 *   all error 9                     every call fails so, as after the driver was unloaded; lost@1 1: all of GPU 1's, with 15
 *   hang/FUNCTION@1 1               the call never returns; crash/FUNCTION 1: the process ends in it
 *   burn_us 200                     processor time each call takes; sleep_us 200: how long each waits; sleep_us/FUNCTION 5000
 *   chatter 1                       the library prints to stdout
 *   still 1                         nothing will happen: a wait for events does not look for any, which costs nothing
 *   xid@1 79                        XID events, told in the order of their lines. Lines that stand here when the library
 *                                   is opened are past: nobody is told of them. xid@1 79 7 0: of GPU instance 7
 *   mig@0 1                         MIG mode; mig/PLACE@0 GI CI UUID PROFILE: an instance, its figures at KEY@0.GI
 *   pids@0 4242 4243                processes that compute there; used/4242 BYTES (or `unknown`), busy/4242 PERCENT
 */
#ifndef STUB_STATE_H
#define STUB_STATE_H

enum { ANY = -1 };

/* One call from its beginning to its end: burns the rest of its processor time when it goes out of scope. */
typedef struct { long long began_ns, burn_ns; int result; } Call;

Call call_begins(const char *function, int gpu, int gi);
void call_ends(Call *call);
void hang_if_asked(const char *function, int gpu);

/* Every function begins with this: hangs, crashes, waits or fails as the state says. */
#define CALL(function, gpu, gi)                                                         \
    Call call __attribute__((cleanup(call_ends))) = call_begins(function, gpu, gi);     \
    if (call.result) return call.result

/* The text of an entry, without its key; NULL where there is none. Stays valid for ever. `gpu` and `gi` may be ANY. */
const char *text_of(int gpu, int gi, const char *key, ...) __attribute__((format(printf, 3, 4)));

/* 0 and the number of an entry, or the nvmlReturn_t it is refused with; 3 (not supported) where there is none. */
int number_of(double *number, int gpu, int gi, const char *key, ...) __attribute__((format(printf, 4, 5)));
int whole_of(unsigned long long *whole, int gpu, int gi, const char *key, ...) __attribute__((format(printf, 4, 5)));

/* XID lines in the file, and the `number`th (from 0) of them: its GPU and its text. */
int xids(void);
const char *xid_at(int number, int *gpu);

#endif
