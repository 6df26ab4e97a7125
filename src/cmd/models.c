/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax models`: what the caches hold. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cmd/commands.h"
#include "cmd/models_nodes.h"
#include "cmd/models_packs.h"
#include "cmd/out.h"
#include "cmd/pull_model.h"
#include "cmd/pull_nodes.h"
#include "cmd/push.h"
#include "cmd/setup.h"
#include "fmt/json.h"
#include "hub/verified.h"
#include "os/file.h"
#include "os/signal.h"

typedef tw_models_opts models_opts;

/* "REPO" or "REPO@main" where one name stands for it, else "REPO@commit". */
static void print_name(const tw_hub_model *m, char *out, size_t out_bytes)
{
    if (strcmp(m->refs, "main") == 0)
        snprintf(out, out_bytes, "%s", m->repo);
    else if (m->refs[0] != '\0' && strchr(m->refs, ',') == NULL)
        snprintf(out, out_bytes, "%s@%s", m->repo, m->refs);
    else
        snprintf(out, out_bytes, "%s@%.12s", m->repo, m->commit);
}

/* ---- list ---- */

static const char *state(const tw_hub_model *m, const tw_hub_verified *v)
{
    if (v->n_bad > 0)
        return "damaged";
    if (!m->is_whole)
        return "not whole";
    if (!m->has_weights)
        return "no weights";
    return v->n_unknown == 0 ? "whole, verified" : "whole";
}

/* What is known of its bytes; nothing when it cannot be looked at. */
static tw_hub_verified verified_of(const tw_hub_hashes *h, const tw_hub_model *m)
{
    tw_hub_verified v = {.n_unknown = 1};
    tw_err ignored;
    (void)!tw_hub_verified_get(h, m->path, &v, &ignored);
    return v;
}

static void print_list(const tw_hub_models *l, const tw_hub_hashes *h)
{
    for (size_t i = 0; i < l->n; i++) {
        const tw_hub_model *m = &l->v[i];
        const tw_hub_verified v = verified_of(h, m);
        const char *why = v.n_bad > 0 ? v.bad : m->is_whole ? "" : m->why;
        char name[400], size[16];
        print_name(m, name, sizeof name);
        tw_pull_size(m->bytes, size);
        if (i == 0)
            printf("%-48s %9s %6s  %s\n", "model", "size", "files", "state");
        printf("%-48s %9s %6zu  %s%s%s\n", name, size, m->n_files, state(m, &v),
               why[0] != '\0' ? ": " : "", why);
    }
}

static json_t *to_json(const tw_hub_model *m, const tw_hub_hashes *h)
{
    const tw_hub_verified k = verified_of(h, m);
    json_t *v = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:b, s:b, s:b, s:I}", "model",
                          m->repo, "commit", m->commit, "refs", m->refs, "path", m->path, "files",
                          (json_int_t)m->n_files, "missing", (json_int_t)m->n_missing, "bytes",
                          (json_int_t)m->bytes, "whole", m->is_whole, "weights", m->has_weights,
                          "verified", k.n_unknown == 0 && k.n_bad == 0, "bad", (json_int_t)k.n_bad);
    if (!m->is_whole)
        (void)!json_object_set_new(v, "why", json_string(m->why));
    return v;
}

static void print_object(json_t *v)
{
    (void)!json_dumpf(v, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(v);
}

static int list(const tw_hub_place *p, const models_opts *o, tw_err *err)
{
    TW_CLEANUP(tw_hub_models_done) tw_hub_models l = {.n = 0};
    TW_CLEANUP(tw_hub_hashes_done) tw_hub_hashes h;
    tw_hub_hashes_load(&h);
    int rc = tw_hub_scan(p, NULL, &l, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < l.n && o->json; i++)
        print_object(to_json(&l.v[i], &h));
    if (!o->json) {
        print_list(&l, &h);
        tw_models_packs_tell();
    }
    if (l.n == 0)
        fprintf(stderr, "no models in %s: `twinax pull ORG/NAME` gets one\n", p->cache);
    return tw_out_flush(err);
}

/* ---- which ---- */

/* Those of text: "org/name" all of its snapshots, "org/name@rev" one (rev: a name, a commit or its
 * beginning). */
static int select_models(const tw_hub_place *p, const char *text, tw_hub_models *ret, tw_err *err)
{
    tw_hub_name name;
    size_t n = 0;
    int rc = tw_hub_name_parse(text, &name, err);
    if (rc == 0)
        rc = tw_hub_scan(p, name.repo, ret, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < ret->n; i++)
        if (tw_models_is_it(text, ret->v[i].repo, ret->v[i].commit, ret->v[i].refs))
            ret->v[n++] = ret->v[i];
    ret->n = n;
    return n > 0 ? 0 : tw_err_set(err, -ENOENT, "%.100s is not in the cache %.80s", text, p->cache);
}

/* ---- verify ---- */

typedef struct verify {
    const tw_hub_model *m;
    const models_opts *o;
    tw_hub_progress p;
    tw_pull_show show;
    tw_hub_hashes known;
    size_t n_bad, n_unknown, n_quick;
} verify;

/* Hashed before, and not changed since. */
static bool is_known_good(verify *v, const tw_hub_seen *f)
{
    char got[TW_HUB_ETAG_BYTES];
    return v->o->quick && tw_hub_hashes_find(&v->known, f->st, (unsigned)strlen(f->etag), got) &&
           strcmp(got, f->etag) == 0;
}

static bool on_bytes(void *arg, uint64_t n)
{
    verify *v = arg;
    v->p.done_bytes += n;
    if (!v->o->json)
        tw_pull_show_progress(&v->show, &v->p);
    return !tw_signal_asked_to_stop();
}

static void report(verify *v, const tw_hub_seen *f, const char *what, const char *why)
{
    tw_pull_show_end(&v->show);
    if (v->o->json)
        print_object(json_pack("{s:s, s:s, s:s, s:s, s:s}", "model", v->m->repo, "commit",
                               v->m->commit, "file", f->path, "state", what, "why", why));
    else
        printf("%s: %s: %s: %s\n", v->m->repo, f->path, what, why);
}

static int verify_file(void *arg, const tw_hub_seen *f, tw_err *err)
{
    verify *v = arg;
    char path[TW_HUB_PATH_BYTES];
    tw_err why = {0};
    if (!f->is_there) {
        v->n_bad++;
        report(v, f, "missing", "its link leads nowhere");
        return 0;
    }
    if (f->etag[0] == '\0') {
        v->n_unknown++;
        report(v, f, "unknown", "no link into blobs: its hash is not known here");
        return 0;
    }
    if (is_known_good(v, f)) {
        v->p.done_bytes += f->size;
        v->p.n_done++;
        v->n_quick++;
        return 0;
    }
    if (snprintf(path, sizeof path, "%s/%s", v->m->path, f->path) >= (int)sizeof path)
        return tw_err_set(err, -ENAMETOOLONG, "%.150s: too long a path", f->path);
    int rc = tw_hub_hash_check(path, f->etag, on_bytes, v, &why);
    if (rc == -EINTR) {
        *err = why;
        return rc;
    }
    v->p.n_done++;
    if (rc != 0) {
        v->n_bad++;
        report(v, f, "bad", why.msg);
    }
    return 0;
}

static int verify_model(const tw_hub_model *m, const models_opts *o, tw_err *err)
{
    verify v = {.m = m, .o = o, .p = {.total_bytes = m->bytes, .n_files = m->n_files}};
    char name[400], size[16];
    print_name(m, name, sizeof name);
    tw_pull_show_init(&v.show, name, false);
    tw_hub_hashes_load(&v.known);
    int rc = tw_hub_each_file(m->path, verify_file, &v, err);
    tw_hub_hashes_done(&v.known);
    tw_pull_show_end(&v.show);
    if (rc != 0)
        return rc;
    tw_pull_size(m->bytes, size);
    if (o->json)
        print_object(json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:b}", "model", m->repo, "commit",
                               m->commit, "files", (json_int_t)m->n_files, "bad",
                               (json_int_t)v.n_bad, "unread", (json_int_t)v.n_quick, "bytes",
                               (json_int_t)m->bytes, "good", v.n_bad == 0 && m->is_whole));
    else if (v.n_bad == 0 && m->is_whole)
        printf("%s: good: %zu files, %s%s\n", name, v.p.n_done, size,
               v.n_quick > 0 ? ", as they were hashed before" : "");
    if (v.n_bad > 0)
        return tw_err_set(err, -EBADMSG,
                          "%.100s: %zu of its files are not as they were: `twinax pull --verify "
                          "%.80s` fetches those again",
                          name, v.n_bad, name);
    if (!m->is_whole)
        return tw_err_set(err, -EAGAIN, "%.100s: %.100s: `twinax pull` gets them", name, m->why);
    return 0;
}

