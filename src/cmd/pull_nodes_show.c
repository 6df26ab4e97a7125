/* SPDX-License-Identifier: Apache-2.0 */
/* How a download onto several nodes gets on: a bar a node on a terminal, else lines now and then. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cmd/pull_model.h"
#include "cmd/pull_nodes.h"
#include "fmt/json.h"

enum { BAR = 16, TTY_MS = 200, JSON_MS = 500, LINE_S = 10, NAME = 14 };

void tw_nodes_show_init(tw_nodes_show *s, const char *model, bool json)
{
    *s = (tw_nodes_show){.model = model, .json = json, .tty = isatty(STDERR_FILENO) != 0};
}

static double seconds(const tw_nodes_show *s)
{
    return s->begun_ns != 0 ? (double)(tw_clock_now_ns() - s->begun_ns) * 1e-9 : 0;
}

static double rate(uint64_t bytes, double s)
{
    return s > 0 ? (double)bytes / s : 0;
}

/* At the speed so far; < 0: not known. */
static double left_s(const tw_nodes_show *s, const tw_share_state *v, unsigned i)
{
    const uint64_t came = v->done_bytes > s->begun_bytes[i] ? v->done_bytes - s->begun_bytes[i] : 0;
    const double r = rate(came, seconds(s));
    const uint64_t rest = v->total_bytes - TW_MIN(v->done_bytes, v->total_bytes);
    return rest == 0 ? 0 : r > 0 ? (double)rest / r : -1;
}

static void print_left(double s, char out[16])
{
    if (s < 0 || s > 360000)
        snprintf(out, 16, "?");
    else if (s < 100)
        snprintf(out, 16, "%.0f s", s);
    else
        snprintf(out, 16, "%u min", (unsigned)((s + 59) / 60));
}

static void draw(const tw_nodes_show *s, const tw_share_state *v, unsigned i, FILE *out)
{
    char bar[BAR + 1], done[16], total[16], net[16], peer[16], left[16];
    const double t = seconds(s);
    const double share =
        v->total_bytes > 0 ? TW_MIN((double)v->done_bytes / (double)v->total_bytes, 1.0) : 1;
    memset(bar, '.', BAR);
    memset(bar, '#', (size_t)(share * BAR));
    bar[BAR] = '\0';
    tw_pull_size(v->done_bytes, done);
    tw_pull_size(v->total_bytes, total);
    tw_pull_size((uint64_t)rate(v->net_bytes, t), net);
    tw_pull_size((uint64_t)rate(v->peer_bytes, t), peer);
    print_left(left_s(s, v, i), left);
    fprintf(out, "%-*.*s [%s] %s of %s", NAME, NAME, v->name, bar, done, total);
    if (v->is_gone)
        fprintf(out, ", failed");
    else if (v->is_whole)
        fprintf(out, ", whole");
    else if (v->is_checking)
        fprintf(out, ", checked of what is there");
    else if (v->waits[0] != '\0')
        fprintf(out, ", %.30s", v->waits);
    else
        fprintf(out, ", net %s/s, peers %s/s, %s left", net, peer, left);
}

static json_t *to_json(const tw_nodes_show *s, const tw_share_state *v, unsigned i)
{
    const double t = seconds(s);
    json_t *o =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:b}", "node", v->name,
                  "total_bytes", (json_int_t)v->total_bytes, "done_bytes",
                  (json_int_t)v->done_bytes, "net_bytes", (json_int_t)v->net_bytes, "peer_bytes",
                  (json_int_t)v->peer_bytes, "given_bytes", (json_int_t)v->given_bytes,
                  "net_bytes_s", rate(v->net_bytes, t), "peer_bytes_s", rate(v->peer_bytes, t),
                  "left_s", left_s(s, v, i), "whole", v->is_whole);
    if (v->waits[0] != '\0')
        (void)!json_object_set_new(o, "waits", json_string(v->waits));
    if (v->n_refused > 0)
        (void)!json_object_set_new(o, "damaged_blocks", json_integer(v->n_refused));
    if (v->is_gone)
        (void)!json_object_set_new(o, "error", json_string(v->why));
    return o;
}

