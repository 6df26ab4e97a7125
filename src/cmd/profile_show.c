/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/profile_show.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/scope.h"

#define AT(field) .offset = offsetof(tw_args, field)

const tw_option tw_options_profile[] = {
    {"profile", .help = "where the time of each token goes, rank by rank", .type = TW_OPT_FLAG,
     AT(profile)},
    {"profile-trace", .arg = "FILE", .help = "the same as a trace, for ui.perfetto.dev",
     .type = TW_OPT_TEXT, AT(profile_trace)},
    {.name = NULL},
};

/* ---- table ---- */

static double ms_a_token(uint64_t ns, const tw_profile_part *p)
{
    return (double)ns / 1e6 / (double)p->n_tokens;
}

static void print_part(const char *what, const tw_profile *p, const tw_profile_part *part,
                       FILE *out)
{
    if (part->n_tokens == 0)
        return;
    fprintf(out, "profile: %s, %" PRIu64 " tokens in %" PRIu64 " steps; milliseconds a token\n",
            what, part->n_tokens, part->n_steps);
    fprintf(out, "%4s %11s %11s %11s %11s %11s %11s\n", "rank", "arithmetic", "waiting",
            "transport", "sampling", "server", "all");
    for (unsigned r = 0; r < p->n_ranks; r++) {
        const uint64_t v[] = {part->rank[r].arith_ns, part->rank[r].skew_ns,
                              part->rank[r].transport_ns, part->rank[r].sample_ns,
                              part->rank[r].server_ns};
        uint64_t all = 0;
        fprintf(out, "%4u", r);
        for (size_t i = 0; i < TW_ARRAY_LEN(v); i++) {
            fprintf(out, " %11.4f", ms_a_token(v[i], part));
            all += v[i];
        }
        fprintf(out, " %11.4f\n", ms_a_token(all, part));
    }
}

static void print_json(const char *what, const tw_profile *p, const tw_profile_part *part,
                       FILE *out)
{
    for (unsigned r = 0; r < p->n_ranks && part->n_tokens > 0; r++)
        fprintf(out,
                "{\"profile\":\"%s\",\"rank\":%u,\"steps\":%" PRIu64 ",\"tokens\":%" PRIu64
                ",\"arithmetic_ms\":%.5f,\"waiting_ms\":%.5f,\"transport_ms\":%.5f,"
                "\"sampling_ms\":%.5f,\"server_ms\":%.5f}\n",
                what, r, part->n_steps, part->n_tokens, ms_a_token(part->rank[r].arith_ns, part),
                ms_a_token(part->rank[r].skew_ns, part),
                ms_a_token(part->rank[r].transport_ns, part),
                ms_a_token(part->rank[r].sample_ns, part),
                ms_a_token(part->rank[r].server_ns, part));
}

/* ---- trace: the format of chrome://tracing, which Perfetto reads ---- */

typedef struct trace {
    FILE *f;
    uint64_t t0_ns;
    bool has_some;
} trace;

static void add_slice(trace *t, const char *name, unsigned rank, uint64_t from_ns, uint64_t to_ns)
{
    if (to_ns <= from_ns || from_ns < t->t0_ns)
        return;
    fprintf(t->f,
            "%s\n{\"ph\":\"X\",\"name\":\"%s\",\"pid\":%u,\"tid\":0,\"ts\":%.3f,\"dur\":%.3f}",
            t->has_some ? "," : "", name, rank, (double)(from_ns - t->t0_ns) / 1e3,
            (double)(to_ns - from_ns) / 1e3);
    t->has_some = true;
}

static void add_exchange(trace *t, unsigned rank, const tw_profile_event *e)
{
    const uint64_t flows_ns = e->begin_ns + e->skew_ns;
    add_slice(t, "waiting", rank, e->begin_ns, flows_ns);
    add_slice(t, "transport", rank, flows_ns, e->end_ns);
}

