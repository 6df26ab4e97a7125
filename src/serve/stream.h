/* SPDX-License-Identifier: Apache-2.0 */
/* Between the engine thread and one HTTP connection: the choices of a request and the queue of
 * their events. Counted: the connection holds one reference, each submitted choice another until
 * its DONE, so either side may end first.
 * Locking: the stream's lock is a leaf for the engine's callbacks. It is never held while the
 * engine is called (the engine may call back with its own lock held). */
#ifndef TWINAX_SERVE_STREAM_H
#define TWINAX_SERVE_STREAM_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "twinax/engine.h"

enum { TW_STREAM_QUEUE_BYTES = 128 << 10 };

typedef struct tw_stream tw_stream;

typedef struct tw_stream_choice {
    tw_stream *stream;
    uint32_t index;
    uint64_t id; /* the engine's */
    bool submitted, done;
    enum tw_finish finish;
    uint32_t n_prompt, n_generated;
} tw_stream_choice;

/* One piece of text, or the end of a choice. */
typedef struct tw_stream_event {
    uint32_t i_choice;
    bool done;
    const char *text; /* valid until the next tw_stream_next */
    size_t n_text;
} tw_stream_event;

/* n_choices > 0. wake_fd: eventfd that is rung when the request must be cancelled because its queue
 * is full. eager: the connection is resumed by every event, else when the queue is half full and
 * when all is done. NULL when out of memory. */
tw_stream *tw_stream_new(struct MHD_Connection *conn, size_t n_choices, bool eager, int wake_fd);
tw_stream *tw_stream_get(tw_stream *s);
void tw_stream_put(tw_stream *s);

/* Gives choice i to the engine. r's on_event and ctx are set here. */
TW_MUST_CHECK int tw_stream_submit(tw_stream *s, tw_engine *e, size_t i, tw_request *r,
                                   tw_err *err);
void tw_stream_cancel(tw_stream *s, tw_engine *e); /* any thread; no lock held */
void tw_stream_detach(tw_stream *s);               /* the connection is gone */
void tw_stream_close(tw_stream *s);                /* the server ends: resumes for good */
bool tw_stream_is_full(tw_stream *s);              /* the queue ran over: cancel it */

enum tw_stream_state {
    TW_STREAM_EVENT, /* *ret holds one */
    TW_STREAM_WAIT,  /* nothing yet; where allowed the connection was suspended */
    TW_STREAM_ENDED, /* all choices are done */
    TW_STREAM_BROKEN /* full or closing: no more will come */
};
/* HTTP thread only. may_suspend: suspends the connection when there is nothing; it is resumed when
 * there is. False while text is in hand: a suspended connection sends nothing. */
enum tw_stream_state tw_stream_next(tw_stream *s, bool may_suspend, tw_stream_event *ret);

/* After TW_STREAM_ENDED. */
const tw_stream_choice *tw_stream_choice_at(const tw_stream *s, size_t i);
bool tw_stream_failed(tw_stream *s, tw_err *ret); /* the first error of a choice, or cancellation */

#endif
