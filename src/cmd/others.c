/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/others.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/config_file.h"

int tw_others_find(const char *list, const char *agent_path, tw_others *ret, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_config_found *f = tw_mem_calloc(1, sizeof *f);
    int rc = f != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory for the configuration");
    *ret = (tw_others){.nodes = {.n = 0}};
    if (rc == 0 && list == NULL)
        rc = tw_config_find(f, err);
    if (rc == 0 && f->warning[0] != '\0')
        tw_log(TW_LOG_WARN, "config", "%s", f->warning);
    if (rc == 0)
        ret->nodes = f->config.nodes;
    if (rc == 0 && list != NULL)
        rc = tw_nodes_parse(list, &ret->nodes, err);
    if (rc != 0)
        return rc;
    if (ret->nodes.n == 0) {
        ret->nodes.n = 1;
        snprintf(ret->nodes.v[0].name, sizeof ret->nodes.v[0].name, "this machine");
    }
    for (size_t i = 1; i < ret->nodes.n && agent_path != NULL; i++)
        if (snprintf(ret->nodes.v[i].agent_path, sizeof ret->nodes.v[i].agent_path, "%s",
                     agent_path) >= (int)sizeof ret->nodes.v[i].agent_path)
            return tw_err_set(err, -ENAMETOOLONG, "--agent-path %.60s...: too long", agent_path);
    return 0;
}

void tw_others_open(tw_others *o)
{
    int rc[TW_NODES_MAX] = {0};
    for (size_t i = 1; i < o->nodes.n; i++) {
        const tw_node_spec *s = &o->nodes.v[i];
        rc[i] = tw_remote_start(s->ssh, s->agent_path[0] != '\0' ? s->agent_path : NULL, &o->v[i],
                                &o->why[i]);
    }
    for (size_t i = 1; i < o->nodes.n; i++) {
        if (rc[i] == 0)
            rc[i] = tw_remote_greet(o->v[i], &o->why[i]);
        if (rc[i] != 0) {
            tw_remote_close(o->v[i]);
            o->v[i] = NULL;
        }
    }
}

void tw_others_close(tw_others *o)
{
    for (size_t i = 1; i < o->nodes.n; i++)
        if (o->v[i] != NULL)
            tw_remote_part(o->v[i]);
    for (size_t i = 1; i < o->nodes.n; i++) {
        tw_remote_close(o->v[i]);
        o->v[i] = NULL;
    }
}

int tw_others_check(const tw_others *o, tw_err *err)
{
    for (size_t i = 1; i < o->nodes.n; i++)
        if (o->v[i] == NULL) {
            *err = o->why[i];
            return err->code;
        }
    return 0;
}

const char *tw_others_name(const tw_others *o, size_t i)
{
    return o->nodes.v[i].name;
}
