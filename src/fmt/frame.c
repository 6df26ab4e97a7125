/* SPDX-License-Identifier: Apache-2.0 */
#include "fmt/frame.h"

#include <errno.h>
#include <string.h>

#include "base/le.h"

#define DATA_MAGIC UINT32_C(0x44585754) /* "TWXD" */
#define CTL_MAGIC  UINT32_C(0x43585754) /* "TWXC" */

void tw_frame_data_encode(const tw_frame_data *f, uint8_t out[TW_FRAME_DATA_BYTES])
{
    tw_le_store(out, 4, DATA_MAGIC);
    out[4] = f->op;
    out[5] = f->from;
    tw_le_store(out + 6, 2, f->flags);
    tw_le_store(out + 8, 8, f->seq);
    tw_le_store(out + 16, 8, f->bytes);
    tw_le_store(out + 24, 4, f->crc);
    tw_le_store(out + 28, 4, 0);
}

int tw_frame_data_decode(const uint8_t in[TW_FRAME_DATA_BYTES], tw_frame_data *ret)
{
    if (tw_le_u32(in) != DATA_MAGIC || tw_le_u32(in + 28) != 0)
        return -EPROTO;
    *ret = (tw_frame_data){.op = in[4],
                           .from = in[5],
                           .flags = tw_le_u16(in + 6),
                           .seq = tw_le_load(in + 8, 8),
                           .bytes = tw_le_load(in + 16, 8),
                           .crc = tw_le_u32(in + 24)};
    return 0;
}

int tw_frame_ctl_decode(const uint8_t in[TW_FRAME_CTL_BYTES], tw_frame_ctl *ret)
{
    if (tw_le_u32(in) != CTL_MAGIC || tw_le_u32(in + 8) > TW_FRAME_BODY_MAX)
        return -EPROTO;
    *ret = (tw_frame_ctl){tw_le_u16(in + 4), tw_le_u16(in + 6), tw_le_u32(in + 8)};
    return 0;
}

int tw_frame_ctl_encode(tw_buf *b, enum tw_frame_type type, const void *body, size_t bytes)
{
    uint8_t h[TW_FRAME_CTL_BYTES];
    if (bytes > TW_FRAME_BODY_MAX)
        return -E2BIG;
    tw_le_store(h, 4, CTL_MAGIC);
    tw_le_store(h + 4, 2, TW_FRAME_VERSION);
    tw_le_store(h + 6, 2, (uint16_t)type);
    tw_le_store(h + 8, 4, (uint32_t)bytes);
    int rc = tw_buf_append(b, h, sizeof h);
    if (rc == 0 && bytes > 0)
        rc = tw_buf_append(b, body, bytes);
    return rc;
}

/* A body under construction: the header is written first and its length patched at the end. */
typedef struct writer {
    tw_buf *b;
    size_t at;
    int rc;
} writer;

static void add_bytes(writer *w, const void *p, size_t n)
{
    if (w->rc == 0 && n > 0)
        w->rc = tw_buf_append(w->b, p, n);
}

static void add_proof(writer *w, const uint8_t *proof)
{
    static const uint8_t none[TW_FRAME_PROOF_BYTES];
    add_bytes(w, proof != NULL ? proof : none, sizeof none);
}

static void add_u8(writer *w, uint8_t v)
{
    add_bytes(w, &v, 1);
}

static void add_u16(writer *w, uint16_t v)
{
    uint8_t p[2];
    tw_le_store(p, 2, v);
    add_bytes(w, p, 2);
}

static void add_str(writer *w, tw_str s)
{
    if (s.len > UINT16_MAX && w->rc == 0)
        w->rc = -E2BIG;
    if (w->rc != 0)
        return;
    add_u16(w, (uint16_t)s.len);
    add_bytes(w, s.p, s.len);
}

static writer begin_frame(tw_buf *b, enum tw_frame_type type)
{
    writer w = {b, b->len, 0};
    w.rc = tw_frame_ctl_encode(b, type, NULL, 0);
    return w;
}

static int end_frame(writer *w)
{
    if (w->rc != 0)
        return w->rc;
    size_t body = w->b->len - w->at - TW_FRAME_CTL_BYTES;
    if (body > TW_FRAME_BODY_MAX)
        return -E2BIG;
    tw_le_store((uint8_t *)w->b->data + w->at + 8, 4, (uint32_t)body);
    return 0;
}

typedef struct reader {
    const uint8_t *p;
    size_t n;
    bool bad;
} reader;

static const uint8_t *take_bytes(reader *r, size_t n)
{
    if (r->bad || r->n < n) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->p;
    r->p += n;
    r->n -= n;
    return p;
}

static uint8_t take_u8(reader *r)
{
    const uint8_t *p = take_bytes(r, 1);
    return p != NULL ? *p : 0;
}

static uint16_t take_u16(reader *r)
{
    const uint8_t *p = take_bytes(r, 2);
    return p != NULL ? tw_le_u16(p) : 0;
}

static tw_str take_str(reader *r)
{
    size_t n = take_u16(r);
    const uint8_t *p = take_bytes(r, n);
    return p != NULL ? (tw_str){(const char *)p, n} : (tw_str){"", 0};
}

