/* SPDX-License-Identifier: Apache-2.0 */
/* The operation "models": what this node's cache holds, whether it is as it was, and away with it.
 *
 *   {"do":"list"}                      -> {"cache","models":[{"model","commit","refs","path","files","missing","bytes","whole","weights","why"}]}
 *   {"do":"verify","model","commit","quick"}   -> {"files","bytes","bad":[{"file","state","why"}]}; tells {"event":"hashed","bytes"}
 *   {"do":"rm","model","commit"}       -> {"freed_bytes"} */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cluster/agent_inside.h"
#include "hub/cache.h"
#include "hub/verified.h"

#define TELL_NS (200 * TW_NS_PER_MS)

static json_t *print_model(const tw_hub_model *m)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:b, s:b, s:s}", "model", m->repo,
                     "commit", m->commit, "refs", m->refs, "path", m->path, "files",
                     (json_int_t)m->n_files, "missing", (json_int_t)m->n_missing, "bytes",
                     (json_int_t)m->bytes, "whole", m->is_whole, "weights", m->has_weights, "why",
                     m->is_whole ? "" : m->why);
}

static int list(const tw_hub_place *p, json_t **ret, tw_err *err)
{
    TW_CLEANUP(tw_hub_models_done) tw_hub_models l = {.n = 0};
    int rc = tw_hub_scan(p, NULL, &l, err);
    json_t *v = json_array();
    for (size_t i = 0; i < l.n && rc == 0; i++)
        (void)!json_array_append_new(v, print_model(&l.v[i]));
    *ret = rc == 0 ? json_pack("{s:s, s:o}", "cache", p->cache, "models", v) : NULL;
    if (rc != 0)
        json_decref(v);
    return rc;
}

typedef struct verify {
    tw_agent *a;
    const tw_hub_model *m;
    json_t *bad;
    const tw_hub_hashes *known; /* NULL: every byte is read */
    uint64_t bytes, told_ns;
    size_t n_files;
} verify;

static bool on_bytes(void *arg, uint64_t n)
{
    verify *v = arg;
    const uint64_t now = tw_clock_now_ns();
    v->bytes += n;
    if (now - v->told_ns >= TELL_NS) {
        v->told_ns = now;
        tw_agent_tell(v->a,
                      json_pack("{s:s, s:I}", "event", "hashed", "bytes", (json_int_t)v->bytes));
    }
    return !tw_agent_is_cut(v->a);
}

static void add_bad(verify *v, const tw_hub_seen *f, const char *state, const char *why)
{
    (void)!json_array_append_new(v->bad, json_pack("{s:s, s:s, s:s}", "file", f->path, "state",
                                                   state, "why", why));
}

/* Hashed before, and not changed since. */
static bool is_known_good(const verify *v, const tw_hub_seen *f)
{
    char got[TW_HUB_ETAG_BYTES];
    return v->known != NULL &&
           tw_hub_hashes_find(v->known, f->st, (unsigned)strlen(f->etag), got) &&
           strcmp(got, f->etag) == 0;
}

static int verify_file(void *arg, const tw_hub_seen *f, tw_err *err)
{
    verify *v = arg;
    char path[TW_HUB_PATH_BYTES];
    tw_err why = {0};
    int rc = tw_hub_path(path, err, "%s/%s", v->m->path, f->path);
    if (rc != 0)
        return rc;
    if (!f->is_there)
        add_bad(v, f, "missing", "its link leads nowhere");
    else if (f->etag[0] == '\0')
        add_bad(v, f, "unknown", "no link into blobs: its hash is not known here");
    else if (!is_known_good(v, f))
        rc = tw_hub_hash_check(path, f->etag, on_bytes, v, &why);
    if (rc == -EINTR)
        return tw_err_set(err, rc, "stopped");
    v->n_files += rc == 0;
    if (rc != 0)
        add_bad(v, f, "bad", why.msg);
    return 0;
}

static int verify_model(tw_agent *a, const tw_hub_model *m, bool quick, json_t **ret, tw_err *err)
{
    TW_CLEANUP(tw_hub_hashes_done) tw_hub_hashes known;
    tw_hub_hashes_load(&known);
    verify v = {.a = a, .m = m, .bad = json_array(), .known = quick ? &known : NULL};
    int rc = tw_hub_each_file(m->path, verify_file, &v, err);
    if (rc == 0)
        *ret = json_pack("{s:I, s:I, s:O}", "files", (json_int_t)v.n_files, "bytes",
                         (json_int_t)v.bytes, "bad", v.bad);
    json_decref(v.bad);
    return rc;
}

static int remove_model(const tw_hub_place *p, const tw_hub_model *m, json_t **ret, tw_err *err)
{
    uint64_t freed = 0;
    int rc = tw_hub_remove(p, m, &freed, err);
    if (rc == 0)
        *ret = json_pack("{s:I}", "freed_bytes", (json_int_t)freed);
    return rc;
}

int tw_agent_models(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    TW_CLEANUP(tw_hub_place_done) tw_hub_place p = {.offline = false};
    TW_CLEANUP(tw_hub_models_done) tw_hub_models l = {.n = 0};
    tw_json_obj o = {.file = "models", .prefix = "", .v = request, .err = err};
    const char *what = tw_json_text(&o, "do", ""), *repo = tw_json_text(&o, "model", "");
    const char *commit = tw_json_text(&o, "commit", "");
    const bool quick = tw_json_bool(&o, "quick", false);
    tw_hub_name name;
    int rc = o.rc != 0 ? o.rc : tw_hub_place_get(&p, err);
    if (rc != 0)
        return rc;
    if (strcmp(what, "list") == 0)
        return list(&p, ret, err);
    rc = tw_hub_name_parse(repo, &name, err);
    if (rc == 0)
        rc = tw_hub_scan(&p, name.repo, &l, err);
    for (size_t i = 0; i < l.n && rc == 0; i++) {
        if (strcmp(l.v[i].commit, commit) != 0)
            continue;
        if (strcmp(what, "verify") == 0)
            return verify_model(a, &l.v[i], quick, ret, err);
        if (strcmp(what, "rm") == 0)
            return remove_model(&p, &l.v[i], ret, err);
        return tw_err_set(err, -ENOSYS, "models: %.32s: this agent does not know that", what);
    }
    return rc != 0 ? rc
                   : tw_err_set(err, -ENOENT, "%.80s@%.12s is not in the cache %.80s", repo, commit,
                                p.cache);
}
