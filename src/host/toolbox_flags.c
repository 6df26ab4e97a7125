/* SPDX-License-Identifier: Apache-2.0 */
#include "host/toolbox_flags.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"

typedef struct joined {
    char *out;
    size_t n, size;
    const char *join;
} joined;

static void add(joined *j, const char *fmt, ...) TW_PRINTF(2, 3);
static void add(joined *j, const char *fmt, ...)
{
    va_list ap;
    if (j->n > 0 && j->n < j->size)
        j->n += (size_t)snprintf(j->out + j->n, j->size - j->n, "%s", j->join);
    va_start(ap, fmt);
    if (j->n < j->size)
        j->n += (size_t)vsnprintf(j->out + j->n, j->size - j->n, fmt, ap);
    va_end(ap);
}

/* More than the hard limit only root may give; a container that asks for it would not start. */
static void add_memlock(const tw_toolbox_look *l, joined *j)
{
    const bool unlimited =
        l->may_raise || !l->memlock_hard.known || l->memlock_hard.v == TW_BYTES_UNLIMITED;
    if (unlimited)
        add(j, "--ulimit=memlock=-1:-1");
    else
        add(j, "--ulimit=memlock=%llu:%llu", (unsigned long long)l->memlock_hard.v,
            (unsigned long long)l->memlock_hard.v);
}

void tw_toolbox_flags_print(const tw_toolbox_look *l, const tw_toolbox_want *w, bool with_labels,
                            const char *join, char *out, size_t out_bytes)
{
    joined j = {.out = out, .size = out_bytes, .join = join};
    out[0] = '\0';
    for (size_t i = 0; i < l->n_devices; i++)
        add(&j, "--device=%s", l->devices[i].path);
    if (!l->root && strcmp(l->runtime, "crun") == 0)
        add(&j, "--group-add=keep-groups");
    add_memlock(l, &j);
    for (size_t i = 0; with_labels && w->rccl_path != NULL && i < TW_MAX(w->n_rccl, (size_t)1); i++)
        add(&j, "--volume=%s:%s:ro", w->rccl_path,
            w->n_rccl > 0 ? w->rccl[i] : TW_TOOLBOX_RCCL_LATER);
    if (with_labels && w->rccl_path != NULL)
        add(&j, "--label=twinax.rccl=%s", l->rccl_sha256);
    if (with_labels) {
        char flags[600];
        tw_toolbox_flags_print(l, w, false, ",", flags, sizeof flags);
        add(&j, "--label=twinax.flags=%s", flags);
    }
}
