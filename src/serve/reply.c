/* SPDX-License-Identifier: Apache-2.0 */
/* Answers: one JSON text, an error, or a stream of server-sent events. */
#include <errno.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/sse.h"
#include "serve/server.h"

static enum MHD_Result queue(tw_http *h, unsigned status, struct MHD_Response *r, const char *type)
{
    if (r == NULL)
        return MHD_NO;
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (status == 401)
        (void)MHD_add_response_header(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    const char *methods = h->route <= TW_ROUTE_TEXT ? "POST, OPTIONS" : "GET, HEAD, OPTIONS";
    if (status == 405 || status == 204)
        (void)MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, methods);
    tw_cors_put(h, r, status == 204 ? methods : NULL);
    enum MHD_Result ok = MHD_queue_response(h->conn, status, r);
    MHD_destroy_response(r);
    return ok;
}

enum MHD_Result tw_http_reply(tw_http *h, int status, const tw_buf *json)
{
    char nothing[1] = "";
    struct MHD_Response *r =
        MHD_create_response_from_buffer(json->len, json->len ? json->data : nothing,
                                        MHD_RESPMEM_MUST_COPY);
    return queue(h, (unsigned)status, r, "application/json");
}

enum MHD_Result tw_http_reply_text(tw_http *h, const tw_buf *text)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(text->len, text->data, MHD_RESPMEM_MUST_COPY);
    return queue(h, 200, r, "text/plain; version=0.0.4; charset=utf-8");
}

enum MHD_Result tw_http_refuse(tw_http *h, const tw_openai_fail *f)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(64 << 10);
    if (tw_openai_print_fail(&b, f))
        return MHD_NO;
    return tw_http_reply(h, f->status, &b);
}

int tw_http_no_memory(tw_openai_fail *f)
{
    return tw_openai_fail_set(f, 503, "server_error", NULL, NULL, "out of memory");
}

void tw_http_fail_from(tw_openai_fail *f, const tw_err *err)
{
    if (err->code == -E2BIG)
        tw_openai_fail_set(f, 400, "invalid_request_error", "context_length_exceeded", NULL, "%s",
                           err->msg);
    else if (err->code == -EINVAL)
        tw_openai_fail_set(f, 400, "invalid_request_error", NULL, NULL, "%s", err->msg);
    else if (err->code == -ECANCELED)
        tw_openai_fail_set(f, 503, "server_error", "cancelled", NULL, "%s", err->msg);
    else
        tw_openai_fail_set(f, 500, "server_error", NULL, NULL, "%s", err->msg);
}

/* JSON printed into a scratch buffer becomes one event. */
static int put_event(tw_http *h, tw_buf *json, int r)
{
    if (r == 0)
        r = tw_sse_append(&h->out, json->data, json->len);
    tw_buf_reset(json);
    return r;
}

static int put_delta(tw_http *h, tw_buf *json, const tw_stream_event *ev)
{
    static const char *const finish[] = {[TW_FINISH_STOP] = "stop",
                                         [TW_FINISH_LENGTH] = "length",
                                         [TW_FINISH_CANCELLED] = NULL,
                                         [TW_FINISH_ERROR] = NULL};
    tw_openai_choice c = {.text = ev->n_text ? ev->text : "", .n_text = ev->n_text};
    bool first = !h->role_sent[ev->i_choice] && h->head.kind == TW_OPENAI_CHAT;
    if (ev->done)
        c.finish = finish[tw_stream_choice_at(h->stream, ev->i_choice)->finish];
    if (ev->done && c.finish == NULL)
        return 0; /* the error event at the end tells */
    h->role_sent[ev->i_choice] = true;
    if (first) { /* the role comes alone, as the API does it */
        const tw_openai_choice none = {.text = ""};
        int r =
            put_event(h, json, tw_openai_print_chunk(json, &h->head, ev->i_choice, true, &none));
        if (r)
            return r;
    }
    return put_event(h, json, tw_openai_print_chunk(json, &h->head, ev->i_choice, false, &c));
}

static int put_end(tw_http *h, tw_buf *json)
{
    tw_err err = {0};
    tw_openai_fail f = {0};
    tw_openai_usage u = {0};
    int r = 0;
    h->last_out = true;
    if (tw_stream_failed(h->stream, &err)) {
        tw_http_fail_from(&f, &err);
        return put_event(h, json, tw_openai_print_fail(json, &f));
    }
    for (size_t i = 0; i < h->n_choices; i++) {
        const tw_stream_choice *c = tw_stream_choice_at(h->stream, i);
        u.n_generated += c->n_generated;
        if (i % (h->n_choices / h->n_prompts) == 0)
            u.n_prompt += c->n_prompt;
    }
    if (h->head.include_usage)
        r = put_event(h, json, tw_openai_print_usage_chunk(json, &h->head, &u));
    return r ? r : tw_sse_append(&h->out, "[DONE]", 6);
}

static int put_broken(tw_http *h, tw_buf *json)
{
    tw_openai_fail f = {0};
    h->last_out = true;
    if (tw_stream_is_full(h->stream))
        return -EPIPE; /* the client does not read: there is nobody to tell */
    tw_openai_fail_set(&f, 503, "server_error", "shutting_down", NULL, "the server is stopping");
    return put_event(h, json, tw_openai_print_fail(json, &f));
}

/* Fills h->out with what is there; 0, or an error that ends the connection. With nothing in h->out
 * after it the connection is suspended, or the stream is at its end. */
static int fill_out(tw_http *h)
{
    TW_CLEANUP(tw_buf_done) tw_buf json = TW_BUF(4 * TW_STREAM_QUEUE_BYTES + 4096);
    while (h->out.len < 16384 && !h->last_out) {
        tw_stream_event ev;
        int r = 0;
        switch (tw_stream_next(h->stream, h->out.len == 0, &ev)) {
        case TW_STREAM_EVENT:
            r = put_delta(h, &json, &ev);
            break;
        case TW_STREAM_ENDED:
            r = put_end(h, &json);
            break;
        case TW_STREAM_BROKEN:
            r = put_broken(h, &json);
            break;
        case TW_STREAM_WAIT:
        default:
            return 0;
        }
        if (r)
            return r;
    }
    return 0;
}

static ssize_t read_stream(void *cls, uint64_t pos, char *buf, size_t max)
{
    tw_http *h = cls;
    (void)pos;
    if (h->out.len == 0) {
        if (h->last_out)
            return MHD_CONTENT_READER_END_OF_STREAM;
        if (fill_out(h))
            return MHD_CONTENT_READER_END_WITH_ERROR;
        if (h->out.len == 0 && h->last_out)
            return MHD_CONTENT_READER_END_OF_STREAM;
    }
    size_t n = TW_MIN(h->out.len, max);
    if (n)
        memcpy(buf, h->out.data, n);
    tw_buf_drop(&h->out, n);
    return (ssize_t)n;
}

enum MHD_Result tw_http_reply_stream(tw_http *h)
{
    struct MHD_Response *r =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, read_stream, h, NULL);
    return queue(h, MHD_HTTP_OK, r, "text/event-stream; charset=utf-8");
}
