/* SPDX-License-Identifier: Apache-2.0 */
/* From prompts to choices in the engine, and from their text to an answer. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "os/sys.h"
#include "serve/server.h"

/* Choice i of one request: another, but repeatable, seed. Choice 0 has the request's own. */
static uint64_t choice_seed(uint64_t seed, uint64_t i)
{
    return seed + i * UINT64_C(0x9e3779b97f4a7c15);
}

static void make_sampling(const tw_http *h, const tw_openai_request *r, tw_sampling *s)
{
    tw_sampling_defaults(h->serve->model, s);
    if (r->set & TW_OPENAI_TEMPERATURE)
        s->temperature = (float)r->temperature;
    if (r->set & TW_OPENAI_TOP_P)
        s->top_p = (float)r->top_p;
    if (r->set & TW_OPENAI_MIN_P)
        s->min_p = (float)r->min_p;
    if (r->set & TW_OPENAI_TOP_K)
        s->top_k = r->top_k;
    if (r->set & TW_OPENAI_PRESENCE)
        s->presence_penalty = (float)r->presence_penalty;
    if (r->set & TW_OPENAI_FREQUENCY)
        s->frequency_penalty = (float)r->frequency_penalty;
    if (r->set & TW_OPENAI_REPETITION)
        s->repetition_penalty = (float)r->repetition_penalty;
    if (r->set & TW_OPENAI_SEED)
        s->seed = r->seed;
    else if (tw_sys_random(&s->seed, sizeof(s->seed)))
        s->seed = tw_clock_now_ns();
}

static int make_head(tw_http *h, const tw_openai_request *r)
{
    unsigned char bytes[12] = {0};
    size_t n = 0;
    if (tw_sys_random(bytes, sizeof(bytes)))
        return tw_http_no_memory(&h->fail);
    n = (size_t)snprintf(h->id, sizeof(h->id), "%s",
                         r->kind == TW_OPENAI_CHAT ? "chatcmpl-" : "cmpl-");
    for (size_t i = 0; i < sizeof(bytes); i++)
        n += (size_t)snprintf(h->id + n, sizeof(h->id) - n, "%02x", bytes[i]);
    h->head = (tw_openai_head){.kind = r->kind,
                               .id = h->id,
                               .model = h->serve->name,
                               .created_s = tw_clock_unix_s(),
                               .include_usage = r->include_usage};
    return 0;
}

static int submit_all(tw_http *h, const tw_openai_request *r, const tw_engine_info *info,
                      const tw_prompts *ps)
{
    tw_err err = {0};
    tw_request q = {.ignore_eos = r->ignore_eos, .stops = r->stops, .n_stops = r->n_stops};
    make_sampling(h, r, &q.sampling);
    uint64_t seed = q.sampling.seed;
    for (size_t i = 0; i < h->n_choices; i++) {
        const tw_prompt_ids *p = &ps->p[i / r->n];
        uint32_t room = info->ctx ? info->ctx - (uint32_t)p->n : 0;
        q.prompt = p->ids ? p->ids : p->borrowed;
        q.n_prompt = p->n;
        q.max_tokens = r->max_tokens && room ? TW_MIN(r->max_tokens, room) : r->max_tokens;
        q.sampling.seed = choice_seed(seed, i % r->n);
        int e = tw_stream_submit(h->stream, h->serve->engine, i, &q, &err);
        if (e) {
            tw_http_fail_from(&h->fail, &err);
            return e;
        }
    }
    return 0;
}