static int end_read(const reader *r)
{
    return r->bad || r->n != 0 ? -EPROTO : 0;
}

static void add_peer(writer *w, const tw_frame_peer *p)
{
    add_str(w, p->address);
    add_u16(w, p->port);
    add_str(w, p->host_id);
    add_str(w, p->unix_name);
    add_u16(w, p->n_threads);
}

static tw_frame_peer take_peer(reader *r)
{
    tw_frame_peer p;
    p.address = take_str(r);
    p.port = take_u16(r);
    p.host_id = take_str(r);
    p.unix_name = take_str(r);
    p.n_threads = take_u16(r);
    return p;
}

int tw_frame_hello_encode(tw_buf *b, const tw_frame_hello *h)
{
    if (h->n_facts > TW_FRAME_FACTS_MAX)
        return -E2BIG;
    writer w = begin_frame(b, TW_FRAME_HELLO);
    add_proof(&w, h->proof);
    add_u8(&w, h->rank);
    add_u8(&w, h->n_ranks);
    add_u8(&w, h->transport);
    add_u8(&w, h->verify);
    add_peer(&w, &h->me);
    add_u16(&w, (uint16_t)h->n_facts);
    for (size_t i = 0; i < h->n_facts; i++) {
        add_u8(&w, h->facts[i].only_report);
        add_str(&w, h->facts[i].name);
        add_str(&w, h->facts[i].value);
    }
    add_proof(&w, h->seal);
    return end_frame(&w);
}

int tw_frame_hello_decode(const uint8_t *p, size_t n, tw_frame_hello *ret)
{
    reader r = {p, n, false};
    tw_frame_hello h = {.proof = take_bytes(&r, TW_FRAME_PROOF_BYTES)};
    h.rank = take_u8(&r);
    h.n_ranks = take_u8(&r);
    h.transport = take_u8(&r);
    h.verify = take_u8(&r);
    h.me = take_peer(&r);
    h.n_facts = take_u16(&r);
    if (h.n_facts > TW_FRAME_FACTS_MAX)
        return -EPROTO;
    for (size_t i = 0; i < h.n_facts; i++) {
        h.facts[i].only_report = take_u8(&r) != 0;
        h.facts[i].name = take_str(&r);
        h.facts[i].value = take_str(&r);
    }
    h.seal = take_bytes(&r, TW_FRAME_PROOF_BYTES);
    int rc = end_read(&r);
    if (rc == 0)
        *ret = h;
    return rc;
}

int tw_frame_table_encode(tw_buf *b, const tw_frame_table *t)
{
    writer w = begin_frame(b, TW_FRAME_TABLE);
    add_u8(&w, t->n_ranks);
    for (unsigned i = 0; i < t->n_ranks; i++)
        add_peer(&w, &t->peers[i]);
    add_proof(&w, t->seal);
    return end_frame(&w);
}

int tw_frame_table_decode(const uint8_t *p, size_t n, tw_frame_table *ret)
{
    reader r = {p, n, false};
    tw_frame_table t = {.n_ranks = take_u8(&r)};
    if (t.n_ranks > TW_FRAME_RANKS_MAX)
        return -EPROTO;
    for (unsigned i = 0; i < t.n_ranks; i++)
        t.peers[i] = take_peer(&r);
    t.seal = take_bytes(&r, TW_FRAME_PROOF_BYTES);
    int rc = end_read(&r);
    if (rc == 0)
        *ret = t;
    return rc;
}

int tw_frame_link_encode(tw_buf *b, const tw_frame_link *l)
{
    writer w = begin_frame(b, TW_FRAME_LINK);
    add_proof(&w, l->proof);
    add_u8(&w, l->from);
    add_u8(&w, l->to);
    add_proof(&w, l->seal);
    return end_frame(&w);
}

int tw_frame_link_decode(const uint8_t *p, size_t n, tw_frame_link *ret)
{
    reader r = {p, n, false};
    tw_frame_link l = {.proof = take_bytes(&r, TW_FRAME_PROOF_BYTES)};
    l.from = take_u8(&r);
    l.to = take_u8(&r);
    l.seal = take_bytes(&r, TW_FRAME_PROOF_BYTES);
    int rc = end_read(&r);
    if (rc == 0)
        *ret = l;
    return rc;
}

int tw_frame_text_encode(tw_buf *b, enum tw_frame_type type, uint8_t rank, const char *text)
{
    writer w = begin_frame(b, type);
    add_u8(&w, rank);
    add_str(&w, tw_str_from(text));
    return end_frame(&w);
}

int tw_frame_text_decode(const uint8_t *p, size_t n, uint8_t *ret_rank, char *ret_text,
                         size_t text_bytes)
{
    reader r = {p, n, false};
    uint8_t rank = take_u8(&r);
    tw_str s = take_str(&r);
    if (end_read(&r) != 0)
        return -EPROTO;
    size_t len = s.len < text_bytes - 1 ? s.len : text_bytes - 1;
    for (size_t i = 0; i < len; i++)
        ret_text[i] = (unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f ? '?' : s.p[i];
    ret_text[len] = '\0';
    *ret_rank = rank;
    return 0;
}
