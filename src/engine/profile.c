/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/profile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"

_Static_assert(sizeof(tw_profile_event) == 32, "as it is gathered");

int tw_profiler_new(tw_coll *coll, bool wanted, tw_profiler **ret, tw_err *err)
{
    *ret = NULL;
    if (!wanted)
        return 0;
    tw_profiler *p = tw_mem_calloc(1, sizeof(*p));
    if (p == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the profile");
    p->coll = coll;
    p->rank = coll != NULL ? tw_coll_rank(coll) : 0;
    p->n_ranks = coll != NULL ? tw_coll_n_ranks(coll) : 1;
    const size_t bytes = p->n_ranks * sizeof(*p->rings);
    p->rings = coll != NULL ? tw_coll_alloc(coll, bytes) : tw_mem_calloc(1, bytes);
    p->merged = p->rank == 0 ? tw_mem_calloc(p->n_ranks, sizeof(p->ring->events)) : NULL;
    if (p->rings == NULL || (p->rank == 0 && p->merged == NULL)) {
        tw_profiler_free(p);
        return tw_err_set(err, -ENOMEM, "no memory for the profile (%zu KiB)", bytes >> 10);
    }
    p->ring = &p->rings[p->rank];
    *ret = p;
    return 0;
}

void tw_profiler_free(tw_profiler *p)
{
    if (p == NULL)
        return;
    if (p->coll == NULL)
        tw_mem_free(p->rings);
    tw_mem_free(p->merged);
    tw_mem_free(p);
}

void tw_profiler_note(tw_profiler *p, enum tw_profile_kind kind, uint32_t number, uint32_t n_rows,
                      uint64_t begin_ns)
{
    if (p == NULL)
        return;
    tw_profile_ring *r = p->ring;
    if (kind == TW_PROFILE_EXCHANGE)
        number = r->n_exchanges++;
    r->events[r->n++ % TW_PROFILE_EVENTS] =
        (tw_profile_event){.begin_ns = begin_ns,
                           .end_ns = tw_clock_now_ns(),
                           .number = number,
                           .kind = (uint16_t)kind,
                           .n_rows = (uint16_t)TW_MIN(n_rows, (uint32_t)UINT16_MAX)};
}

/* ---- bringing together ---- */

static bool is_step(const tw_profile_event *e)
{
    return e->kind == TW_PROFILE_PREFILL || e->kind == TW_PROFILE_DECODE;
}

/* In order; returns how many. A step whose first events are overwritten is left out. */
static size_t unroll(const tw_profile_ring *r, tw_profile_event *out)
{
    const uint64_t n = TW_MIN(r->n, (uint64_t)TW_PROFILE_EVENTS);
    bool whole = r->n <= TW_PROFILE_EVENTS;
    size_t n_out = 0;
    for (uint64_t i = r->n - n; i < r->n; i++) {
        const tw_profile_event *e = &r->events[i % TW_PROFILE_EVENTS];
        if (whole && e->kind <= TW_PROFILE_SERVER) /* it came over a wire */
            out[n_out++] = *e;
        whole = whole || is_step(e);
    }
    return n_out;
}

/* Events of one step: [from, to), the step itself the last. */
typedef struct slice {
    tw_profile_event *v;
    size_t n, from, to;
} slice;

static bool next_step(slice *s)
{
    s->from = s->to;
    while (s->to < s->n && !is_step(&s->v[s->to]))
        s->to++;
    if (s->to == s->n)
        return false;
    s->to++;
    return true;
}

static tw_profile_event *step_of(const slice *s)
{
    return &s->v[s->to - 1];
}

/* To the first step that all have; false: there is none (any more). */
static bool align(slice *s, unsigned n_ranks)
{
    for (;;) {
        uint32_t latest = 0;
        bool same = true;
        for (unsigned r = 0; r < n_ranks; r++) {
            if (!next_step(&s[r]))
                return false;
            latest = TW_MAX(latest, step_of(&s[r])->number);
        }
        for (unsigned r = 0; r < n_ranks; r++) {
            while (step_of(&s[r])->number < latest)
                if (!next_step(&s[r]))
                    return false;
            same = same && step_of(&s[r])->number == latest;
        }
        if (same)
            return true;
    }
}

/* The next exchange of the step, from *at on; NULL: no more. */
static tw_profile_event *next_exchange(const slice *s, size_t *at)
{
    while (*at < s->to)
        if (s->v[(*at)++].kind == TW_PROFILE_EXCHANGE)
            return &s->v[*at - 1];
    return NULL;
}

/* Skew of each exchange of the step that all stand at. */
static void compare_waits(slice *s, unsigned n_ranks)
{
    size_t at[TW_RANKS_MAX];
    for (unsigned r = 0; r < n_ranks; r++)
        at[r] = s[r].from;
    for (;;) {
        tw_profile_event *e[TW_RANKS_MAX];
        uint64_t least = UINT64_MAX;
        for (unsigned r = 0; r < n_ranks; r++) {
            e[r] = next_exchange(&s[r], &at[r]);
            if (e[r] == NULL)
                return;
            least = TW_MIN(least, e[r]->end_ns - e[r]->begin_ns);
        }
        for (unsigned r = 0; r < n_ranks; r++)
            e[r]->skew_ns = e[r]->end_ns - e[r]->begin_ns - least;
    }
}

static void add_step(tw_profile_part *part, const slice *s, unsigned rank)
{
    const tw_profile_event *step = step_of(s);
    uint64_t sample = 0, inside = 0, skew = 0, transport = 0, server = 0, sample_from = UINT64_MAX;
    for (size_t i = s->from; i < s->to; i++) {
        const tw_profile_event *e = &s->v[i];
        if (e->kind == TW_PROFILE_SAMPLE) {
            sample += e->end_ns - e->begin_ns;
            sample_from = e->begin_ns;
        } else if (e->kind == TW_PROFILE_SERVER) {
            server += e->end_ns - e->begin_ns;
        }
    }
    for (size_t i = s->from; i < s->to; i++) {
        const tw_profile_event *e = &s->v[i];
        if (e->kind != TW_PROFILE_EXCHANGE)
            continue;
        skew += e->skew_ns;
        transport += e->end_ns - e->begin_ns - e->skew_ns;
        inside += e->begin_ns >= sample_from ? e->end_ns - e->begin_ns : 0;
    }
    part->rank[rank].sample_ns += sample - inside;
    part->rank[rank].server_ns += server;
    part->rank[rank].skew_ns += skew;
    part->rank[rank].transport_ns += transport;
    part->rank[rank].arith_ns +=
        step->end_ns - step->begin_ns - (sample - inside) - skew - transport;
}

static int by_value(const void *pa, const void *pb)
{
    const int64_t *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

/* Exchanges end at about the same moment everywhere: the median difference is that of the clocks. */
static void set_clock(tw_profile_event *v, size_t n, const tw_profile_event *of, size_t n_of)
{
    enum { LOOKS = 513 };
    int64_t apart[LOOKS];
    size_t k = 0, j = 0;
    for (size_t i = 0; i < n && k < LOOKS; i++) {
        if (v[i].kind != TW_PROFILE_EXCHANGE)
            continue;
        while (j < n_of && (of[j].kind != TW_PROFILE_EXCHANGE || of[j].number < v[i].number))
            j++;
        if (j < n_of && of[j].number == v[i].number)
            apart[k++] = (int64_t)(of[j].end_ns - v[i].end_ns);
    }
    if (k == 0)
        return;
    qsort(apart, k, sizeof(apart[0]), by_value);
    for (size_t i = 0; i < n; i++) {
        v[i].begin_ns += (uint64_t)apart[k / 2];
        v[i].end_ns += (uint64_t)apart[k / 2];
    }
}

static void merge(const tw_profiler *p, tw_profile *ret)
{
    slice s[TW_RANKS_MAX];
    memset(ret, 0, sizeof(*ret));
    ret->n_ranks = p->n_ranks;
    for (unsigned r = 0; r < p->n_ranks; r++) {
        tw_profile_event *v = p->merged + (size_t)r * TW_PROFILE_EVENTS;
        s[r] = (slice){.v = v, .n = unroll(&p->rings[r], v)};
        ret->events[r] = v;
        ret->n_events[r] = s[r].n;
    }
    while (align(s, p->n_ranks)) {
        const tw_profile_event *step = step_of(&s[0]);
        tw_profile_part *part = step->kind == TW_PROFILE_DECODE ? &ret->decode : &ret->prefill;
        compare_waits(s, p->n_ranks);
        part->n_steps++;
        part->n_tokens += step->n_rows;
        for (unsigned r = 0; r < p->n_ranks; r++)
            add_step(part, &s[r], r);
    }
    for (unsigned r = 1; r < p->n_ranks; r++)
        set_clock(s[r].v, s[r].n, s[0].v, s[0].n);
}

int tw_profiler_gather(tw_profiler *p, tw_profile *ret, tw_err *err)
{
    int rc =
        p->coll != NULL ? tw_coll_all_gather(p->coll, p->ring, sizeof(*p->ring), p->rings, err) : 0;
    if (rc == 0 && p->rank == 0)
        merge(p, ret);
    return rc;
}
