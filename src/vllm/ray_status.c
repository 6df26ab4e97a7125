/* SPDX-License-Identifier: Apache-2.0 */
#include "vllm/ray_status.h"

#include <stdio.h>
#include <string.h>

#include "base/scope.h"

enum section { NOWHERE, ACTIVE, PENDING, FAILED };

static void take_line(const char *line, enum section *at, tw_ray_status *s)
{
    static const char *const heads[] = {
        [ACTIVE] = "Active:", [PENDING] = "Pending:", [FAILED] = "Recent failures:"};
    unsigned n;
    double used, all;
    for (enum section i = ACTIVE; i <= FAILED; i++)
        if (strcmp(line, heads[i]) == 0) {
            *at = i;
            return;
        }
    if (line[0] != ' ' && line[0] != '\0')
        *at = NOWHERE;
    if (sscanf(line, " %5u node_", &n) == 1 && *at != NOWHERE)
        *(*at == ACTIVE ? &s->n_nodes : *at == PENDING ? &s->n_pending : &s->n_failed) += n;
    else if (*at == FAILED && line[0] == ' ' && strstr(line, "(no failures)") == NULL)
        s->n_failed++;
    if (sscanf(line, " %9lf/%9lf", &used, &all) == 2 && strstr(line, " GPU") != NULL) {
        s->gpus_used = used;
        s->gpus = all;
    }
}

bool tw_ray_status_parse(const char *p, size_t n, tw_ray_status *ret)
{
    tw_ray_status s = {0};
    enum section at = NOWHERE;
    bool seen = false;
    for (const char *end = p + n; p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        const size_t len = (size_t)((stop != NULL ? stop : end) - p);
        char line[256];
        snprintf(line, sizeof line, "%.*s", (int)TW_MIN(len, sizeof line - 1), p);
        take_line(line, &at, &s);
        seen = seen || at == ACTIVE;
        p += len + 1;
    }
    if (seen)
        *ret = s;
    return seen;
}
