/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax compare`. */
#include "cmd/compare.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cmd/args.h"
#include "cmd/commands.h"

enum { EXAMPLE_LAYERS = 48, EXAMPLE_WIDTH = 4096 };

static int open_node(const compare_opts *o, compare_report *r, tw_remote **ret, tw_err *err)
{
    int rc = o->connect != NULL ? tw_compare_connect(o, ret, err)
                                : tw_remote_open(o->node, o->agent_path, ret, err);
    if (rc != 0)
        return rc;
    r->via = o->connect != NULL ? "by hand" : tw_remote_is_local(*ret) ? "local" : "ssh";
    snprintf(r->peer, sizeof r->peer, "%s", tw_remote_host(*ret));
    return 0;
}

static int gather(const compare_opts *o, compare_report *r, tw_err *err)
{
    TW_CLEANUP(tw_remote_closep) tw_remote *n = NULL;
    r->opts = o;
    r->n_layers = EXAMPLE_LAYERS;
    r->d_model = EXAMPLE_WIDTH;
    int rc = o->model != NULL ? tw_compare_model(o->model, r, err) : 0;
    if (rc == 0)
        rc = open_node(o, r, &n, err);
    if (rc == 0)
        rc = tw_net_read(NULL, &r->here, err);
    if (rc == 0)
        rc = tw_remote_facts(n, &r->there, err);
    if (rc == 0)
        rc = tw_compare_measure(r, n, err);
    return rc;
}

static int show(const compare_report *r, tw_err *err)
{
    int rc = 0;
    if (r->opts->json)
        rc = tw_compare_print_json(r, err);
    else
        tw_compare_print(r);
    if (rc == 0 && r->opts->svg != NULL)
        rc = tw_compare_write_svg(r, r->opts->svg, err);
    return rc;
}

/* A path that was asked for is there, and at least one is. */
static bool is_success(const compare_report *r)
{
    unsigned n_ok = 0;
    for (unsigned i = 0; i < r->n_rows; i++) {
        n_ok += r->rows[i].status == ROW_OK;
        if (r->rows[i].asked && r->rows[i].status != ROW_OK)
            return false;
    }
    return n_ok > 0;
}

int tw_compare_run(int argc, char **argv)
{
    compare_opts o;
    tw_err err = {0};
    if (tw_compare_parse(argc, argv, &o, &err) != 0)
        return tw_command_misused(&tw_command_compare, &err);
    if (o.listen)
        return tw_command_end(&tw_command_compare, tw_compare_listen(&o, &err), &err);
    TW_CLEANUP(tw_mem_freep) compare_report *r = tw_mem_calloc(1, sizeof *r);
    int rc = r != NULL ? gather(&o, r, &err) : tw_err_set(&err, -ENOMEM, "no memory");
    if (rc == 0)
        rc = show(r, &err);
    if (rc != 0)
        return tw_command_end(&tw_command_compare, rc, &err);
    return is_success(r) ? TW_EXIT_OK : TW_EXIT_FAILED;
}
