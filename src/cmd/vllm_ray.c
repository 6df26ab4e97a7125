/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/vllm_ray.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "cmd/keep.h"
#include "os/fd.h"
#include "os/file.h"
#include "vllm/ray_shape.h"

#define START_LIMIT_NS (300 * TW_NS_PER_S)
#define ASK_LIMIT_NS   (2 * TW_NS_PER_S)
#define LOOK_NS        (500 * TW_NS_PER_MS)

/* ---- finding it ---- */

static void forget_words(tw_vllm_shared *s)
{
    json_decref(s->says);
    s->says = NULL;
}

/* s->says stays NULL while it starts. Its record says "ready" also between two lives of it (--restart),
 * when it has neither token nor shape: its own word counts. */
static int look(tw_vllm_shared *s, enum tw_life_state *ret, tw_err *err)
{
    tw_life_paths p;
    int rc = tw_life_paths_make(TW_LIFE_RAY, &p, err);
    snprintf(s->token_path, sizeof s->token_path, "%s", rc == 0 ? p.token : "");
    if (rc == 0)
        rc = tw_life_look(&p, ret, &s->record, err);
    if (rc != 0 || *ret != TW_LIFE_RUNS || s->record.phase == TW_LIFE_STARTING)
        return rc;
    rc = tw_keep_ask(s->record.socket, ASK_LIMIT_NS, &s->says, err);
    if (rc == 0 && strcmp(tw_json_text_at(s->says, "state"), "ready") != 0)
        forget_words(s);
    return rc;
}

static int await_start(tw_vllm_run *r, enum tw_life_state *state, tw_err *err)
{
    const uint64_t until = tw_clock_now_ns() + START_LIMIT_NS;
    tw_vllm_shared *s = &r->shared;
    int rc = look(s, state, err);
    if (rc == 0 && *state == TW_LIFE_RUNS && s->says == NULL)
        tw_log(TW_LOG_INFO, "vllm", "Ray is just starting: waits for it");
    while (rc == 0 && *state == TW_LIFE_RUNS && s->says == NULL) {
        if (tw_clock_now_ns() > until)
            return tw_err_set(err, -ETIMEDOUT,
                              "Ray (pid %d) is still starting after %d s: `twinax logs --ray` says "
                              "why, `twinax down` ends it",
                              (int)s->record.serve.pid, (int)(START_LIMIT_NS / TW_NS_PER_S));
        if (!tw_vllm_news_wait(&r->news, LOOK_NS))
            return tw_err_set(err, -EINTR, "interrupted");
        rc = look(s, state, err);
    }
    return rc;
}

/* Texts of r->shared.says, which lives as long as a is used. */
static void take_rest(const json_t *shape, tw_args *a)
{
    const char *venv = json_string_value(json_object_get(shape, "venv"));
    const char *box = json_string_value(json_object_get(shape, "container"));
    enum tw_vllm_transport wire;
    if (a->vllm.venv == NULL && a->vllm.container == NULL) {
        a->vllm.venv = venv;
        a->vllm.container = box;
    }
    if (a->vllm.wire == TW_VLLM_AUTO && a->transport == TW_TRANSPORT_AUTO &&
        tw_vllm_transport_parse(tw_vllm_ray_wire(shape), &wire))
        a->vllm.wire = wire;
}

int tw_vllm_ray_find(tw_vllm_run *r, tw_args *a, tw_err *err)
{
    enum tw_life_state state = TW_LIFE_NONE;
    tw_vllm_shared *s = &r->shared;
    if (a->vllm.ray_only || a->vllm.print || a->vllm.executor != TW_VLLM_RAY)
        return 0;
    const int rc = await_start(r, &state, err);
    if (rc != 0 || state != TW_LIFE_RUNS)
        return rc;
    s->is_up = true;
    take_rest(json_object_get(s->says, "shape"), a);
    return 0;
}

/* ---- using it ---- */

