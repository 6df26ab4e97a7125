/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/session.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"

enum { TEXT_MAX = 1 << 20 };

static int copy_stops(tw_session *s, const tw_request *r)
{
    const char **stops = tw_mem_calloc(r->n_stops + 1, sizeof(*stops));
    if (stops == NULL)
        return -ENOMEM;
    s->req.stops = stops;
    s->req.n_stops = 0;
    for (size_t i = 0; i < r->n_stops; i++) {
        if (r->stops[i][0] == '\0')
            continue;
        stops[s->req.n_stops] = tw_mem_strdup(r->stops[i]);
        if (stops[s->req.n_stops] == NULL)
            return -ENOMEM;
        s->req.n_stops++;
    }
    return 0;
}

int tw_session_new(const tw_request *r, const tw_tokenizer *tok, tw_session **ret, tw_err *err)
{
    tw_session *s = tw_mem_calloc(1, sizeof(*s));
    if (s == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for a request");
    s->req = *r;
    s->req.prompt = NULL;
    s->req.stops = NULL;
    s->req.n_stops = 0;
    s->slot = -1;
    s->text = TW_BUF(TEXT_MAX);
    s->has_text = tok != NULL;
    if (tok != NULL)
        tw_detok_init(&s->detok, tok, !r->emit_special);
    uint32_t *prompt = tw_mem_alloc(r->n_prompt * sizeof(*prompt));
    s->req.prompt = prompt;
    if (prompt == NULL || copy_stops(s, r) != 0 || tw_buf_reserve(&s->text, 1024) != 0) {
        tw_session_free(s);
        return tw_err_set(err, -ENOMEM, "no memory for a request of %zu tokens", r->n_prompt);
    }
    memcpy(prompt, r->prompt, r->n_prompt * sizeof(*prompt));
    *ret = s;
    return 0;
}

static void free_const(const void *p)
{
    union {
        const void *c;
        void *m;
    } u = {.c = p};
    tw_mem_free(u.m);
}

void tw_session_free(tw_session *s)
{
    if (s == NULL)
        return;
    free_const(s->req.prompt);
    for (size_t i = 0; s->req.stops != NULL && i < s->req.n_stops; i++)
        free_const(s->req.stops[i]);
    free_const(s->req.stops);
    if (s->has_text)
        tw_detok_done(&s->detok);
    tw_buf_done(&s->text);
    tw_mem_free(s);
}

/* Earliest stop string in the text, or NULL. */
static const char *find_stop(const tw_session *s)
{
    const char *first = NULL;
    for (size_t i = 0; i < s->req.n_stops && s->text.len > 0; i++) {
        const char *at =
            memmem(s->text.data, s->text.len, s->req.stops[i], strlen(s->req.stops[i]));
        if (at != NULL && (first == NULL || at < first))
            first = at;
    }
    return first;
}

/* Bytes at the end of the text that may yet become a stop string. */
static size_t held_back(const tw_session *s)
{
    size_t most = 0;
    for (size_t i = 0; i < s->req.n_stops; i++) {
        size_t n = TW_MIN(strlen(s->req.stops[i]) - 1, s->text.len);
        while (n > most && memcmp(s->text.data + s->text.len - n, s->req.stops[i], n) != 0)
            n--;
        most = TW_MAX(most, n);
    }
    return most;
}

static void emit(tw_session *s, uint32_t id, size_t n)
{
    tw_event ev = {.kind = TW_EVENT_TOKEN,
                   .id = id,
                   .text = n > 0 ? s->text.data : "",
                   .text_len = n};
    s->req.on_event(s->req.ctx, &ev);
    tw_buf_drop(&s->text, n);
}

int tw_session_token(tw_session *s, uint32_t id, uint64_t now_ns)
{
    tw_err err = {0};
    if (s->n_generated++ == 0)
        s->t_first_ns = now_ns;
    int rc = s->has_text ? tw_detok_push(&s->detok, id, &s->text, &err) : 0;
    if (rc != 0) {
        tw_session_finish(s, TW_FINISH_ERROR, &err, now_ns);
        return rc;
    }
    const char *stop = find_stop(s);
    if (stop == NULL) {
        emit(s, id, s->text.len - held_back(s));
        return 0;
    }
    emit(s, id, (size_t)(stop - s->text.data));
    tw_buf_reset(&s->text); /* the stop string and what follows is never emitted */
    s->stopped = true;
    tw_session_finish(s, TW_FINISH_STOP, NULL, now_ns);
    return 1;
}

/* Text that was held back: it came with no token of its own. */
static int flush_text(tw_session *s, enum tw_finish *io_why, tw_err *err)
{
    if (s->stopped)
        return 0;
    int rc = s->has_text ? tw_detok_end(&s->detok, &s->text, err) : 0;
    if (rc != 0)
        return rc;
    const char *stop = find_stop(s);
    if (stop != NULL) {
        s->text.len = (size_t)(stop - s->text.data);
        *io_why = TW_FINISH_STOP;
    }
    if (s->text.len > 0)
        emit(s, UINT32_MAX, s->text.len);
    return 0;
}

void tw_session_finish(tw_session *s, enum tw_finish why, const tw_err *err, uint64_t now_ns)
{
    tw_err own = {0};
    if (s->done)
        return;
    if ((why == TW_FINISH_STOP || why == TW_FINISH_LENGTH) && flush_text(s, &why, &own) != 0) {
        why = TW_FINISH_ERROR; /* text is missing: that is no good end */
        err = &own;
    }
    s->done = true;
    const uint64_t start = s->t_start_ns != 0 ? s->t_start_ns : now_ns;
    const uint64_t first = s->t_first_ns != 0 ? s->t_first_ns : now_ns;
    const uint64_t timed = s->t_timed_ns != 0 ? s->t_timed_ns : start;
    tw_event ev = {.kind = TW_EVENT_DONE,
                   .finish = why,
                   .err = err,
                   .n_prompt = (uint32_t)s->req.n_prompt,
                   .n_generated = s->n_generated,
                   .queue_ns = start - s->t_submit_ns,
                   .prefill_ns = first - timed,
                   .decode_ns = now_ns - first};
    s->req.on_event(s->req.ctx, &ev);
}
