/* SPDX-License-Identifier: Apache-2.0 */
#include "model/tok_added.h"

#include <errno.h>

#include "base/scope.h"
#include "model/tok_text.h"

struct tw_tok_trie_node {
    uint32_t child, sibling;
    const tw_tj_added *token; /* the pattern that ends here */
    uint8_t byte;
};

int tw_tok_trie_init(tw_tok_trie *t, size_t n_bytes, tw_arena *a)
{
    *t = (tw_tok_trie){.n = 1, .cap = n_bytes + 1};
    t->nodes = tw_arena_array(a, t->cap, sizeof(t->nodes[0]));
    return t->nodes != NULL ? 0 : -ENOMEM;
}

static uint32_t find_child(const tw_tok_trie *t, uint32_t first, uint8_t byte)
{
    while (first != 0 && t->nodes[first].byte != byte)
        first = t->nodes[first].sibling;
    return first;
}

void tw_tok_trie_add(tw_tok_trie *t, tw_str pattern, const tw_tj_added *token)
{
    uint32_t *at = NULL, node = 0;
    for (size_t i = 0; i < pattern.len; i++) {
        uint8_t byte = (uint8_t)pattern.p[i];
        at = i == 0 ? &t->roots[byte] : &t->nodes[node].child;
        node = find_child(t, *at, byte);
        if (node != 0)
            continue;
        node = (uint32_t)t->n++;
        t->nodes[node] = (struct tw_tok_trie_node){.sibling = *at, .byte = byte};
        *at = node;
    }
    if (node != 0 && t->nodes[node].token == NULL)
        t->nodes[node].token = token;
}

/* The longest pattern at p, or NULL. */
static const tw_tj_added *match_here(const tw_tok_trie *t, const char *p, size_t n, size_t *ret_len)
{
    const tw_tj_added *best = NULL;
    uint32_t node = t->roots[(uint8_t)p[0]];
    for (size_t i = 1; node != 0; i++) {
        if (t->nodes[node].token != NULL) {
            best = t->nodes[node].token;
            *ret_len = i;
        }
        if (i == n)
            break;
        node = find_child(t, t->nodes[node].child, (uint8_t)p[i]);
    }
    return best;
}

static size_t before(const char *p, size_t end, uint32_t *ret_cp)
{
    size_t at = end - 1;
    while (at > 0 && ((unsigned char)p[at] & 0xC0) == 0x80)
        at--;
    *ret_cp = 0;
    (void)tw_utf8_decode(p + at, end - at, ret_cp);
    return at;
}

static bool is_single_word(const tw_tok_scan *s, size_t start, size_t end)
{
    uint32_t cp = 0;
    if (start > 0) {
        before(s->p, start, &cp);
        if (tw_tok_is_word(cp))
            return false;
    }
    return end == s->n || tw_utf8_decode(s->p + end, s->n - end, &cp) == 0 || !tw_tok_is_word(cp);
}

static size_t skip_left_spaces(const tw_tok_scan *s, size_t start)
{
    uint32_t cp;
    while (start > s->i_done) {
        size_t at = before(s->p, start, &cp);
        if (!tw_tok_is_space(cp))
            break;
        start = at;
    }
    return TW_MAX(start, s->i_done);
}

static size_t skip_right_spaces(const tw_tok_scan *s, size_t end)
{
    while (end < s->n) {
        uint32_t cp = 0;
        unsigned len = tw_utf8_decode(s->p + end, s->n - end, &cp);
        if (len == 0 || !tw_tok_is_space(cp))
            break;
        end += len;
    }
    return end;
}

static bool put_token(tw_tok_scan *s, tw_tok_span *ret)
{
    *ret = (tw_tok_span){s->i_done, s->token_end, s->token};
    s->i_done = s->token_end;
    s->token = NULL;
    return true;
}

bool tw_tok_scan_next(tw_tok_scan *s, tw_tok_span *ret)
{
    if (s->token != NULL)
        return put_token(s, ret);
    while (s->i_search < s->n) {
        size_t start = s->i_search, len = 0;
        const tw_tj_added *token = match_here(s->trie, s->p + start, s->n - start, &len);
        s->i_search += token != NULL ? len : 1;
        if (token == NULL || (token->single_word && !is_single_word(s, start, start + len)))
            continue;
        s->token = token;
        s->token_end = token->rstrip ? skip_right_spaces(s, start + len) : start + len;
        start = token->lstrip ? skip_left_spaces(s, start) : start;
        if (start <= s->i_done)
            return put_token(s, ret);
        *ret = (tw_tok_span){s->i_done, start, NULL};
        s->i_done = start;
        return true;
    }
    if (s->i_done >= s->n)
        return false;
    *ret = (tw_tok_span){s->i_done, s->n, NULL};
    s->i_done = s->n;
    return true;
}
