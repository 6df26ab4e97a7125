/* SPDX-License-Identifier: Apache-2.0 */
/* More than two machines: a table of pairs for each path, and JSON. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "cmd/compare.h"
#include "fmt/json.h"
#include "twinax/version.h"

enum { NAME_CELLS = 16, CELLS = 8 };

static const compare_row *row_of(const compare_report *r, enum tw_path_kind kind)
{
    for (unsigned i = 0; i < r->n_rows; i++)
        if (r->rows[i].kind == kind)
            return &r->rows[i];
    return NULL;
}

static const compare_row *row_between(const compare_all *c, size_t i, size_t k,
                                      enum tw_path_kind kind)
{
    for (size_t p = 0; p < c->n_pairs; p++)
        if (c->pairs[p]->here == &c->nodes[i] && c->pairs[p]->there == &c->nodes[k])
            return row_of(c->pairs[p], kind);
    return NULL;
}

static void print_cell(const compare_row *row, bool latency)
{
    char text[16];
    if (row == NULL || row->status != ROW_OK) {
        snprintf(text, sizeof text, "%s",
                 row == NULL || row->status == ROW_MISSING ? "-" : "failed");
    } else {
        const double v = latency ? tw_compare_best_us(row, 0) : tw_compare_gbit(row);
        snprintf(text, sizeof text, v < 10 ? "%.2f" : v < 1000 ? "%.1f" : "%.0f", v);
    }
    printf("%*s", CELLS, text);
}

/* Rows ask, columns answer; the other half would be the same pairs. */
static void print_half(const compare_all *c, enum tw_path_kind kind, bool latency)
{
    printf("  %-*s", NAME_CELLS + 2, latency ? "latency, us" : "rate, Gbit/s");
    for (size_t k = 1; k < c->n_nodes; k++)
        printf("%*.*s", CELLS, CELLS - 1, c->nodes[k].name);
    for (size_t i = 0; i + 1 < c->n_nodes; i++) {
        printf("\n    %-*.*s", NAME_CELLS, NAME_CELLS, c->nodes[i].name);
        for (size_t k = 1; k < c->n_nodes; k++) {
            if (k <= i)
                printf("%*s", CELLS, "");
            else
                print_cell(row_between(c, i, k, kind), latency);
        }
    }
    putchar('\n');
}

static bool any_of(const compare_all *c, enum tw_path_kind kind, enum compare_status status)
{
    for (size_t p = 0; p < c->n_pairs; p++) {
        const compare_row *row = row_of(c->pairs[p], kind);
        if (row != NULL && row->status == status)
            return true;
    }
    return false;
}

/* Ranks wait for the slowest of them. */
static void print_slowest(const compare_all *c, enum tw_path_kind kind)
{
    const compare_report *worst = NULL;
    const compare_row *slow = NULL;
    char us[24];
    for (size_t p = 0; p < c->n_pairs; p++) {
        const compare_row *row = row_of(c->pairs[p], kind);
        if (row == NULL || row->status != ROW_OK ||
            (slow != NULL && tw_compare_best_us(row, 0) <= tw_compare_best_us(slow, 0)))
            continue;
        worst = c->pairs[p];
        slow = row;
    }
    if (slow == NULL)
        return;
    const compare_decode d = tw_compare_decode(c->n_layers, c->d_model, slow);
    tw_compare_latency_text(tw_compare_best_us(slow, 0), us, sizeof us);
    printf("  slowest: %s - %s, %s: %u exchanges a token take %.2f ms\n", worst->here->name,
           worst->there->name, us, d.n_exchanges, d.ms_a_token);
}

static void print_remark(const compare_report *r, const compare_row *row)
{
    const char *here = r->here->name, *there = r->there->name;
    if (row->status != ROW_OK)
        printf("  %s - %s: %s: %s\n", here, there,
               row->status == ROW_MISSING ? "not there" : "failed", row->reason);
    else if (row->verdict.level != TW_VERDICT_GOOD)
        printf("  %s - %s: %s: %s\n", here, there, tw_verdict_name(row->verdict.level),
               row->verdict.text);
    if (row->has_cross)
        printf("  %s - %s: cross-check: %.2f Gbit/s there, %.2f back, %.2f us\n", here, there,
               row->cross.to_gbit, row->cross.from_gbit, row->cross.lat_us);
    if (row->cross_note[0] != '\0')
        printf("  %s - %s: cross-check: %s\n", here, there, row->cross_note);
}

static void print_remarks(const compare_all *c, enum tw_path_kind kind)
{
    for (size_t p = 0; p < c->n_pairs; p++) {
        const compare_row *row = row_of(c->pairs[p], kind);
        if (row != NULL)
            print_remark(c->pairs[p], row);
    }
}

static void print_kind(const compare_all *c, enum tw_path_kind kind)
{
    const compare_row *first = row_of(c->pairs[0], kind);
    if (first == NULL)
        return;
    if (!any_of(c, kind, ROW_OK) && !any_of(c, kind, ROW_FAILED)) {
        printf("\n%s: not there: %s\n", first->name, first->reason);
        return;
    }
    printf("\n%s\n", first->name);
    if (any_of(c, kind, ROW_OK)) {
        print_half(c, kind, true);
        print_half(c, kind, false);
        print_slowest(c, kind);
    }
    print_remarks(c, kind);
}

void tw_compare_matrix_print(const compare_all *c)
{
    printf("=== Network comparison: %zu nodes, %zu pairs ===\n", c->n_nodes, c->n_pairs);
    for (int k = 0; k < TW_PATHS; k++)
        print_kind(c, (enum tw_path_kind)k);
    fputs("\nLatency: half a round trip of 2 bytes, p50, the better way to wait. Rate:\n"
          "payload of the slower way, 1 Gbit = 10^9 bits. --json has all of each pair.\n",
          stdout);
}

static json_t *pair_json(const compare_report *r)
{
    return json_pack("{s:s, s:s, s:s, s:o}", "here", r->here->name, "there", r->there->name, "via",
                     r->via, "rows", tw_compare_rows_json(r));
}

int tw_compare_matrix_json(const compare_all *c, tw_err *err)
{
    json_t *nodes = json_array(), *pairs = json_array();
    for (size_t i = 0; i < c->n_nodes; i++)
        json_array_append_new(nodes, json_pack("{s:s, s:s}", "name", c->nodes[i].name, "host",
                                               c->nodes[i].net.host));
    for (size_t p = 0; p < c->n_pairs; p++)
        json_array_append_new(pairs, pair_json(c->pairs[p]));
    TW_CLEANUP(tw_json_freep)
    json_t *v = json_pack("{s:i, s:s, s:o, s:o, s:o}", "schema", COMPARE_SCHEMA, "version",
                          tw_version(), "nodes", nodes, "model",
                          tw_compare_model_json(c->opts, c->n_layers, c->d_model), "pairs", pairs);
    if (v == NULL || json_dumpf(v, stdout, JSON_COMPACT | JSON_REAL_PRECISION(10)) != 0)
        return tw_err_set(err, -ENOMEM, "cannot print the result as JSON");
    putchar('\n');
    return 0;
}
