/* SPDX-License-Identifier: Apache-2.0 */
#include "os/bus.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/scope.h"

/* The largest models are in some 200 files. */
enum { MAPS_MAX = 512, PATH_BYTES = 1024 };

typedef struct known_map {
    _Atomic uintptr_t from; /* 0: free; 1: being filled */
    size_t n_bytes;
    bool is_cache;
    char path[PATH_BYTES];
} known_map;

static known_map g_maps[MAPS_MAX];
static atomic_bool g_told;
static struct sigaction g_before; /* a sanitizer's, which tells where it was */
static void (*g_end)(int);

void tw_bus_add(const void *p, size_t n_bytes, const char *path, bool is_cache)
{
    const size_t len = strlen(path);
    for (size_t i = 0; i < MAPS_MAX && p != NULL && len < PATH_BYTES; i++) {
        uintptr_t none = 0;
        if (!atomic_compare_exchange_strong(&g_maps[i].from, &none, 1))
            continue;
        g_maps[i].n_bytes = n_bytes;
        g_maps[i].is_cache = is_cache;
        memcpy(g_maps[i].path, path, len + 1);
        atomic_store(&g_maps[i].from, (uintptr_t)p);
        return;
    }
}

void tw_bus_remove(const void *p)
{
    for (size_t i = 0; i < MAPS_MAX && p != NULL; i++)
        if (atomic_load(&g_maps[i].from) == (uintptr_t)p) {
            atomic_store(&g_maps[i].from, 0);
            return;
        }
}

/* Everything from here on is allowed in a handler. */
static struct iovec text(const char *s)
{
    return (struct iovec){.iov_base = (void *)(uintptr_t)s, .iov_len = strlen(s)};
}

static void tell_and_end(const known_map *m)
{
    static const char why[] =
        ": a part of it cannot be read any more: the disk fails (see dmesg), or "
        "the file was cut short while it was in use; ";
    const bool is_removed = m->is_cache && unlink(m->path) == 0;
    const struct iovec v[] = {text("twinax: "), text(m->path), text(why),
                              text(is_removed
                                       ? "it was removed, and will be made anew: start again\n"
                                       : "check the disk, fetch the file anew\n")};
    (void)!writev(STDERR_FILENO, v, (int)TW_ARRAY_LEN(v));
    g_end(1);
}

static void on_bus(int sig, siginfo_t *info, void *context)
{
    (void)context;
    const bool is_sent = info->si_code <= 0; /* by a process: nothing was touched */
    const uintptr_t at = (uintptr_t)info->si_addr;
    for (size_t i = 0; i < MAPS_MAX && !is_sent; i++) {
        const uintptr_t from = atomic_load(&g_maps[i].from);
        if (from <= 1 || at < from || at - from >= g_maps[i].n_bytes)
            continue;
        if (!atomic_exchange(&g_told, true))
            tell_and_end(&g_maps[i]);
        for (;;) /* another thread is telling it */
            pause();
    }
    sigaction(sig, &g_before, NULL); /* the same access again, and its end */
    if (is_sent)
        (void)raise(sig); /* nothing comes again by itself */
}

void tw_bus_init(void (*end)(int status))
{
    g_end = end;
    struct sigaction tell = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
    sigfillset(&tell.sa_mask);
    sigaction(SIGBUS, &tell, &g_before);
}
