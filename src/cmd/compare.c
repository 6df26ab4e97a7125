/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax compare`. */
#include "cmd/compare.h"

#include <errno.h>
#include <stdio.h>

#include "base/scope.h"
#include "cmd/commands.h"
#include "cmd/out.h"
#include "cmd/plan.h"

enum { EXAMPLE_LAYERS = 48, EXAMPLE_WIDTH = 4096 };

/* One pair at a time: two would share wires and cores. A node that goes takes its pairs with it, not
 * the others'. */
static int measure(compare_all *c, tw_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < c->n_pairs && rc == 0; i++) {
        tw_err why = {0};
        rc = tw_compare_measure(c->pairs[i], &why);
        if (rc == 0)
            continue;
        if (rc == -ECANCELED || c->n_pairs == 1) {
            *err = why;
            return rc;
        }
        for (size_t k = 0; k < c->n_nodes; k++)
            if (&c->nodes[k] == c->pairs[i]->there)
                c->nodes[k].why = why;
        rc = 0;
    }
    return rc;
}

static int show(const compare_all *c, tw_err *err)
{
    const compare_opts *o = c->opts;
    const bool matrix = c->n_pairs > 1;
    int rc = 0;
    if (o->json)
        rc = matrix ? tw_compare_matrix_json(c, err) : tw_compare_print_json(c->pairs[0], err);
    else if (matrix)
        tw_compare_matrix_print(c);
    else
        tw_compare_print(c->pairs[0]);
    if (rc == 0)
        rc = tw_out_flush(err);
    if (rc == 0 && o->svg != NULL)
        rc = matrix ? tw_compare_matrix_svg(c, o->svg, err)
                    : tw_compare_write_svg(c->pairs[0], o->svg, err);
    return rc;
}

static int compare(const compare_opts *o, bool *ret_good, tw_err *err)
{
    TW_CLEANUP(tw_compare_close)
    compare_all c = {.n_layers = EXAMPLE_LAYERS, .d_model = EXAMPLE_WIDTH};
    int rc = o->model != NULL ? tw_compare_model(o->model, &c, err) : 0;
    if (rc == 0)
        rc = tw_compare_open(&c, o, err);
    if (rc == 0)
        rc = measure(&c, err);
    if (rc == 0)
        rc = show(&c, err);
    for (size_t i = 0; i < c.n_pairs && rc == 0; i++)
        if (c.pairs[i]->here == &c.nodes[0]) /* `plan` reckons with it */
            tw_plan_link_note(c.pairs[i]);
    *ret_good = rc == 0;
    for (size_t i = 0; i < c.n_pairs && *ret_good; i++)
        *ret_good = tw_compare_is_good(c.pairs[i]);
    return rc;
}

int tw_compare_run(int argc, char **argv)
{
    static compare_opts o;
    const tw_command *c = &tw_command_compare;
    tw_err err = {0};
    bool good = false;
    int rc = tw_compare_parse(argc, argv, &o, &err);
    if (rc == 0 && o.listen)
        return tw_command_end(c, tw_compare_listen(&o, &err), &err);
    if (rc == 0)
        rc = tw_compare_find_nodes(&o, &err);
    if (rc != 0)
        return tw_command_misused(c, &err);
    rc = compare(&o, &good, &err);
    if (rc != 0)
        return tw_command_end(c, rc, &err);
    return good ? TW_EXIT_OK : TW_EXIT_FAILED;
}
