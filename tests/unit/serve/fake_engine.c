/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_engine.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

enum { HISTORY = 256 };

struct tw_model {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool hold;
    unsigned n_held;
};

typedef struct job {
    uint64_t id;
    tw_event_fn *on_event;
    void *ctx;
    uint32_t n_prompt, max_tokens, n_given;
    bool hang, flood, fail, cancelled;
    char stop[64];
    struct job *next;
} job;

struct tw_engine {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    job *jobs;
    bool closing, broken;
    uint64_t next_id;
    unsigned n_cancelled, n_submitted, n_running;
    tw_sampling history[HISTORY];
};

static struct tw_model the_model = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                    .changed = PTHREAD_COND_INITIALIZER};

tw_model *fake_model(void)
{
    return &the_model;
}

void fake_model_hold(bool hold)
{
    pthread_mutex_lock(&the_model.lock);
    the_model.hold = hold;
    the_model.n_held = 0;
    pthread_cond_broadcast(&the_model.changed);
    pthread_mutex_unlock(&the_model.lock);
}

bool fake_model_wait_held(void)
{
    struct timespec until;
    int r = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&the_model.lock);
    while (the_model.n_held == 0 && r == 0)
        r = pthread_cond_timedwait(&the_model.changed, &the_model.lock, &until);
    pthread_mutex_unlock(&the_model.lock);
    return r == 0;
}

static void be_held(void)
{
    pthread_mutex_lock(&the_model.lock);
    the_model.n_held++;
    pthread_cond_broadcast(&the_model.changed);
    while (the_model.hold)
        pthread_cond_wait(&the_model.changed, &the_model.lock);
    pthread_mutex_unlock(&the_model.lock);
}

static void finish(tw_engine *e, job *j, enum tw_finish why, const tw_err *err)
{
    const tw_event ev = {.kind = TW_EVENT_DONE,
                         .finish = why,
                         .err = err,
                         .n_prompt = j->n_prompt,
                         .n_generated = j->n_given};
    j->on_event(j->ctx, &ev);
    for (job **p = &e->jobs; *p; p = &(*p)->next)
        if (*p == j) {
            *p = j->next;
            break;
        }
    free(j);
    e->n_running--;
    pthread_cond_broadcast(&e->changed);
}

/* One token of one job; false when it waits. */
static bool step(tw_engine *e, job *j)
{
    char text[1100];
    tw_err err = {0};
    if (j->cancelled || e->closing) {
        finish(e, j, TW_FINISH_CANCELLED, NULL);
        return true;
    }
    if (j->hang && j->n_given)
        return false;
    if (j->fail && j->n_given) {
        (void)tw_err_set(&err, -EIO, "rank 1 lost: heartbeat missing for 1.5 s");
        finish(e, j, TW_FINISH_ERROR, &err);
        return true;
    }
    if (!j->flood && j->n_given == j->max_tokens) {
        finish(e, j, TW_FINISH_LENGTH, NULL);
        return true;
    }
    snprintf(text, sizeof(text), "t%u ", j->n_given);
    if (j->stop[0] && strcmp(text, j->stop) == 0) {
        finish(e, j, TW_FINISH_STOP, NULL);
        return true;
    }
    if (j->flood)
        snprintf(text, sizeof(text), "%01000u", j->n_given);
    j->n_given++;
    const tw_event ev = {.kind = TW_EVENT_TOKEN, .id = 1, .text = text, .text_len = strlen(text)};
    j->on_event(j->ctx, &ev);
    return true;
}

static void *engine_main(void *arg)
{
    tw_engine *e = arg;
    pthread_mutex_lock(&e->lock);
    while (!e->closing || e->jobs) {
        bool moved = false;
        for (job *j = e->jobs, *next; j; j = next) {
            next = j->next;
            moved = step(e, j) || moved;
        }
        pthread_mutex_unlock(&e->lock);
        pthread_mutex_lock(&e->lock);
        if (!moved && !e->closing) {
            bool waits = true; /* a cancel may have come in between */
            for (job *j = e->jobs; j; j = j->next)
                waits = waits && j->hang && j->n_given && !j->cancelled;
            if (waits)
                pthread_cond_wait(&e->changed, &e->lock);
        }
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

tw_engine *fake_engine_new(void)
{
    tw_engine *e = calloc(1, sizeof(*e));
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->changed, NULL);
    pthread_create(&e->thread, NULL, engine_main, e);
    return e;
}

void fake_engine_free(tw_engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->closing = true;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
    pthread_join(e->thread, NULL);
    pthread_cond_destroy(&e->changed);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

void fake_engine_break(tw_engine *e, bool broken)
{
    pthread_mutex_lock(&e->lock);
    e->broken = broken;
    pthread_mutex_unlock(&e->lock);
}

static unsigned get(tw_engine *e, const unsigned *v)
{
    pthread_mutex_lock(&e->lock);
    unsigned n = *v;
    pthread_mutex_unlock(&e->lock);
    return n;
}

unsigned fake_engine_cancelled(tw_engine *e)
{
    return get(e, &e->n_cancelled);
}

unsigned fake_engine_running(tw_engine *e)
{
    return get(e, &e->n_running);
}

unsigned fake_engine_submitted(tw_engine *e)
{
    return get(e, &e->n_submitted);
}

/* Until *v >= n, or, n being 0, until *v == 0. */
static bool wait_for(tw_engine *e, const unsigned *v, unsigned n)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    pthread_mutex_lock(&e->lock);
    int r = 0;
    while (r == 0 && (n ? *v < n : *v != 0))
        r = pthread_cond_timedwait(&e->changed, &e->lock, &until);
    pthread_mutex_unlock(&e->lock);
    return r == 0;
}

bool fake_engine_wait_cancelled(tw_engine *e, unsigned n)
{
    return wait_for(e, &e->n_cancelled, n);
}

bool fake_engine_wait_submitted(tw_engine *e, unsigned n)
{
    return wait_for(e, &e->n_submitted, n);
}

bool fake_engine_wait_idle(tw_engine *e)
{
    return wait_for(e, &e->n_running, 0);
}

tw_sampling fake_engine_sampling(tw_engine *e, unsigned back)
{
    pthread_mutex_lock(&e->lock);
    tw_sampling s = e->history[(e->n_submitted - 1 - back) % HISTORY];
    pthread_mutex_unlock(&e->lock);
    return s;
}

static bool holds(const tw_request *r, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= r->n_prompt; i++) {
        size_t k = 0;
        while (k < n && r->prompt[i + k] == (unsigned char)word[k])
            k++;
        if (k == n)
            return true;
    }
    return false;
}

