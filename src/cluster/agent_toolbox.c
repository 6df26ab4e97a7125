/* SPDX-License-Identifier: Apache-2.0 */
/* toolbox's operations. "toolbox" may be broken off; "toolbox-swap" is finished or undone, whoever
 * has gone: half of it would leave a node without its container.
 *
 *    toolbox      {"do":"look","box":"vllm","changes":true,"rccl":"/x/librccl.so"}       -> {"look":{...}}
 *                 {"do":"resolve","ref":"..","repo":"..","digest":"..","machine":"..","skopeo":true}
 *                                                                         -> {"digest":..} or failed
 *                 {"do":"steps","steps":[..]}                             -> {"outs":{..}} or failed
 *    toolbox-swap {"steps":[..]}                                          -> the same
 * Told meanwhile: {"event":"step","id":..,"title":..}, {"event":"line","line":..},
 *                 {"event":"pull","done":N,"total":N}. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cluster/agent_inside.h"
#include "host/toolbox_do.h"
#include "host/toolbox_look.h"

static void tell_step(void *ctx, const char *id, const char *title)
{
    tw_agent_tell(ctx, json_pack("{s:s, s:s, s:s}", "event", "step", "id", id, "title", title));
}

static void tell_line(void *ctx, const char *line)
{
    tw_agent_tell(ctx, json_pack("{s:s, s:s}", "event", "line", "line", line));
}

static void tell_pull(void *ctx, uint64_t done, uint64_t total)
{
    tw_agent_tell(ctx, json_pack("{s:s, s:I, s:I}", "event", "pull", "done", (json_int_t)done,
                                 "total", (json_int_t)total));
}

static bool is_cut(void *ctx)
{
    const tw_agent *a = ctx;
    return tw_agent_is_cut(a) && !atomic_load(&a->life.keeps);
}

static int look(tw_agent *a, tw_json_obj *o, json_t **ret, tw_err *err)
{
    const tw_toolbox_ask ask = {.box = tw_json_text(o, "box", NULL),
                                .changes = tw_json_bool(o, "changes", false),
                                .rccl_path = tw_json_text(o, "rccl", NULL),
                                .should_stop = is_cut,
                                .ctx = a};
    if (o->rc != 0)
        return o->rc;
    TW_CLEANUP(tw_mem_freep) tw_toolbox_look *l = tw_mem_calloc(1, sizeof *l);
    int rc = l != NULL ? tw_toolbox_look_read(&ask, l, err)
                       : tw_err_set(err, -ENOMEM, "no memory to look at containers");
    if (rc == 0)
        *ret = json_pack("{s:o}", "look", tw_toolbox_look_print(l));
    return rc == 0 && *ret == NULL ? tw_err_set(err, -ENOMEM, "no memory for a look") : rc;
}

static int resolve(const tw_toolbox_face *f, tw_json_obj *o, json_t **ret, tw_err *err)
{
    const char *ref = tw_json_text(o, "ref", ""), *repo = tw_json_text(o, "repo", "");
    const char *digest = tw_json_text(o, "digest", ""), *machine = tw_json_text(o, "machine", "");
    const bool skopeo = tw_json_bool(o, "skopeo", false);
    if (o->rc != 0)
        return o->rc;
    if (ref[0] == '-' || ref[0] == '\0')
        return tw_err_set(err, -EINVAL, "toolbox: which image?");
    return tw_toolbox_resolve(ref, repo, digest, machine, skopeo, f, ret, err);
}

int tw_agent_toolbox(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    tw_json_obj o = {.file = "toolbox", .prefix = "", .v = request, .err = err};
    const tw_toolbox_face f = {.ctx = a,
                               .begins = tell_step,
                               .line = tell_line,
                               .progress = tell_pull,
                               .should_stop = is_cut};
    const char *what = tw_json_text(&o, "do", "steps");
    if (o.rc != 0)
        return o.rc;
    if (strcmp(what, "look") == 0)
        return look(a, &o, ret, err);
    if (strcmp(what, "resolve") == 0)
        return resolve(&f, &o, ret, err);
    if (strcmp(what, "steps") == 0)
        return tw_toolbox_do(json_object_get(request, "steps"), &f, ret, err);
    return tw_err_set(err, -EINVAL, "toolbox: what is to be done?");
}