/* ---- verify a path ---- */

typedef struct hashing {
    const models_opts *o;
    tw_hub_progress p;
    tw_pull_show show;
} hashing;

static bool on_hashed(void *arg, uint64_t n)
{
    hashing *h = arg;
    h->p.done_bytes += n;
    h->p.total_bytes = TW_MAX(h->p.total_bytes, h->p.done_bytes);
    if (!h->o->json)
        tw_pull_show_progress(&h->show, &h->p);
    return !tw_signal_asked_to_stop();
}

static int hash_seen(void *arg, const tw_hub_seen *f, tw_err *err)
{
    hashing *h = arg;
    char got[TW_HUB_ETAG_BYTES], path[TW_HUB_PATH_BYTES];
    if (!f->is_there || strchr(f->path, '/') != NULL)
        return 0;
    if (snprintf(path, sizeof path, "%s/%s", h->show.name, f->path) >= (int)sizeof path)
        return tw_err_set(err, -ENAMETOOLONG, "%.150s: too long a path", f->path);
    return tw_hub_hash_file(path, h->o->quick, on_hashed, h, got, err);
}

static int add_size(void *arg, const tw_hub_seen *f, tw_err *err)
{
    (void)err;
    ((hashing *)arg)->p.total_bytes += strchr(f->path, '/') == NULL ? f->size : 0;
    return 0;
}