int tw_engine_submit(tw_engine *e, const tw_request *r, uint64_t *ret_id, tw_err *err)
{
    if (r->n_prompt >= FAKE_CTX)
        return tw_err_set(err, -E2BIG, "prompt of %zu tokens, context %d", r->n_prompt, FAKE_CTX);
    job *j = calloc(1, sizeof(*j));
    j->on_event = r->on_event;
    j->ctx = r->ctx;
    j->n_prompt = (uint32_t)r->n_prompt;
    j->max_tokens = r->max_tokens ? r->max_tokens : 8;
    j->hang = holds(r, "HANG");
    j->flood = holds(r, "FLOOD");
    j->fail = holds(r, "FAIL");
    if (r->n_stops)
        snprintf(j->stop, sizeof(j->stop), "%s", r->stops[0]);
    pthread_mutex_lock(&e->lock);
    j->id = *ret_id = ++e->next_id;
    job **tail = &e->jobs;
    while (*tail)
        tail = &(*tail)->next;
    *tail = j;
    e->history[e->n_submitted++ % HISTORY] = r->sampling;
    e->n_running++;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
    return 0;
}

void tw_engine_cancel(tw_engine *e, uint64_t id)
{
    pthread_mutex_lock(&e->lock);
    for (job *j = e->jobs; j; j = j->next)
        if (j->id == id && !j->cancelled) {
            j->cancelled = true;
            e->n_cancelled++;
        }
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

int tw_engine_health(tw_engine *e, tw_err *err)
{
    pthread_mutex_lock(&e->lock);
    bool broken = e->broken;
    pthread_mutex_unlock(&e->lock);
    return broken ? tw_err_set(err, -EIO, "rank 1 lost") : 0;
}

void tw_engine_get_info(const tw_engine *e, tw_engine_info *ret)
{
    (void)e;
    *ret = (tw_engine_info){.n_ranks = 2, .ctx = FAKE_CTX, .vocab = FAKE_VOCAB, .cpu = "fake"};
}

void tw_engine_get_stats(tw_engine *e, uint64_t wait_ns, tw_engine_stats *ret)
{
    (void)wait_ns;
    *ret = (tw_engine_stats){.n_generated_10s = 0};
    tw_engine_get_info(e, &ret->info);
}

void tw_sampling_defaults(const tw_model *m, tw_sampling *ret)
{
    (void)m;
    *ret = (tw_sampling){.temperature = 0.625f, .top_p = 1, .repetition_penalty = 1};
}

const char *tw_model_name(const tw_model *m)
{
    (void)m;
    return "org/fake";
}

/* One id a byte; id 0 in front when special tokens are asked for. */
int tw_model_tokenize(tw_model *m, const char *text, size_t n, bool add_special, uint32_t **ret_ids,
                      size_t *ret_n, tw_err *err)
{
    (void)m;
    (void)err;
    uint32_t *ids = malloc((n + 1) * sizeof(*ids));
    size_t k = 0;
    if (add_special)
        ids[k++] = 0;
    for (size_t i = 0; i < n; i++)
        ids[k++] = (unsigned char)text[i];
    *ret_ids = ids;
    *ret_n = k;
    return 0;
}

int tw_model_render_chat(tw_model *m, const char *messages_json, const char *tools_json,
                         bool add_generation_prompt, char **ret_text, tw_err *err)
{
    (void)m;
    (void)add_generation_prompt;
    if (strstr(messages_json, "HOLD"))
        be_held();
    if (strstr(messages_json, "REFUSE"))
        return tw_err_set(err, -EINVAL, "chat template:7: roles must alternate");
    json_t *j = json_loads(messages_json, 0, NULL);
    size_t n = strlen(messages_json) + (tools_json ? strlen(tools_json) : 0) + 8;
    char *text = malloc(n);
    text[0] = 0;
    for (size_t i = 0; i < json_array_size(j); i++)
        strcat(text, json_string_value(json_object_get(json_array_get(j, i), "content")));
    if (tools_json)
        strcat(text, tools_json);
    json_decref(j);
    *ret_text = text;
    return 0;
}

int tw_model_render_chat_with(tw_model *m, const char *messages_json, const char *tools_json,
                              const char *kwargs_json, bool add_generation_prompt, char **ret_text,
                              tw_err *err)
{
    (void)kwargs_json;
    return tw_model_render_chat(m, messages_json, tools_json, add_generation_prompt, ret_text, err);
}

void tw_text_free(void *p)
{
    free(p);
}
