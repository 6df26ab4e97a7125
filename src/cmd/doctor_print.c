/* SPDX-License-Identifier: Apache-2.0 */
/* Results as a person reads them, as JSON, and the list of all checks. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cmd/out.h"
#include "cmd/doctor.h"

enum { TITLE_COLUMNS = 24 };

static const char *const words[TW_CHECK_STATUSES] = {"-", "ok", "warn", "FAIL"};
static const char *const colours[TW_CHECK_STATUSES] = {"\x1b[2m", "\x1b[32m", "\x1b[33m",
                                                       "\x1b[1;31m"};

static bool in_colour(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && (no == NULL || no[0] == '\0') &&
           (term == NULL || strcmp(term, "dumb") != 0);
}

/* A command that mends several things is printed once a node. */
static bool was_said(const tw_check_result *first, const tw_check_result *r)
{
    for (const tw_check_result *k = first; k < r; k++)
        if (k->node == r->node && k->peer == r->peer && k->status >= TW_CHECK_WARN &&
            strcmp(k->mend, r->mend) == 0)
            return true;
    return false;
}

static void print_result(const tw_check_result *first, const tw_check_result *r, bool colour)
{
    printf("  %s%-4s%s  %-*s %s\n", colour ? colours[r->status] : "", words[r->status],
           colour ? "\x1b[0m" : "", TITLE_COLUMNS, r->check->title, r->found);
    if (r->status != TW_CHECK_WARN && r->status != TW_CHECK_FAIL)
        return;
    if (r->wanted[0] != '\0')
        printf("        %-*s wanted: %s\n", TITLE_COLUMNS, "", r->wanted);
    printf("        %-*s mend: %s\n", TITLE_COLUMNS, "",
           was_said(first, r) ? "the same command as above" : r->mend);
}

static void print_heading(const tw_check_world *w, const tw_check_result *r, bool colour)
{
    const char *on = colour ? "\x1b[1m" : "", *off = colour ? "\x1b[0m" : "";
    const tw_check_node *a = &w->nodes[r->node], *b = &w->nodes[r->peer];
    switch (r->check->scope) {
    case TW_CHECK_NODE:
        printf("\n%s%s%s", on, a->name, off);
        if (a->ip[0] != '\0')
            printf(" (%s)", a->ip);
        break;
    case TW_CHECK_PAIR:
        printf("\n%s%s - %s%s", on, a->name, b->name, off);
        break;
    case TW_CHECK_CLUSTER:
        printf("\n%sall nodes%s", on, off);
        break;
    }
    putchar('\n');
}

static bool same_group(const tw_check_result *a, const tw_check_result *b)
{
    return a->check->scope == b->check->scope && a->node == b->node && a->peer == b->peer;
}

/* Of many nodes most lines are the same good news: only what is to be seen. */
static bool is_shown(const doctor_opts *o, const tw_check_world *w, const tw_check_result *r)
{
    if (o->verbose > 0)
        return true;
    if (w->n_nodes > 2)
        return r->status >= TW_CHECK_WARN;
    return r->status != TW_CHECK_NA;
}

static void print_count(const doctor_results *v, size_t i)
{
    size_t n = 0;
    for (size_t k = i; k < v->n && same_group(&v->v[i], &v->v[k]); k++)
        n += v->v[k].status == TW_CHECK_OK;
    if (n > 0)
        printf("  ok    %zu checks (-v shows them)\n", n);
}

/* The last word on a node that could not be asked, else what setup may do. */
static void print_summary(const tw_check_world *w, const doctor_results *v)
{
    size_t counts[TW_CHECK_STATUSES] = {0};
    bool fixable = false;
    for (size_t i = 0; i < v->n; i++) {
        counts[v->v[i].status]++;
        fixable = fixable || (v->v[i].status >= TW_CHECK_WARN && v->v[i].step != NULL);
    }
    printf("\n%zu ok, %zu warning%s, %zu failed, %zu not asked for or unknown\n",
           counts[TW_CHECK_OK], counts[TW_CHECK_WARN], counts[TW_CHECK_WARN] == 1 ? "" : "s",
           counts[TW_CHECK_FAIL], counts[TW_CHECK_NA]);
    for (size_t i = 0; i < w->n_nodes; i++)
        if (w->nodes[i].facts == NULL)
            printf("not reached: %s\n", w->nodes[i].name);
    if (fixable)
        printf("`twinax setup` shows and does what it knows of these mends\n");
}

void tw_doctor_print(const doctor_opts *o, const tw_check_record *r, const doctor_results *v)
{
    const tw_check_world *w = &r->world;
    const bool colour = in_colour();
    const tw_check_result *last = NULL;
    printf("%zu node%s, engine %s, transport %s\n", w->n_nodes, w->n_nodes == 1 ? "" : "s",
           tw_check_engine_name(w->config.engine), tw_check_transport_name(w->config.transport));
    for (size_t i = 0; i < v->n; i++) {
        const tw_check_result *k = &v->v[i];
        if (k->check->scope == TW_CHECK_NODE && w->n_nodes > 2 && o->verbose == 0 &&
            (i == 0 || !same_group(&v->v[i - 1], k))) {
            print_heading(w, k, colour);
            print_count(v, i);
            last = k;
        }
        if (!is_shown(o, w, k))
            continue;
        if (last == NULL || !same_group(last, k))
            print_heading(w, k, colour);
        last = k;
        print_result(v->v, k, colour);
    }
    print_summary(w, v);
}

int tw_doctor_print_json(const tw_check_record *r, const doctor_results *v, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *out = tw_check_results_print(&r->world, v->v, v->n);
    return tw_out_json(out, err);
}

static const char *scope_text(enum tw_check_scope s)
{
    return s == TW_CHECK_NODE ? "each node" : s == TW_CHECK_PAIR ? "each pair" : "all nodes";
}

void tw_doctor_print_list(void)
{
    fputs(
        "# doctor: the checks\n\n"
        "Printed by `twinax doctor --list`; do not edit. `twinax doctor` exits with 1 when a check "
        "fails. Asked for: who\nwants the check; what nobody asked for is not applicable, what is "
        "there but was not asked for (engine or\ntransport `auto`) warns at worst.\n\n"
        "| check | title | of | asked for | what it looks at |\n|---|---|---|---|---|\n",
        stdout);
    for (const tw_check *k = tw_check_table; k->id != NULL; k++)
        printf("| `%s` | %s | %s | %s | %s |\n", k->id, k->title, scope_text(k->scope),
               tw_check_need_name(k->need), k->about);
    fputs("\nA record (`--record FILE`) holds the facts and proofs without names, addresses and "
          "serial "
          "numbers;\n`--facts FILE` judges it anywhere.\n",
          stdout);
}