/* A folder or a file that no hub named: what it is, not whether that is right. */
static int verify_path(const char *path, const models_opts *o, tw_err *err)
{
    hashing h = {.o = o};
    char id[TW_HUB_ETAG_BYTES];
    tw_pull_show_init(&h.show, path, false);
    int rc = 0;
    if (!tw_file_is_dir(path)) {
        rc = tw_hub_hash_file(path, o->quick, on_hashed, &h, id, err);
    } else {
        rc = tw_hub_each_file(path, add_size, &h, err);
        if (rc == 0)
            rc = tw_hub_each_file(path, hash_seen, &h, err);
        if (rc == 0)
            rc = tw_hub_content_id(path, id, err);
    }
    tw_pull_show_end(&h.show);
    if (rc != 0)
        return rc;
    if (o->json)
        print_object(json_pack("{s:s, s:s}", "path", path, "content", id));
    else
        printf("%s  %s\n", id, path);
    return tw_out_flush(err);
}

/* ---- verify all ---- */

static int verify_all(const tw_hub_place *p, const models_opts *o, const char *text, tw_err *err)
{
    TW_CLEANUP(tw_hub_models_done) tw_hub_models l = {.n = 0};
    int rc = text != NULL ? select_models(p, text, &l, err) : tw_hub_scan(p, NULL, &l, err);
    int first_bad = 0;
    for (size_t i = 0; i < l.n && rc == 0; i++) {
        tw_err one = {0};
        rc = verify_model(&l.v[i], o, &one);
        if (rc != 0 && first_bad == 0) {
            first_bad = rc;
            *err = one;
        }
        rc = rc == -EINTR ? rc : 0;
    }
    tw_err out = {0};
    const int flushed = tw_out_flush(&out);
    if (rc == 0 && first_bad == 0 && flushed != 0)
        *err = out;
    return rc != 0 ? rc : first_bad != 0 ? first_bad : flushed;
}

/* ---- rm ---- */

