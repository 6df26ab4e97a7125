/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/step.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

int tw_plan_init(tw_plan *p, uint32_t max_seqs, tw_err *err)
{
    memset(p, 0, sizeof(*p));
    p->drops = tw_mem_calloc(max_seqs, sizeof(*p->drops));
    p->admits = tw_mem_calloc(max_seqs, sizeof(*p->admits));
    p->feeds = tw_mem_calloc(max_seqs, sizeof(*p->feeds));
    if (p->drops != NULL && p->admits != NULL && p->feeds != NULL)
        return 0;
    tw_plan_done(p);
    return tw_err_set(err, -ENOMEM, "no memory for a step plan of %u sequences", max_seqs);
}

void tw_plan_done(tw_plan *p)
{
    tw_mem_free(p->drops);
    tw_mem_free(p->admits);
    tw_mem_free(p->feeds);
    memset(p, 0, sizeof(*p));
}

size_t tw_plan_max_bytes(uint32_t max_seqs, uint32_t chunk)
{
    return sizeof(tw_plan_head) + (size_t)max_seqs * (4 + sizeof(tw_plan_admit) + 8) +
           (size_t)chunk * 4;
}

static uint8_t *put(uint8_t *at, const void *p, size_t n)
{
    memcpy(at, p, n);
    return at + n;
}

size_t tw_plan_encode(const tw_plan *p, void *out)
{
    uint8_t *at = put(out, &p->head, sizeof(p->head));
    at = put(at, p->drops, p->head.n_drop * sizeof(*p->drops));
    at = put(at, p->admits, p->head.n_admit * sizeof(*p->admits));
    for (uint32_t i = 0; i < p->head.n_feed; i++) {
        const tw_plan_feed *f = &p->feeds[i];
        at = put(at, &f->slot, 4);
        at = put(at, &f->n_tokens, 4);
        at = put(at, f->tokens, (size_t)f->n_tokens * 4);
    }
    return (size_t)(at - (uint8_t *)out);
}

struct reader {
    const uint8_t *at, *end;
};

static bool take(struct reader *r, void *out, size_t n)
{
    if ((size_t)(r->end - r->at) < n)
        return false;
    memcpy(out, r->at, n);
    r->at += n;
    return true;
}

static int decode_feeds(tw_plan *p, struct reader *r, uint32_t max_seqs, uint32_t chunk,
                        tw_err *err)
{
    uint32_t n_left = chunk;
    for (uint32_t i = 0; i < p->head.n_feed; i++) {
        tw_plan_feed *f = &p->feeds[i];
        if (!take(r, &f->slot, 4) || !take(r, &f->n_tokens, 4))
            return tw_err_set(err, -EPROTO, "step plan ends inside feed %u", i);
        if (f->slot >= max_seqs || f->n_tokens == 0 || f->n_tokens > n_left)
            return tw_err_set(err, -EPROTO, "step plan feeds %u tokens to slot %u", f->n_tokens,
                              f->slot);
        if ((size_t)(r->end - r->at) / 4 < f->n_tokens)
            return tw_err_set(err, -EPROTO, "step plan ends inside the tokens of slot %u", f->slot);
        f->tokens = (const uint32_t *)(const void *)r->at; /* all parts are multiples of 4 */
        r->at += (size_t)f->n_tokens * 4;
        n_left -= f->n_tokens;
    }
    return 0;
}

int tw_plan_decode(tw_plan *p, const void *bytes, size_t n, uint32_t max_seqs, uint32_t chunk,
                   tw_err *err)
{
    struct reader r = {bytes, (const uint8_t *)bytes + n};
    if (!take(&r, &p->head, sizeof(p->head)))
        return tw_err_set(err, -EPROTO, "step plan has %zu bytes, its head alone has %zu", n,
                          sizeof(p->head));
    const tw_plan_head *h = &p->head;
    if (h->n_drop > max_seqs || h->n_admit > max_seqs || h->n_feed > max_seqs)
        return tw_err_set(err, -EPROTO, "step plan names %u + %u + %u sequences, there are %u",
                          h->n_drop, h->n_admit, h->n_feed, max_seqs);
    if (!take(&r, p->drops, h->n_drop * sizeof(*p->drops)) ||
        !take(&r, p->admits, h->n_admit * sizeof(*p->admits)))
        return tw_err_set(err, -EPROTO, "step plan of %zu bytes is cut", n);
    for (uint32_t i = 0; i < h->n_drop; i++)
        if (p->drops[i] >= max_seqs)
            return tw_err_set(err, -EPROTO, "step plan drops slot %u of %u", p->drops[i], max_seqs);
    for (uint32_t i = 0; i < h->n_admit; i++)
        if (p->admits[i].slot >= max_seqs)
            return tw_err_set(err, -EPROTO, "step plan admits slot %u of %u", p->admits[i].slot,
                              max_seqs);
    int rc = decode_feeds(p, &r, max_seqs, chunk, err);
    if (rc == 0 && r.at != r.end)
        return tw_err_set(err, -EPROTO, "step plan of %zu bytes has %zu too many", n,
                          (size_t)(r.end - r.at));
    return rc;
}