static bool is_step(const tw_profile_event *e)
{
    return e->kind == TW_PROFILE_PREFILL || e->kind == TW_PROFILE_DECODE;
}

/* v [n]: what a step has inside, then the step: arithmetic is what lies between. */
static void add_step(trace *t, unsigned rank, const tw_profile_event *v, size_t n)
{
    const tw_profile_event *step = &v[n - 1];
    uint64_t at_ns = step->begin_ns;
    const char *between = "arithmetic";
    add_slice(t, step->kind == TW_PROFILE_DECODE ? "decode" : "prefill", rank, step->begin_ns,
              step->end_ns);
    for (size_t i = 0; i + 1 < n; i++) { /* sampling is noted at its end, after its exchanges */
        const tw_profile_event *e = &v[i];
        if (e->kind == TW_PROFILE_SERVER)
            add_slice(t, "server", rank, e->begin_ns, e->end_ns);
        if (e->kind != TW_PROFILE_EXCHANGE)
            continue;
        const tw_profile_event *sample = &v[n - 2];
        if (sample->kind == TW_PROFILE_SAMPLE && e->begin_ns >= sample->begin_ns &&
            at_ns < sample->begin_ns) {
            add_slice(t, between, rank, at_ns, sample->begin_ns);
            at_ns = sample->begin_ns;
            between = "sampling";
        }
        add_slice(t, between, rank, at_ns, e->begin_ns);
        add_exchange(t, rank, e);
        at_ns = e->end_ns;
    }
    if (n >= 2 && v[n - 2].kind == TW_PROFILE_SAMPLE && at_ns < v[n - 2].begin_ns) {
        add_slice(t, between, rank, at_ns, v[n - 2].begin_ns);
        at_ns = v[n - 2].begin_ns;
        between = "sampling";
    }
    add_slice(t, between, rank, at_ns, step->end_ns);
}

static void add_rank(trace *t, unsigned rank, const tw_profile_event *v, size_t n)
{
    size_t from = 0;
    fprintf(
        t->f,
        "%s\n{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":%u,\"args\":{\"name\":\"rank %u\"}}",
        t->has_some ? "," : "", rank, rank);
    t->has_some = true;
    for (size_t i = 0; i < n; i++)
        if (is_step(&v[i])) {
            add_step(t, rank, v + from, i + 1 - from);
            from = i + 1;
        }
}

static int write_trace(const tw_profile *p, const char *path, tw_err *err)
{
    trace t = {.f = fopen(path, "we"), .t0_ns = UINT64_MAX};
    if (t.f == NULL)
        return tw_err_set(err, -errno, "%.180s: cannot create: %s", path, strerror(errno));
    for (unsigned r = 0; r < p->n_ranks; r++)
        for (size_t i = 0; i < p->n_events[r]; i++)
            t.t0_ns = TW_MIN(t.t0_ns, p->events[r][i].begin_ns);
    fprintf(t.f, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[");
    for (unsigned r = 0; r < p->n_ranks; r++)
        add_rank(&t, r, p->events[r], p->n_events[r]);
    fprintf(t.f, "\n]}\n");
    const bool failed = ferror(t.f) != 0;
    if (fclose(t.f) != 0 || failed)
        return tw_err_set(err, -EIO, "%.180s: cannot be written: %s", path, strerror(errno));
    return 0;
}

int tw_profile_show(const tw_node *n, bool json, FILE *out, tw_err *err)
{
    const tw_args *a = &n->args;
    tw_profile p;
    if (!a->profile && a->profile_trace == NULL)
        return 0;
    int rc = tw_engine_profile(n->engine, &p, err);
    if (rc != 0)
        return rc;
    if (a->profile && json) {
        print_json("prefill", &p, &p.prefill, out);
        print_json("decode", &p, &p.decode, out);
    } else if (a->profile) {
        print_part("prompts", &p, &p.prefill, out);
        print_part("decode", &p, &p.decode, out);
    }
    return a->profile_trace != NULL ? write_trace(&p, a->profile_trace, err) : 0;
}
