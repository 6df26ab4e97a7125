/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/stream.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"

/* A record in the queue; n_text == RECORD_DONE ends the choice. */
typedef struct record {
    uint32_t i_choice, n_text;
} record;

#define RECORD_DONE UINT32_MAX

/* Two buffers: the engine thread fills one, the HTTP thread reads the other; they are swapped when
 * the read one is used up, so no byte is copied twice and nothing is allocated on the engine's side. */
struct tw_stream {
    pthread_mutex_t lock;
    _Atomic unsigned refs;
    struct MHD_Connection *conn; /* NULL: gone */
    bool suspended, eager, full, closing;
    int wake_fd;
    char *fill, *read;
    size_t n_fill, n_read, i_read;
    size_t n_choices, n_left; /* n_left: not done */
    tw_err err;
    tw_stream_choice choices[];
};

tw_stream *tw_stream_new(struct MHD_Connection *conn, size_t n_choices, bool eager, int wake_fd)
{
    tw_stream *s = tw_mem_calloc(1, sizeof(*s) + n_choices * sizeof(s->choices[0]));
    if (s == NULL)
        return NULL;
    pthread_mutex_init(&s->lock, NULL);
    atomic_init(&s->refs, 1);
    s->conn = conn;
    s->n_choices = s->n_left = n_choices;
    s->eager = eager;
    s->wake_fd = wake_fd;
    s->fill = tw_mem_alloc(TW_STREAM_QUEUE_BYTES);
    s->read = tw_mem_alloc(TW_STREAM_QUEUE_BYTES);
    for (size_t i = 0; i < n_choices; i++)
        s->choices[i] = (tw_stream_choice){.stream = s, .index = (uint32_t)i};
    if (s->fill && s->read)
        return s;
    tw_stream_put(s);
    return NULL;
}

