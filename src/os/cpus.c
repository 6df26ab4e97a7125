/* SPDX-License-Identifier: Apache-2.0 */
#include "os/cpus.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/scope.h"
#include "os/file.h"
#include "os/sys.h"

enum { PATH_BYTES = 256, NODES_MAX = 64, LIST_MAX_BYTES = 64 * 1024 };

typedef struct place {
    int cpu, node, i_thread; /* i_thread: among those of its core */
} place;

/* "0-3,8,10-11": what is at position i of the list; -1: it has not so many. */
static int nth_of(const char *list, int i)
{
    for (const char *at = list; *at >= '0' && *at <= '9';) {
        char *end;
        const int from = (int)strtoul(at, &end, 10);
        int to = from;
        if (*end == '-')
            to = (int)strtoul(end + 1, &end, 10);
        if (to < from || to - from > TW_CPU_MAX * 8)
            return -1;
        if (i <= to - from)
            return from + i;
        i -= to - from + 1;
        at = *end == ',' ? end + 1 : end;
    }
    return -1;
}

static int position_in(const char *list, int cpu)
{
    for (int i = 0, found; (found = nth_of(list, i)) >= 0; i++)
        if (found == cpu)
            return i;
    return -1;
}

static bool read_list(const char *path, tw_buf *buf)
{
    tw_err ignored;
    tw_buf_reset(buf);
    return tw_file_read(path, buf, &ignored) == 0 && buf->len > 0;
}

static int by_place(const void *pa, const void *pb)
{
    const place *a = pa, *b = pb;
    if (a->node != b->node)
        return a->node - b->node;
    if (a->i_thread != b->i_thread)
        return a->i_thread - b->i_thread;
    return a->cpu - b->cpu;
}

unsigned tw_cpus_order(const char *root, int *cpus, unsigned n)
{
    TW_CLEANUP(tw_buf_done) tw_buf list = TW_BUF(LIST_MAX_BYTES);
    place v[TW_CPU_MAX];
    char path[PATH_BYTES];
    n = TW_MIN(n, (unsigned)TW_CPU_MAX);
    for (unsigned i = 0; i < n; i++) {
        v[i] = (place){.cpu = cpus[i]};
        snprintf(path, sizeof(path), "%s/devices/system/cpu/cpu%d/topology/thread_siblings_list",
                 root, cpus[i]);
        if (read_list(path, &list))
            v[i].i_thread = TW_MAX(position_in(list.data, cpus[i]), 0);
    }
    for (int node = 0; node < NODES_MAX; node++) {
        snprintf(path, sizeof(path), "%s/devices/system/node/node%d/cpulist", root, node);
        if (!read_list(path, &list))
            continue; /* nodes may have gaps between their numbers */
        for (unsigned i = 0; i < n; i++)
            if (position_in(list.data, cpus[i]) >= 0)
                v[i].node = node;
    }
    qsort(v, n, sizeof(v[0]), by_place);
    unsigned n_nodes = 1;
    for (unsigned i = 0; i < n; i++) {
        cpus[i] = v[i].cpu;
        n_nodes += i > 0 && v[i].node != v[i - 1].node;
    }
    return n_nodes;
}
