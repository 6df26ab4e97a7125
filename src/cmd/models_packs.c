/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax models packs`: packed weights that are kept on this machine for the next start. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cmd/commands.h"
#include "cmd/models_packs.h"
#include "cmd/out.h"
#include "cmd/pull_model.h"
#include "cmd/setup.h"
#include "model/pack_store.h"

typedef struct packs_opts {
    bool json, remove, yes;
} packs_opts;

typedef struct packs {
    char folder[TW_PACK_PATH_BYTES];
    tw_pack_entry *v; /* [n] */
    size_t n;
    uint64_t bytes;
} packs;

static void done(packs *p)
{
    tw_mem_free(p->v);
}

static int find(packs *p, tw_err *err)
{
    int rc = tw_pack_folder_find(p->folder, err);
    if (rc == 0)
        rc = tw_pack_list(p->folder, &p->v, &p->n, err);
    for (size_t i = 0; i < p->n; i++)
        p->bytes += p->v[i].bytes;
    return rc;
}

static const char *state(const tw_pack_entry *e)
{
    return e->is_part ? "not whole yet" : e->is_damaged ? "damaged" : "whole";
}

static void print_table(const packs *p)
{
    char size[16], day[32];
    for (size_t i = 0; i < p->n; i++) {
        const tw_pack_entry *e = &p->v[i];
        const time_t used = (time_t)e->used_s;
        struct tm tm = {.tm_mday = 1};
        (void)localtime_r(&used, &tm);
        (void)strftime(day, sizeof day, "%Y-%m-%d %H:%M", &tm);
        tw_pull_size(e->bytes, size);
        if (i == 0)
            printf("%-60s %9s  %-16s  %s\n", "packed weights", "size", "used", "state");
        printf("%-60.60s %9s  %-16s  %s\n", e->head.name[0] != '\0' ? e->head.name : e->file, size,
               day, state(e));
    }
}

static int print_json(const packs *p, tw_err *err)
{
    for (size_t i = 0; i < p->n; i++) {
        const tw_pack_entry *e = &p->v[i];
        char path[TW_PACK_PATH_BYTES + 80];
        snprintf(path, sizeof path, "%s/%s", p->folder, e->file);
        json_t *v = json_pack("{s:s, s:s, s:s, s:I, s:I, s:s}", "name", e->head.name, "model_id",
                              e->head.model_id, "path", path, "bytes", (json_int_t)e->bytes, "used",
                              (json_int_t)e->used_s, "state", state(e));
        if (v == NULL)
            return tw_err_set(err, -ENOMEM, "no memory for JSON");
        (void)!json_dumpf(v, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(v);
    }
    return 0;
}

static int remove_all(const packs *p, const packs_opts *o, tw_err *err)
{
    char size[16];
    uint64_t freed = 0;
    size_t n_left = 0;
    tw_pull_size(p->bytes, size);
    fprintf(stderr, "%zu in %s, %s\n", p->n, p->folder, size);
    if (p->n > 0 && !o->yes && !isatty(STDIN_FILENO))
        return tw_err_set(err, -EPERM, "nothing is removed without consent: --yes gives it");
    if (p->n > 0 && !o->yes && !tw_setup_says_yes("remove? [y/N] "))
        return tw_err_set(err, -ECANCELED, "nothing was removed");
    for (size_t i = 0; i < p->n; i++) {
        const bool gone = tw_pack_remove(p->folder, &p->v[i]);
        freed += gone ? p->v[i].bytes : 0;
        n_left += !gone;
    }
    tw_pull_size(freed, size);
    if (o->json)
        printf("{\"removed\":%zu,\"freed_bytes\":%llu}\n", p->n - n_left,
               (unsigned long long)freed);
    else
        printf("%s freed\n", size);
    return n_left == 0 ? 0
                       : tw_err_set(err, -EBUSY,
                                    "%zu of them are being written, or cannot be removed", n_left);
}

void tw_models_packs_tell(void)
{
    TW_CLEANUP(done) packs p = {.n = 0};
    tw_err ignored;
    char size[16];
    if (find(&p, &ignored) != 0 || p.n == 0)
        return;
    tw_pull_size(p.bytes, size);
    printf("packed weights of %zu starts on this machine: %s (twinax models packs)\n", p.n, size);
}

static int cmd_packs(int argc, char **argv)
{
    TW_CLEANUP(done) packs p = {.n = 0};
    packs_opts o = {.json = false};
    tw_err err = {0};
    int first = 0;
    int rc = tw_options_parse(tw_command_models_packs.tables, argc, argv, &o, &first, &err);
    if (rc == 0 && first < argc)
        rc = tw_err_set(&err, -EINVAL, "%.100s: wanted options only", argv[first]);
    if (rc != 0)
        return tw_command_misused(&tw_command_models_packs, &err);
    rc = find(&p, &err);
    if (rc == 0 && o.remove)
        rc = remove_all(&p, &o, &err);
    else if (rc == 0 && o.json)
        rc = print_json(&p, &err);
    else if (rc == 0)
        print_table(&p);
    if (rc == 0 && p.n == 0 && !o.remove)
        fprintf(stderr, "no packed weights in %s\n", p.folder);
    if (rc == 0)
        rc = tw_out_flush(&err);
    return tw_command_end(&tw_command_models_packs, rc, &err);
}

#define AT(field) .offset = offsetof(packs_opts, field)

static const tw_option options[] = {
    {"rm", .help = "remove them all; the next start of each model packs anew", .type = TW_OPT_FLAG,
     AT(remove)},
    {"yes", 'y', NULL, "remove without asking", TW_OPT_FLAG, AT(yes)},
    {"json", .help = "one JSON object a line", .type = TW_OPT_FLAG, AT(json)},
    {.name = NULL},
};
static const tw_option_table tables[] = {{NULL, options}, {NULL, NULL}};

static const tw_note examples[] = {
    {"twinax models packs", "what is kept, and when it was used"},
    {"twinax models packs --rm --yes", "gives their disk back"},
    {NULL, NULL},
};

const tw_command tw_command_models_packs = {
    .name = "models packs",
    .args = "[--rm]",
    .summary = "packed weights that are kept for the next start",
    .about =
        "What a rank has packed of a model is kept in ~/.cache/twinax/packs, so that its next "
        "start "
        "maps it instead of packing again. All together take a quarter of the free disk at most "
        "(--pack-cache-gib of run and serve; --no-pack-cache keeps none); the one that was used "
        "longest ago goes first. Of this machine alone.",
    .tables = tables,
    .run = cmd_packs,
    .group = TW_GROUP_MODEL,
    .examples = examples,
};