static int take_token(tw_vllm_run *r, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    tw_vllm_shared *s = &r->shared;
    int rc = stat(s->token_path, &s->token) == 0 /* first: what comes between is seen later */
                 ? tw_file_read(s->token_path, &b, err)
                 : tw_err_set(err, -errno, "%s: %s", s->token_path, strerror(errno));
    if (rc != 0)
        return rc;
    const size_t n = b.len > 0 ? strcspn(b.data, "\n") : 0;
    if (n != sizeof r->token - 1)
        rc = tw_err_set(err, -EPROTO, "%s: no token of Ray: `twinax down`, then start it again",
                        r->shared.token_path);
    else
        memcpy(r->token, b.data, n);
    if (b.len > 0)
        explicit_bzero(b.data, b.len);
    return rc;
}

int tw_vllm_ray_join(tw_vllm_run *r, tw_err *err)
{
    const json_t *ray = json_object_get(r->shared.says, "ray");
    if (!r->shared.is_up)
        return 0;
    TW_CLEANUP(tw_json_freep) json_t *wanted = tw_vllm_ray_shape(r->plan, &r->place);
    int rc = wanted == NULL
                 ? tw_err_set(err, -ENOMEM, "no memory to look at Ray")
                 : tw_vllm_ray_same(json_object_get(r->shared.says, "shape"), wanted, err);
    if (rc == 0)
        rc = take_token(r, err);
    if (rc != 0)
        return rc;
    const double age_s = json_number_value(json_object_get(ray, "age_s"));
    r->counted = (tw_ray_status){
        .n_nodes = (unsigned)json_integer_value(json_object_get(ray, "nodes")),
        .gpus = json_number_value(json_object_get(ray, "gpus")),
        .gpus_used = json_number_value(json_object_get(ray, "gpus_used")),
    };
    r->counted_ns = tw_clock_now_ns() - (age_s > 0 ? (uint64_t)(age_s * 1e9) : 0);
    tw_log(TW_LOG_INFO, "vllm", "uses the Ray that is up at %s (pid %d)", r->shared.record.url,
           (int)r->shared.record.serve.pid);
    return 0;
}

/* The same process may have started Ray again (--restart). No file at all says nothing: whoever logs out
 * may lose the runtime folder. */
static bool has_begun_anew(const tw_vllm_shared *s)
{
    struct stat now;
    return stat(s->token_path, &now) == 0 &&
           (now.st_ino != s->token.st_ino || now.st_mtim.tv_sec != s->token.st_mtim.tv_sec ||
            now.st_mtim.tv_nsec != s->token.st_mtim.tv_nsec);
}

bool tw_vllm_ray_is_lost(const tw_vllm_run *r, char *why, size_t why_bytes)
{
    const tw_vllm_shared *s = &r->shared;
    if (!s->is_up)
        return false;
    const bool alive = tw_life_proc_alive(&s->record.serve);
    if (alive && !has_begun_anew(s))
        return false;
    snprintf(why, why_bytes,
             "Ray, which was started before it (pid %d), has %s: `twinax logs --ray` says why",
             (int)s->record.serve.pid, alive ? "crashed and begun anew" : "ended");
    return true;
}

void tw_vllm_ray_done(tw_vllm_run *r)
{
    forget_words(&r->shared);
}

/* ---- being it ---- */

int tw_vllm_ray_offer(tw_vllm_run *r, tw_err *err)
{
    tw_life_paths p;
    int rc = tw_life_paths_make(TW_LIFE_RAY, &p, err);
    if (rc != 0)
        return rc;
    (void)unlink(p.token);
    TW_CLEANUP(tw_fd_closep)
    int fd = open(p.token, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    rc = fd >= 0 ? tw_fd_write_all(fd, r->token, strlen(r->token)) : -errno;
    snprintf(r->shared.token_path, sizeof r->shared.token_path, "%s", p.token);
    r->shared.is_offered = fd >= 0; /* half a token goes too */
    return rc == 0 ? 0 : tw_err_set(err, rc, "%s: cannot write: %s", p.token, strerror(-rc));
}

void tw_vllm_ray_withdraw(tw_vllm_run *r)
{
    if (r->shared.is_offered)
        (void)unlink(r->shared.token_path);
    r->shared.is_offered = false;
}