static bool is_yes(void)
{
    return tw_setup_says_yes("remove? [y/N] ");
}

static int remove_all(const tw_hub_place *p, const models_opts *o, const char *text, tw_err *err)
{
    TW_CLEANUP(tw_hub_models_done) tw_hub_models l = {.n = 0};
    char name[400], size[16];
    uint64_t freed = 0;
    int rc = select_models(p, text, &l, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < l.n; i++) {
        print_name(&l.v[i], name, sizeof name);
        tw_pull_size(l.v[i].bytes, size);
        fprintf(stderr, "%s: %zu files, %s, in %s\n", name, l.v[i].n_files, size, l.v[i].path);
    }
    if (!o->yes && !isatty(STDIN_FILENO))
        return tw_err_set(err, -EPERM, "nothing is removed without consent: --yes gives it");
    if (!o->yes && !is_yes())
        return tw_err_set(err, -ECANCELED, "nothing was removed");
    for (size_t i = 0; i < l.n && rc == 0; i++) {
        uint64_t bytes = 0;
        rc = tw_hub_remove(p, &l.v[i], &bytes, err);
        freed += bytes;
    }
    if (rc != 0)
        return rc;
    tw_pull_size(freed, size);
    if (o->json)
        print_object(json_pack("{s:s, s:I, s:I}", "model", text, "removed", (json_int_t)l.n,
                               "freed_bytes", (json_int_t)freed));
    else
        printf("%s freed\n", size);
    return tw_out_flush(err);
}

/* ---- commands ---- */

static int do_here(enum tw_models_verb verb, const models_opts *o, const char *text, tw_err *err)
{
    TW_CLEANUP(tw_hub_place_done) tw_hub_place p = {.offline = false};
    int rc = tw_hub_place_get(&p, err);
    if (rc == 0)
        rc = verb == TW_MODELS_LIST     ? list(&p, o, err)
             : verb == TW_MODELS_VERIFY ? verify_all(&p, o, text, err)
                                        : remove_all(&p, o, text, err);
    return rc;
}