static void print_object(json_t *v)
{
    (void)!json_dumpf(v, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    (void)!fflush(stdout); /* the end looks at stdout as a whole */
    json_decref(v);
}

static json_t *all_to_json(const tw_nodes_show *s, const tw_share_state *v, unsigned n)
{
    json_t *all = json_array();
    for (unsigned i = 0; i < n; i++)
        (void)!json_array_append_new(all, to_json(s, &v[i], i));
    return all;
}

void tw_nodes_show_end(tw_nodes_show *s)
{
    for (; s->n_drawn > 0; s->n_drawn--)
        fputs("\033[A\r\033[K", stderr);
    fflush(stderr);
}

void tw_nodes_show_progress(void *show, const tw_share_state *v, unsigned n)
{
    tw_nodes_show *s = show;
    const uint64_t now = tw_clock_now_ns();
    if (s->begun_ns == 0) {
        s->begun_ns = now;
        s->told_ns = s->tty || s->json ? 0 : now; /* short ones need no line */
        for (unsigned i = 0; i < n; i++)
            s->begun_bytes[i] = v[i].done_bytes;
    }
    for (unsigned i = 0; i < n; i++)
        if (v[i].is_checking) { /* nothing comes yet */
            s->begun_ns = now;
            s->begun_bytes[i] = v[i].done_bytes;
        }
    const uint64_t every = s->json  ? JSON_MS * TW_NS_PER_MS
                           : s->tty ? TTY_MS * TW_NS_PER_MS
                                    : LINE_S * TW_NS_PER_S;
    if (s->told_ns != 0 && now - s->told_ns < every)
        return;
    s->told_ns = now;
    if (s->json) {
        print_object(json_pack("{s:s, s:s, s:o}", "event", "progress", "model", s->model, "nodes",
                               all_to_json(s, v, n)));
        return;
    }
    tw_nodes_show_end(s);
    for (unsigned i = 0; i < n; i++) {
        draw(s, &v[i], i, stderr);
        fputc('\n', stderr);
    }
    s->n_drawn = s->tty ? n : 0;
    fflush(stderr);
}

void tw_nodes_show_say(void *show, const char *node, const char *text)
{
    tw_nodes_show *s = show;
    const size_t k = strlen(node);
    if (strncmp(text, node, k) == 0 && text[k] == ':') /* an error names its node itself */
        text += k + 1 + (text[k + 1] == ' ');
    tw_nodes_show_end(s);
    if (s->json)
        print_object(json_pack("{s:s, s:s, s:s}", "event", "note", "node", node, "text", text));
    else
        fprintf(stderr, "%s: %s\n", node, text);
}

void tw_nodes_show_result(tw_nodes_show *s, const tw_hub_list *l, const tw_share_state *v,
                          unsigned n)
{
    char total[16], net[16], peer[16];
    uint64_t fetched = 0;
    for (unsigned i = 0; i < n; i++)
        fetched += v[i].net_bytes;
    if (s->json) {
        print_object(json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:o}", "event", "done",
                               "model", s->model, "commit", l->commit, "path", v[0].path, "files",
                               (json_int_t)l->n, "total_bytes", (json_int_t)tw_hub_list_bytes(l),
                               "fetched_bytes", (json_int_t)fetched, "seconds", seconds(s), "nodes",
                               all_to_json(s, v, n)));
        return;
    }
    tw_pull_size(tw_hub_list_bytes(l), total);
    fprintf(stderr, "%s: %zu files, %s, whole and verified on %u nodes in %.1f s\n", s->model, l->n,
            total, n, seconds(s));
    for (unsigned i = 0; i < n; i++) {
        tw_pull_size(v[i].net_bytes, net);
        tw_pull_size(v[i].peer_bytes, peer);
        fprintf(stderr, "%s: %s from the net, %s from peers\n", v[i].name, net, peer);
    }
    puts(v[0].path);
}