tw_stream *tw_stream_get(tw_stream *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void tw_stream_put(tw_stream *s)
{
    if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    pthread_mutex_destroy(&s->lock);
    tw_mem_free(s->fill);
    tw_mem_free(s->read);
    tw_mem_free(s);
}

/* Locked. */
static void resume(tw_stream *s)
{
    if (!s->suspended || s->conn == NULL)
        return;
    s->suspended = false;
    MHD_resume_connection(s->conn);
}

/* Locked. Room for every choice's end is always kept. */
static void push(tw_stream *s, uint32_t i_choice, const char *text, uint32_t n_text)
{
    size_t n = n_text == RECORD_DONE ? 0 : n_text;
    size_t kept = n_text == RECORD_DONE ? 0 : s->n_left * sizeof(record);
    if (s->full || s->closing || s->conn == NULL)
        return;
    if (s->n_fill + sizeof(record) + n + kept > TW_STREAM_QUEUE_BYTES) {
        const uint64_t one = 1;
        s->full = true; /* the watcher cancels: the engine must not be called from its callback */
        if (write(s->wake_fd, &one, sizeof(one)) < 0)
            s->err.code = -errno;
        resume(s);
        return;
    }
    const record rec = {i_choice, n_text};
    memcpy(s->fill + s->n_fill, &rec, sizeof(rec));
    if (n)
        memcpy(s->fill + s->n_fill + sizeof(rec), text, n);
    s->n_fill += sizeof(rec) + n;
}

static void take_done(tw_stream_choice *c, const tw_event *ev)
{
    tw_stream *s = c->stream;
    c->done = true;
    c->finish = ev->finish;
    c->n_prompt = ev->n_prompt;
    c->n_generated = ev->n_generated;
    if (s->err.code == 0 && ev->finish == TW_FINISH_ERROR) {
        if (ev->err)
            s->err = *ev->err;
        if (s->err.code == 0)
            (void)tw_err_set(&s->err, -EIO, "the engine gave up this request");
    }
    if (s->err.code == 0 && ev->finish == TW_FINISH_CANCELLED)
        (void)tw_err_set(&s->err, -ECANCELED, "the request was cancelled");
    push(s, c->index, NULL, RECORD_DONE);
    s->n_left--;
}

static void on_event(void *ctx, const tw_event *ev)
{
    tw_stream_choice *c = ctx;
    tw_stream *s = c->stream;
    bool done = ev->kind == TW_EVENT_DONE;
    pthread_mutex_lock(&s->lock);
    if (done)
        take_done(c, ev);
    else if (ev->text_len)
        push(s, c->index, ev->text, (uint32_t)TW_MIN(ev->text_len, TW_STREAM_QUEUE_BYTES));
    if (s->n_fill && (s->eager || s->n_left == 0 || s->n_fill > TW_STREAM_QUEUE_BYTES / 2))
        resume(s);
    pthread_mutex_unlock(&s->lock);
    if (done)
        tw_stream_put(s);
}

int tw_stream_submit(tw_stream *s, tw_engine *e, size_t i, tw_request *r, tw_err *err)
{
    tw_stream_choice *c = &s->choices[i];
    uint64_t id = 0;
    r->on_event = on_event;
    r->ctx = c;
    tw_stream_get(s); /* the choice's, dropped by its DONE */
    int e_code = tw_engine_submit(e, r, &id, err);
    if (e_code) {
        tw_stream_put(s);
        return e_code;
    }
    pthread_mutex_lock(&s->lock);
    c->id = id;
    c->submitted = true;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

void tw_stream_cancel(tw_stream *s, tw_engine *e)
{
    for (size_t i = 0; i < s->n_choices; i++) {
        pthread_mutex_lock(&s->lock);
        bool live = s->choices[i].submitted && !s->choices[i].done;
        uint64_t id = s->choices[i].id;
        pthread_mutex_unlock(&s->lock);
        if (live)
            tw_engine_cancel(e, id);
    }
}

void tw_stream_detach(tw_stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->conn = NULL;
    pthread_mutex_unlock(&s->lock);
}

void tw_stream_close(tw_stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    resume(s);
    pthread_mutex_unlock(&s->lock);
}

bool tw_stream_is_full(tw_stream *s)
{
    pthread_mutex_lock(&s->lock);
    bool full = s->full;
    pthread_mutex_unlock(&s->lock);
    return full;
}

/* Locked; the read buffer is used up. True when there is more to read now. */
static bool swap_or_suspend(tw_stream *s, bool may_suspend, enum tw_stream_state *ret)
{
    if (s->n_fill) {
        char *p = s->read;
        s->read = s->fill;
        s->fill = p;
        s->n_read = s->n_fill;
        s->i_read = s->n_fill = 0;
        return true;
    }
    if (s->full || s->closing) {
        *ret = TW_STREAM_BROKEN;
    } else if (s->n_left == 0) {
        *ret = TW_STREAM_ENDED;
    } else {
        *ret = TW_STREAM_WAIT;
        s->suspended = may_suspend;
        if (may_suspend)
            MHD_suspend_connection(s->conn);
    }
    return false;
}

enum tw_stream_state tw_stream_next(tw_stream *s, bool may_suspend, tw_stream_event *ret)
{
    enum tw_stream_state state = TW_STREAM_EVENT;
    bool more = s->i_read < s->n_read;
    if (!more) {
        pthread_mutex_lock(&s->lock);
        more = swap_or_suspend(s, may_suspend, &state);
        pthread_mutex_unlock(&s->lock);
    }
    if (!more)
        return state;
    record rec;
    memcpy(&rec, s->read + s->i_read, sizeof(rec));
    s->i_read += sizeof(rec);
    *ret = (tw_stream_event){.i_choice = rec.i_choice,
                             .done = rec.n_text == RECORD_DONE,
                             .text = s->read + s->i_read};
    if (!ret->done) {
        ret->n_text = rec.n_text;
        s->i_read += rec.n_text;
    }
    return TW_STREAM_EVENT;
}

const tw_stream_choice *tw_stream_choice_at(const tw_stream *s, size_t i)
{
    return &s->choices[i];
}

bool tw_stream_failed(tw_stream *s, tw_err *ret)
{
    pthread_mutex_lock(&s->lock);
    *ret = s->err;
    pthread_mutex_unlock(&s->lock);
    return ret->code != 0;
}
