/* SPDX-License-Identifier: Apache-2.0 */
#include "model/tok_vocab.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/le.h"
#include "os/sys.h"

struct tw_tok_vocab_slot {
    const char *p; /* NULL: free */
    uint32_t len, id;
    uint64_t hash;
};

static uint64_t key[2];
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

/* Unknown to who wrote the file, whose texts and ids could else all meet in one slot. Nothing but time
 * depends on it: without random bytes some that are hard to guess will do. */
static void make_key(void)
{
    if (tw_sys_random(key, sizeof(key)) < 0) {
        key[0] = tw_clock_now_ns() * UINT64_C(0x9E3779B97F4A7C15);
        key[1] = (uint64_t)(uintptr_t)&key ^ key[0] >> 31;
    }
}

static uint64_t rotated(uint64_t v, unsigned n)
{
    return v << n | v >> (64 - n);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotated(v[1], 13) ^ v[0];
    v[3] = rotated(v[3], 16) ^ v[2];
    v[0] = rotated(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotated(v[1], 17) ^ v[2];
    v[3] = rotated(v[3], 21) ^ v[0];
    v[2] = rotated(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

/* SipHash-1-3 (Aumasson, Bernstein, "SipHash: a fast short-input PRF"). */
static uint64_t hash_bytes(const void *bytes, size_t n)
{
    const char *p = bytes;
    uint64_t v[4] = {key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d),
                     key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573)};
    const uint64_t last = (uint64_t)n << 56;
    for (; n >= 8; p += 8, n -= 8)
        sip_word(v, tw_le_load(p, 8));
    sip_word(v, last | tw_le_load(p, (unsigned)n));
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static size_t slots_for(size_t n)
{
    size_t slots = 16;
    while (slots < 2 * n)
        slots *= 2;
    return slots;
}

int tw_tok_vocab_init(tw_tok_vocab *v, size_t n, tw_arena *a)
{
    size_t slots = slots_for(n);
    pthread_once(&key_once, make_key);
    v->slots = tw_arena_array(a, slots, sizeof(v->slots[0]));
    v->mask = slots - 1;
    return v->slots != NULL ? 0 : -ENOMEM;
}

static struct tw_tok_vocab_slot *vocab_slot(const tw_tok_vocab *v, const char *p, size_t n,
                                            uint64_t hash)
{
    size_t i = hash & v->mask;
    struct tw_tok_vocab_slot *s = &v->slots[i];
    while (s->p != NULL && !(s->hash == hash && s->len == n && memcmp(s->p, p, n) == 0)) {
        i = (i + 1) & v->mask;
        s = &v->slots[i];
    }
    return s;
}

bool tw_tok_vocab_add(tw_tok_vocab *v, tw_str text, uint32_t id)
{
    uint64_t hash = hash_bytes(text.p, text.len);
    struct tw_tok_vocab_slot *s = vocab_slot(v, text.p, text.len, hash);
    if (s->p != NULL)
        return false;
    *s = (struct tw_tok_vocab_slot){text.p, (uint32_t)text.len, id, hash};
    return true;
}

uint32_t tw_tok_vocab_find(const tw_tok_vocab *v, const char *p, size_t n)
{
    const struct tw_tok_vocab_slot *s = vocab_slot(v, p, n, hash_bytes(p, n));
    return s->p != NULL ? s->id : TW_TOK_NONE;
}

int tw_tok_merges_init(tw_tok_merges *m, size_t n, tw_arena *a)
{
    size_t slots = slots_for(n);
    pthread_once(&key_once, make_key);
    m->slots = tw_arena_array(a, slots, sizeof(m->slots[0]));
    if (m->slots == NULL)
        return -ENOMEM;
    m->mask = slots - 1;
    for (size_t i = 0; i < slots; i++)
        m->slots[i].left = TW_TOK_NONE;
    return 0;
}

static tw_tok_merge *merge_slot(const tw_tok_merges *m, uint32_t left, uint32_t right)
{
    const uint64_t pair = (uint64_t)left << 32 | right;
    size_t i = hash_bytes(&pair, sizeof(pair)) & m->mask;
    while (m->slots[i].left != TW_TOK_NONE &&
           !(m->slots[i].left == left && m->slots[i].right == right))
        i = (i + 1) & m->mask;
    return &m->slots[i];
}

void tw_tok_merges_add(tw_tok_merges *m, tw_tok_merge merge)
{
    *merge_slot(m, merge.left, merge.right) = merge;
}

const tw_tok_merge *tw_tok_merges_find(const tw_tok_merges *m, uint32_t left, uint32_t right)
{
    const tw_tok_merge *s = merge_slot(m, left, right);
    return s->left != TW_TOK_NONE ? s : NULL;
}
