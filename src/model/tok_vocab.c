/* SPDX-License-Identifier: Apache-2.0 */
#include "model/tok_vocab.h"

#include <errno.h>
#include <string.h>

struct tw_tok_vocab_slot {
    const char *p; /* NULL: free */
    uint32_t len, id;
    uint64_t hash;
};

static uint64_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= UINT64_C(0xD6E8FEB86659FD93);
    h ^= h >> 29;
    return h;
}

static uint64_t hash_text(const char *p, size_t n)
{
    uint64_t h = n * UINT64_C(0x9E3779B97F4A7C15), w;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&w, p, 8);
        h = mix(h ^ w) * UINT64_C(0x9E3779B97F4A7C15);
    }
    w = 0;
    memcpy(&w, p, n);
    return mix(mix(h ^ w) * UINT64_C(0x9E3779B97F4A7C15));
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
    uint64_t hash = hash_text(text.p, text.len);
    struct tw_tok_vocab_slot *s = vocab_slot(v, text.p, text.len, hash);
    if (s->p != NULL)
        return false;
    *s = (struct tw_tok_vocab_slot){text.p, (uint32_t)text.len, id, hash};
    return true;
}

uint32_t tw_tok_vocab_find(const tw_tok_vocab *v, const char *p, size_t n)
{
    const struct tw_tok_vocab_slot *s = vocab_slot(v, p, n, hash_text(p, n));
    return s->p != NULL ? s->id : TW_TOK_NONE;
}

int tw_tok_merges_init(tw_tok_merges *m, size_t n, tw_arena *a)
{
    size_t slots = slots_for(n);
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
    uint64_t key = (uint64_t)left << 32 | right;
    size_t i = mix(key * UINT64_C(0x9E3779B97F4A7C15)) & m->mask;
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
