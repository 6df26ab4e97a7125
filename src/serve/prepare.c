/* SPDX-License-Identifier: Apache-2.0 */
/* A request's body becomes token ids on a thread of its own, one request after the other: a template
 * may loop for long, and a long text takes its time, while the HTTP thread goes on with all streams. A
 * request is the preparer's from tw_prepare_put until it is resumed; its connection is suspended. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "serve/server.h"

static void prompts_done(tw_prompts *ps)
{
    for (size_t i = 0; ps->p && i < ps->n; i++)
        tw_text_free(ps->p[i].ids);
    tw_mem_free(ps->p);
}

static void text_done(char **text)
{
    tw_text_free(*text);
}

/* A chat becomes one prompt; the template writes the special tokens itself. */
static int chat_ids(tw_http *h, const tw_openai_request *r, tw_prompts *ps)
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

static int text_ids(tw_http *h, const tw_openai_prompt *p, uint32_t vocab, tw_prompt_ids *ret)
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
        *ret = (tw_prompt_ids){.borrowed = p->ids, .n = p->n_ids};
        return 0;
    }
    int e = tw_model_tokenize(h->serve->model, p->text, p->n_text, true, &ret->ids, &ret->n, &err);
    if (e)
        tw_http_fail_from(&h->fail, &err);
    return e;
}

static int make_ids(tw_http *h, const tw_openai_request *r, const tw_engine_info *info,
                    tw_prompts *ps)
{
    ps->n = r->kind == TW_OPENAI_CHAT ? 1 : r->n_prompts;
    ps->p = tw_mem_calloc(ps->n, sizeof(*ps->p));
    if (ps->p == NULL)
        return tw_http_no_memory(&h->fail);
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

static int prepare(tw_http *h)
{
    tw_openai_request *r = &h->request;
    tw_engine_info info = {0};
    tw_err err = {0};
    int e = tw_openai_parse(h->route == TW_ROUTE_CHAT ? TW_OPENAI_CHAT : TW_OPENAI_TEXT,
                            h->body.data, h->body.len, r, &h->fail);
    if (e)
        return e;
    if (r->model && strcmp(r->model, h->serve->name) != 0)
        return tw_openai_fail_set(&h->fail, 404, "invalid_request_error", "model_not_found",
                                  "model", "model \"%.100s\" is not served here, \"%.100s\" is",
                                  r->model, h->serve->name);
    if (tw_engine_health(h->serve->engine, &err))
        return tw_openai_fail_set(&h->fail, 503, "server_error", "engine_failed", NULL, "%s",
                                  err.msg);
    tw_engine_get_info(h->serve->engine, &info);
    return make_ids(h, r, &info, &h->prompts);
}

void tw_prepare_done(tw_http *h)
{
    prompts_done(&h->prompts);
    h->prompts = (tw_prompts){.n = 0};
    tw_openai_request_done(&h->request);
}

static tw_http *take_first(tw_prepare *p, bool *ret_stopping)
{
    pthread_mutex_lock(&p->lock);
    while (p->first == NULL && p->running)
        pthread_cond_wait(&p->more, &p->lock);
    tw_http *h = p->first;
    if (h)
        p->first = h->next_waiting;
    *ret_stopping = !p->running;
    pthread_mutex_unlock(&p->lock);
    return h;
}

static void *prepare_main(void *arg)
{
    tw_prepare *p = arg;
    bool stopping;
    for (tw_http *h; (h = take_first(p, &stopping)) != NULL;) {
        if (stopping)
            tw_openai_fail_set(&h->fail, 503, "server_error", "shutting_down", NULL,
                               "the server is stopping");
        else if (prepare(h) && h->fail.status == 0)
            (void)tw_http_no_memory(&h->fail);
        h->prepared = true;
        MHD_resume_connection(h->conn); /* h is the HTTP thread's again */
    }
    return NULL;
}

int tw_prepare_start(tw_prepare *p, tw_err *err)
{
    p->running = true;
    int r = pthread_create(&p->thread, NULL, prepare_main, p);
    if (r == 0)
        return 0;
    p->running = false;
    return tw_err_set(err, -r, "cannot start a thread: %s", strerror(r));
}

void tw_prepare_stop(tw_prepare *p)
{
    pthread_mutex_lock(&p->lock);
    const bool was = p->running;
    p->running = false;
    pthread_cond_signal(&p->more);
    pthread_mutex_unlock(&p->lock);
    if (was)
        pthread_join(p->thread, NULL);
}

bool tw_prepare_put(tw_http *h)
{
    tw_prepare *p = &h->serve->prepare;
    h->next_waiting = NULL;
    pthread_mutex_lock(&p->lock);
    const bool ok = p->running;
    if (ok) {
        MHD_suspend_connection(h->conn);
        *(p->first ? &p->last->next_waiting : &p->first) = h;
        p->last = h;
        pthread_cond_signal(&p->more);
    }
    pthread_mutex_unlock(&p->lock);
    return ok;
}
