/* SPDX-License-Identifier: Apache-2.0 */
/* From a request's body to choices in the engine, and from their text to an answer. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "os/sys.h"
#include "serve/server.h"

/* Prompts as ids; freed by ids_free. */
typedef struct prompt_ids {
    uint32_t *ids; /* from tw_model_tokenize */
    const uint32_t *borrowed;
    size_t n;
} prompt_ids;

typedef struct prompts {
    prompt_ids *p; /* [n] */
    size_t n;
} prompts;

static void prompts_done(prompts *ps)
{
    for (size_t i = 0; ps->p && i < ps->n; i++)
        tw_text_free(ps->p[i].ids);
    tw_mem_free(ps->p);
}

static int no_memory(tw_openai_fail *f)
{
    return tw_openai_fail_set(f, 503, "server_error", NULL, NULL, "out of memory");
}

static void text_done(char **text)
{
    tw_text_free(*text);
}

/* A chat becomes one prompt; the template writes the special tokens itself. */
static int chat_ids(tw_http *h, const tw_openai_request *r, prompts *ps)
{
    tw_err err = {0};
    TW_CLEANUP(text_done) char *text = NULL;
    int e = tw_model_render_chat_with(h->serve->model, r->messages.data,
                                      r->tools.len ? r->tools.data : NULL,
                                      r->kwargs.len ? r->kwargs.data : NULL, true, &text, &err);
    if (e == 0)
        e = tw_model_tokenize(h->serve->model, text, strlen(text), false, &ps->p[0].ids,
                              &ps->p[0].n, &err);
    if (e == 0)
        return 0;
    err.code = e == -E2BIG ? -EINVAL : e; /* a bound of the template, not the context */
    tw_http_fail_from(&h->fail, &err);
    if (h->fail.status == 400)
        snprintf(h->fail.param, sizeof(h->fail.param), "%s",
                 strncmp(err.msg, "chat_template_kwargs", 20) == 0 ? "chat_template_kwargs"
                                                                   : "messages");
    return e;
}

static int text_ids(tw_http *h, const tw_openai_prompt *p, uint32_t vocab, prompt_ids *ret)
{
    tw_err err = {0};
    if (p->text == NULL) {
        for (size_t i = 0; i < p->n_ids; i++)
            if (p->ids[i] >= vocab)
                return tw_openai_fail_set(&h->fail, 400, "invalid_request_error", "invalid_value",
                                          "prompt",
                                          "prompt: token id %" PRIu32
                                          " is not in the vocabulary of %" PRIu32,
                                          p->ids[i], vocab);
        *ret = (prompt_ids){.borrowed = p->ids, .n = p->n_ids};
        return 0;
    }
    int e = tw_model_tokenize(h->serve->model, p->text, p->n_text, true, &ret->ids, &ret->n, &err);
    if (e)
        tw_http_fail_from(&h->fail, &err);
    return e;
}

static int make_ids(tw_http *h, const tw_openai_request *r, const tw_engine_info *info, prompts *ps)
{
    ps->n = r->kind == TW_OPENAI_CHAT ? 1 : r->n_prompts;
    ps->p = tw_mem_calloc(ps->n, sizeof(*ps->p));
    if (ps->p == NULL)
        return no_memory(&h->fail);
    int e = r->kind == TW_OPENAI_CHAT ? chat_ids(h, r, ps) : 0;
    for (size_t i = 0; e == 0 && r->kind == TW_OPENAI_TEXT && i < ps->n; i++)
        e = text_ids(h, &r->prompts[i], info->vocab, &ps->p[i]);
    for (size_t i = 0; e == 0 && i < ps->n; i++) {
        if (ps->p[i].n == 0)
            return tw_openai_fail_set(&h->fail, 400, "invalid_request_error", "invalid_value",
                                      r->kind == TW_OPENAI_CHAT ? "messages" : "prompt",
                                      "the prompt has no token");
        if (info->ctx && ps->p[i].n >= info->ctx)
            return tw_openai_fail_set(&h->fail, 400, "invalid_request_error",
                                      "context_length_exceeded",
                                      r->kind == TW_OPENAI_CHAT ? "messages" : "prompt",
                                      "the prompt has %zu tokens; this server's context is %" PRIu32
                                      " tokens, prompt and answer together",
                                      ps->p[i].n, info->ctx);
    }
    return e;
}

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
        return no_memory(&h->fail);
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
                      const prompts *ps)
{
    tw_err err = {0};
    tw_request q = {.ignore_eos = r->ignore_eos, .stops = r->stops, .n_stops = r->n_stops};
    make_sampling(h, r, &q.sampling);
    uint64_t seed = q.sampling.seed;
    for (size_t i = 0; i < h->n_choices; i++) {
        const prompt_ids *p = &ps->p[i / r->n];
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
static int start(tw_http *h, const tw_openai_request *r)
{
    tw_engine_info info = {0};
    tw_err err = {0};
    TW_CLEANUP(prompts_done) prompts ps = {0};
    if (r->model && strcmp(r->model, h->serve->name) != 0)
        return tw_openai_fail_set(&h->fail, 404, "invalid_request_error", "model_not_found",
                                  "model", "model \"%.100s\" is not served here, \"%.100s\" is",
                                  r->model, h->serve->name);
    if (tw_engine_health(h->serve->engine, &err))
        return tw_openai_fail_set(&h->fail, 503, "server_error", "engine_failed", NULL, "%s",
                                  err.msg);
    tw_engine_get_info(h->serve->engine, &info);
    int e = make_ids(h, r, &info, &ps);
    if (e == 0)
        e = make_head(h, r);
    if (e)
        return e;
    h->n_prompts = ps.n;
    h->n_choices = ps.n * r->n;
    h->texts = r->stream ? NULL : tw_mem_calloc(h->n_choices, sizeof(*h->texts));
    h->role_sent = r->stream ? tw_mem_calloc(h->n_choices, sizeof(bool)) : NULL;
    h->stream = tw_stream_new(h->conn, h->n_choices, r->stream, h->serve->wake_fd);
    if (h->stream == NULL || (r->stream ? h->role_sent == NULL : h->texts == NULL))
        e = no_memory(&h->fail);
    for (size_t i = 0; h->texts && i < h->n_choices; i++)
        h->texts[i] = TW_BUF(TW_SERVE_ANSWER_MAX_BYTES);
    h->out = TW_BUF((size_t)4 << 20);
    if (e == 0)
        e = submit_all(h, r, &info, &ps);
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
    tw_openai_request r;
    enum tw_openai_kind kind = h->route == TW_ROUTE_CHAT ? TW_OPENAI_CHAT : TW_OPENAI_TEXT;
    int e = tw_openai_parse(kind, h->body.data, h->body.len, &r, &h->fail);
    bool stream = r.stream;
    h->serve->n_body_bytes -= h->body.len;
    tw_buf_done(&h->body); /* the tree holds what is needed of it */
    if (e == 0)
        e = start(h, &r);
    tw_openai_request_done(&r);
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
    (void)no_memory(&h->fail);
    return tw_http_refuse(h, &h->fail);
}

enum MHD_Result tw_http_collect(tw_http *h)
{
    for (;;) {
        tw_stream_event ev;
        switch (tw_stream_next(h->stream, true, &ev)) {
        case TW_STREAM_EVENT:
            if (!ev.done && tw_buf_append(&h->texts[ev.i_choice], ev.text, ev.n_text)) {
                (void)no_memory(&h->fail);
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
