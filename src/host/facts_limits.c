/* SPDX-License-Identifier: Apache-2.0 */
/* Locked memory and open files: what is set, and what a child of ours is truly let have. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/scope.h"
#include "host/facts_reader.h"

enum { CAP_IPC_LOCK_BIT = 14 };

static tw_count limit_of(rlim_t v)
{
    return tw_count_of(v == RLIM_INFINITY ? TW_BYTES_UNLIMITED : v);
}

/* mlock2 on fault counts against the limit without touching a page. */
static bool may_lock(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED)
        return false;
    bool good = mlock2(p, bytes, MLOCK_ONFAULT) == 0;
    (void)munmap(p, bytes);
    return good;
}

/* The largest step that the kernel lets us lock, and so a child: it inherits limit and right, whatever
 * a unit or a file says that it should have. */
static tw_count try_to_lock(void)
{
    static const size_t steps[] = {1u << 16,        1u << 20,        8u << 20,        64u << 20,
                                   (size_t)1 << 30, (size_t)8 << 30, (size_t)64 << 30};
    size_t n = 0;
    while (n < TW_ARRAY_LEN(steps) && may_lock(steps[n]))
        n++;
    if (n == TW_ARRAY_LEN(steps))
        return tw_count_of(TW_BYTES_UNLIMITED);
    return tw_count_of(n > 0 ? steps[n - 1] : 0);
}

/* "Max locked memory  8388608  8388608  bytes" */
static tw_count limit_of_process(tw_facts_reader *r, uint32_t pid)
{
    char path[48], soft[32];
    tw_text_set(path, sizeof path, "proc/%u/limits", pid);
    if (!tw_reader_text(r, path))
        return (tw_count){0};
    const char *line = strstr(r->work, "Max locked memory");
    unsigned long long v;
    if (line == NULL || sscanf(line + 17, "%31s", soft) != 1)
        return (tw_count){0};
    if (strcmp(soft, "unlimited") == 0)
        return tw_count_of(TW_BYTES_UNLIMITED);
    return sscanf(soft, "%llu", &v) == 1 ? tw_count_of(v) : (tw_count){0};
}

static void find_user_manager(tw_facts_reader *r, tw_facts_limits *l)
{
    for (size_t i = 0; i < r->n_procs; i++)
        if (strcmp(r->procs[i].comm, "systemd") == 0 && r->procs[i].pid != 1 &&
            r->procs[i].uid == r->f->user.uid.v)
            l->memlock_user_manager = limit_of_process(r, r->procs[i].pid);
}

static void take_rules(tw_facts_reader *r, const char *path, tw_facts_limits *l)
{
    char *rest = r->work, *line;
    if (!tw_reader_text(r, path))
        return;
    while ((line = tw_text_line(&rest)) != NULL)
        if (line[strspn(line, " \t")] != '#' && strstr(line, "memlock") != NULL)
            tw_text_set(l->memlock_rule, sizeof l->memlock_rule, "%s", line);
}

static void read_rules(tw_facts_reader *r, tw_facts_limits *l)
{
    take_rules(r, "etc/security/limits.conf", l);
    tw_facts_names(r->root, "etc/security/limits.d", "", &r->names);
    for (size_t i = 0; i < r->names.n; i++) {
        char path[160];
        tw_text_set(path, sizeof path, "etc/security/limits.d/%s", r->names.v[i]);
        take_rules(r, path, l);
    }
}

static tw_tri find_capability(tw_facts_reader *r)
{
    char text[4096];
    unsigned long long caps;
    if (!tw_facts_text(r->root, "proc/self/status", text, sizeof text))
        return TW_UNKNOWN;
    const char *line = strstr(text, "\nCapEff:");
    if (line == NULL || sscanf(line + 8, "%llx", &caps) != 1)
        return TW_UNKNOWN;
    return tw_tri_of((caps >> CAP_IPC_LOCK_BIT & 1) != 0);
}

void tw_reader_limits(tw_facts_reader *r)
{
    tw_facts_limits *l = &r->f->limits;
    struct rlimit lim;
    read_rules(r, l);
    find_user_manager(r, l);
    l->memlock_cap = find_capability(r);
    if (r->root != NULL) {
        l->memlock_soft = limit_of_process(r, 1); /* a recording has no process of ours */
        return;
    }
    if (getrlimit(RLIMIT_MEMLOCK, &lim) == 0) {
        l->memlock_soft = limit_of(lim.rlim_cur);
        l->memlock_hard = limit_of(lim.rlim_max);
    }
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
        l->nofile_soft = limit_of(lim.rlim_cur);
        l->nofile_hard = limit_of(lim.rlim_max);
    }
    l->memlock_child = try_to_lock();
}
