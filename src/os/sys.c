/* SPDX-License-Identifier: Apache-2.0 */
#include "os/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "base/scope.h"
#include "os/fd.h"

/* The first bytes of a small text file of /proc or /sys, NUL-terminated; "" when it is not there. */
static void read_text(const char *path, char *out, size_t out_bytes)
{
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    while (fd >= 0 && len < out_bytes - 1) {
        ssize_t n = read(fd, out + len, out_bytes - 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    out[len] = '\0';
}

/* The rest of the line that begins with key; NULL when there is none. */
static const char *find_value(const char *text, const char *key)
{
    size_t n_key = strlen(key);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, n_key) != 0)
            continue;
        return line + n_key + strspn(line + n_key, " \t:");
    }
    return NULL;
}

static uint64_t read_kib(const char *path, const char *key)
{
    char text[8192];
    read_text(path, text, sizeof(text));
    const char *value = find_value(text, key);
    uint64_t kib = 0;
    for (; value != NULL && *value >= '0' && *value <= '9'; value++)
        kib = kib * 10 + (uint64_t)(*value - '0');
    return kib * 1024;
}

unsigned tw_sys_cpus(int *cpus, unsigned max)
{
    cpu_set_t sets[8]; /* machines with more than CPU_SETSIZE cpus refuse a single set */
    CPU_ZERO_S(sizeof(sets), sets);
    unsigned n = 0;
    if (sched_getaffinity(0, sizeof(sets), sets) == 0) {
        for (int cpu = 0; cpu < (int)(8 * sizeof(sets)); cpu++) {
            if (!CPU_ISSET_S((size_t)cpu, sizeof(sets), sets))
                continue;
            if (n < max)
                cpus[n] = cpu;
            n++;
        }
    }
    if (n == 0) { /* unknown: one is there, since we run */
        n = 1;
        if (max > 0)
            cpus[0] = 0;
    }
    return n;
}

uint64_t tw_sys_mem_available_bytes(void)
{
    return read_kib("/proc/meminfo", "MemAvailable");
}

uint64_t tw_sys_cache_bytes(void)
{
    static const int levels[] = {_SC_LEVEL4_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE,
                                 _SC_LEVEL2_CACHE_SIZE};
    for (size_t i = 0; i < TW_ARRAY_LEN(levels); i++) {
        const int64_t n = sysconf(levels[i]);
        if (n > 0)
            return (uint64_t)n;
    }
    return 0;
}

uint64_t tw_sys_rss_bytes(void)
{
    return read_kib("/proc/self/status", "VmRSS");
}

uint64_t tw_sys_rss_peak_bytes(void)
{
    return read_kib("/proc/self/status", "VmHWM");
}

void tw_sys_rss_peak_reset(void)
{
    int fd TW_CLEANUP(tw_fd_closep) = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "5", 1) != 1)
        return;
}

void tw_sys_cpu_name(char *out, size_t out_bytes)
{
    char text[8192];
    if (out_bytes == 0)
        return;
    read_text("/proc/cpuinfo", text, sizeof(text));
    const char *name = find_value(text, "model name");
    if (name == NULL) { /* Arm: boards name themselves in the device tree */
        read_text("/sys/firmware/devicetree/base/model", text, sizeof(text));
        name = text[0] != '\0' ? text : NULL;
    }
    struct utsname uts;
    if (name == NULL)
        name = uname(&uts) == 0 ? uts.machine : "unknown cpu";
    size_t n = TW_MIN(strcspn(name, "\n"), out_bytes - 1);
    memcpy(out, name, n);
    out[n] = '\0';
}

int tw_sys_random(void *out, size_t n)
{
    uint8_t *p = out;
    while (n > 0) {
        ssize_t n_now = getrandom(p, n, 0);
        if (n_now < 0 && errno == EINTR)
            continue;
        if (n_now <= 0)
            return n_now < 0 ? -errno : -EIO;
        p += n_now;
        n -= (size_t)n_now;
    }
    return 0;
}

void tw_sys_fp_strict(void)
{
#if defined(__x86_64__)
    enum { FTZ = 0x8000, ROUNDING = 0x6000, DAZ = 0x0040 };
    unsigned csr = _mm_getcsr();
    if (TW_UNLIKELY((csr & (FTZ | ROUNDING | DAZ)) != 0))
        _mm_setcsr(csr & ~(unsigned)(FTZ | ROUNDING | DAZ));
#elif defined(__aarch64__)
    uint64_t fpcr, off = (UINT64_C(1) << 24) | (UINT64_C(3) << 22) | (UINT64_C(1) << 19) |
                         (UINT64_C(3) << 0); /* FZ, RMode, FZ16, FIZ and AH */
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    if (TW_UNLIKELY((fpcr & off) != 0))
        __asm__ volatile("msr fpcr, %0" : : "r"(fpcr & ~off));
#endif
}