/* On all nodes, where there are several. */
static int do_all(enum tw_models_verb verb, const models_opts *o, const char *text, tw_err *err)
{
    const tw_pull_nodes_opts where = {.nodes_list = o->nodes_list,
                                      .agent_path = o->agent_path,
                                      .local = o->local};
    TW_CLEANUP(tw_mem_freep) tw_nodes *nodes = tw_mem_calloc(1, sizeof *nodes);
    if (nodes == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    int rc = tw_pull_find_nodes(&where, nodes, err);
    if (rc != 0)
        return rc;
    return nodes->n > 1 ? tw_models_nodes(verb, o, nodes, text, err) : do_here(verb, o, text, err);
}

static int start(const tw_command *c, enum tw_models_verb verb, int argc, char **argv)
{
    models_opts o = {.json = false};
    tw_hub_name name;
    tw_err err = {0};
    int first = 0;
    int rc = tw_options_parse(c->tables, argc, argv, &o, &first, &err);
    const char *text = rc == 0 && first < argc ? argv[first] : NULL;
    if (rc == 0 && verb == TW_MODELS_LIST && text != NULL)
        rc = tw_err_set(&err, -EINVAL, "%.100s: wanted nothing, verify or rm", text);
    else if (rc == 0 && (first + 1 < argc || (verb == TW_MODELS_REMOVE && text == NULL)))
        rc = tw_err_set(&err, -EINVAL, "one ORG/NAME[@REVISION] is wanted");
    const bool is_path = verb == TW_MODELS_VERIFY && text != NULL &&
                         (tw_file_exists(text) || !tw_hub_name_is(text)) &&
                         strpbrk(text, "/.") != NULL;
    if (rc == 0 && text != NULL && !is_path)
        rc = tw_hub_name_parse(text, &name, &err);
    if (rc != 0)
        return tw_command_misused(c, &err);
    if (is_path)
        return tw_command_end(c, verify_path(text, &o, &err), &err);
    rc = do_all(verb, &o, text, &err);
    return tw_command_end(c, rc, &err);
}

static int cmd_models(int argc, char **argv)
{
    return start(&tw_command_models, TW_MODELS_LIST, argc, argv);
}

static int cmd_verify(int argc, char **argv)
{
    return start(&tw_command_models_verify, TW_MODELS_VERIFY, argc, argv);
}

static int cmd_rm(int argc, char **argv)
{
    return start(&tw_command_models_rm, TW_MODELS_REMOVE, argc, argv);
}

static const tw_option options[] = {
    {"json", .help = "one JSON object a line", .type = TW_OPT_FLAG,
     .offset = offsetof(models_opts, json)},
    {.name = NULL},
};
static const tw_option verify_options[] = {
    {"quick", .help = "files that are as they were when they were hashed last are not read again",
     .type = TW_OPT_FLAG, .offset = offsetof(models_opts, quick)},
    {"json", .help = "one JSON object a line", .type = TW_OPT_FLAG,
     .offset = offsetof(models_opts, json)},
    {.name = NULL},
};
static const tw_option rm_options[] = {
    {"yes", 'y', .help = "remove without asking", .type = TW_OPT_FLAG,
     .offset = offsetof(models_opts, yes)},
    {"json", .help = "one JSON object", .type = TW_OPT_FLAG, .offset = offsetof(models_opts, json)},
    {.name = NULL},
};
static const tw_option node_options[] = {
    {"nodes", .arg = "LIST", .help = "the machines: box1=IP,box2=IP; default: twinax.conf",
     .type = TW_OPT_TEXT, .offset = offsetof(models_opts, nodes_list)},
    {"local", .help = "this machine alone", .type = TW_OPT_FLAG,
     .offset = offsetof(models_opts, local)},
    TW_AGENT_OPTIONS(models_opts),
    {.name = NULL},
};
static const tw_option_table tables[] = {{NULL, options}, {"nodes", node_options}, {NULL, NULL}};
static const tw_option_table verify_tables[] = {{NULL, verify_options},
                                                {"nodes", node_options},
                                                {NULL, NULL}};
static const tw_option_table rm_tables[] = {{NULL, rm_options},
                                            {"nodes", node_options},
                                            {NULL, NULL}};

static const tw_note models_examples[] = {
    {"twinax models", "each with its size, and what is missing of it"},
    {"twinax models --json", "the same for a program, a line each"},
    {NULL, NULL},
};

const tw_command tw_command_models = {
    .name = "models",
    .args = "",
    .summary = "models in the caches of all nodes",
    .about =
        "Size of each, and whether all of its files are there, whoever brought it; with several "
        "nodes, which of them have it, and the same revision of it.",
    .tables = tables,
    .run = cmd_models,
    .group = TW_GROUP_MODEL,
    .examples = models_examples,
};

static const tw_note verify_examples[] = {
    {"twinax models verify", "all of them, byte by byte"},
    {"twinax models verify org/name", "one of them"},
    {NULL, NULL},
};

const tw_command tw_command_models_verify = {
    .name = "models verify",
    .args = "[ORG/NAME[@REVISION] | PATH]",
    .summary = "hash a model's files, or those of all",
    .about =
        "Each file is named by its hash, so nobody is asked. Reads every byte, so that it finds "
        "what a failing disk changed; changes nothing; exit status 1 when a file is not as it "
        "was. Of a PATH, a folder or a .gguf, nobody knows what it should be: it prints what "
        "it is, to be compared with another machine's.",
    .tables = verify_tables,
    .run = cmd_verify,
    .group = TW_GROUP_MODEL,
    .examples = verify_examples,
};

static const tw_note rm_examples[] = {
    {"twinax models rm org/name", "lists what goes, and asks"},
    {"twinax models rm org/name@0123abcd --yes", "one revision, without asking"},
    {NULL, NULL},
};

const tw_command tw_command_models_rm = {
    .name = "models rm",
    .args = "ORG/NAME[@REVISION]",
    .summary = "remove a model from the cache",
    .about = "Lists what goes, and asks. Files that another revision has too stay.",
    .tables = rm_tables,
    .run = cmd_rm,
    .group = TW_GROUP_MODEL,
    .examples = rm_examples,
};