/* Makes the choices and gives them to the engine. After a failure nothing of it is left. */
static int start(tw_http *h)
{
    const tw_openai_request *r = &h->request;
    const tw_prompts *ps = &h->prompts;
    tw_engine_info info = {0};
    tw_engine_get_info(h->serve->engine, &info);
    int e = make_head(h, r);
    if (e)
        return e;
    h->n_prompts = ps->n;
    h->n_choices = ps->n * r->n;
    h->texts = r->stream ? NULL : tw_mem_calloc(h->n_choices, sizeof(*h->texts));
    h->role_sent = r->stream ? tw_mem_calloc(h->n_choices, sizeof(bool)) : NULL;
    h->stream = tw_stream_new(h->conn, h->n_choices, r->stream, h->serve->wake_fd);
    if (h->stream == NULL || (r->stream ? h->role_sent == NULL : h->texts == NULL))
        e = tw_http_no_memory(&h->fail);
    for (size_t i = 0; h->texts && i < h->n_choices; i++)
        h->texts[i] = TW_BUF(TW_SERVE_ANSWER_MAX_BYTES);
    h->out = TW_BUF((size_t)4 << 20);
    if (e == 0)
        e = submit_all(h, r, &info, ps);
    if (e == 0 && !tw_serve_live_add(h))
        e = tw_openai_fail_set(&h->fail, 503, "server_error", "shutting_down", NULL,
                               "the server is stopping");
    if (e && h->stream) {
        tw_stream_detach(h->stream);
        tw_stream_cancel(h->stream, h->serve->engine);
        tw_stream_put(h->stream);
        h->stream = NULL;
    }
    return e;
}

enum MHD_Result tw_http_generate(tw_http *h)
{
    if (tw_prepare_put(h))
        return MHD_YES;
    tw_openai_fail_set(&h->fail, 503, "server_error", "shutting_down", NULL,
                       "the server is stopping");
    return tw_http_refuse(h, &h->fail);
}

enum MHD_Result tw_http_start(tw_http *h)
{
    const bool stream = h->request.stream;
    h->serve->n_body_bytes -= h->body.len;
    tw_buf_done(&h->body); /* the tree holds what is needed of it */
    int e = h->fail.status ? -EINVAL : start(h);
    tw_prepare_done(h);
    if (e)
        return tw_http_refuse(h, &h->fail);
    return stream ? tw_http_reply_stream(h) : tw_http_collect(h);
}

static enum MHD_Result reply_whole(tw_http *h)
{
    static const char *const finish[] = {[TW_FINISH_STOP] = "stop",
                                         [TW_FINISH_LENGTH] = "length",
                                         [TW_FINISH_CANCELLED] = NULL,
                                         [TW_FINISH_ERROR] = NULL};
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF((size_t)2 * TW_SERVE_ANSWER_MAX_BYTES);
    tw_openai_usage u = {0};
    tw_err err = {0};
    if (tw_stream_failed(h->stream, &err)) {
        tw_http_fail_from(&h->fail, &err);
        return tw_http_refuse(h, &h->fail);
    }
    tw_openai_choice *choices = tw_mem_calloc(h->n_choices, sizeof(*choices));
    for (size_t i = 0; choices && i < h->n_choices; i++) {
        const tw_stream_choice *c = tw_stream_choice_at(h->stream, i);
        choices[i] = (tw_openai_choice){.text = h->texts[i].len ? h->texts[i].data : "",
                                        .n_text = h->texts[i].len,
                                        .finish = finish[c->finish]};
        u.n_generated += c->n_generated;
        if (i % (h->n_choices / h->n_prompts) == 0)
            u.n_prompt += c->n_prompt;
    }
    int r = choices ? tw_openai_print_answer(&b, &h->head, choices, h->n_choices, &u) : -ENOMEM;
    tw_mem_free(choices);
    if (r == 0)
        return tw_http_reply(h, 200, &b);
    (void)tw_http_no_memory(&h->fail);
    return tw_http_refuse(h, &h->fail);
}

enum MHD_Result tw_http_collect(tw_http *h)
{
    for (;;) {
        tw_stream_event ev;
        switch (tw_stream_next(h->stream, true, &ev)) {
        case TW_STREAM_EVENT:
            if (!ev.done && tw_buf_append(&h->texts[ev.i_choice], ev.text, ev.n_text)) {
                (void)tw_http_no_memory(&h->fail);
                return tw_http_refuse(h, &h->fail);
            }
            break;
        case TW_STREAM_ENDED:
            return reply_whole(h);
        case TW_STREAM_BROKEN:
            tw_openai_fail_set(&h->fail, 503, "server_error", "shutting_down", NULL,
                               "the server is stopping, or this answer outran it");
            return tw_http_refuse(h, &h->fail);
        case TW_STREAM_WAIT:
        default:
            return MHD_YES;
        }
    }
}
