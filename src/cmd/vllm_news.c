/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/vllm_news.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "os/fd.h"
#include "os/signal.h"

int tw_vllm_news_init(tw_vllm_news *n, size_t n_nodes, tw_err *err)
{
    *n = (tw_vllm_news){.n_nodes = n_nodes};
    pthread_mutex_init(&n->lock, NULL);
    n->poke_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return n->poke_fd >= 0 ? 0 : tw_err_set(err, -errno, "eventfd: %s", strerror(errno));
}

void tw_vllm_news_done(tw_vllm_news *n)
{
    tw_fd_closep(&n->poke_fd);
    pthread_mutex_destroy(&n->lock);
}

static void poke(tw_vllm_news *n)
{
    const uint64_t one = 1;
    (void)!write(n->poke_fd, &one, sizeof one);
}

/* " 37%|###   | 1.2G/4.4G [...]" */
static bool is_bar(const char *line)
{
    const char *at = strstr(line, "%|");
    return at != NULL && strchr(at + 2, '|') != NULL;
}

void tw_vllm_news_line(tw_vllm_news *n, size_t i, const char *line)
{
    pthread_mutex_lock(&n->lock);
    const tw_vllm_log was = n->logs[i];
    const bool had_ray = n->ray_is_up[i];
    tw_vllm_log_take(&n->logs[i], line, strlen(line));
    snprintf(n->last[i], sizeof n->last[i], "%s", line);
    snprintf(n->recent[i][n->n_heard[i]++ % TW_VLLM_RECENT], TW_VLLM_RECENT_BYTES, "%s", line);
    n->heard_ns[i] = tw_clock_now_ns();
    n->ray_is_up[i] = had_ray || strstr(line, "Ray runtime started") != NULL;
    const bool news = was.phase != n->logs[i].phase || was.n_done != n->logs[i].n_done ||
                      was.trouble != n->logs[i].trouble || had_ray != n->ray_is_up[i];
    if (was.phase != n->logs[i].phase || was.n_done != n->logs[i].n_done || is_bar(line))
        n->progress_ns = n->heard_ns[i];
    pthread_mutex_unlock(&n->lock);
    if (news)
        poke(n);
}

void tw_vllm_news_gone(tw_vllm_news *n, const char *why)
{
    pthread_mutex_lock(&n->lock);
    if (!n->gone)
        snprintf(n->why_gone, sizeof n->why_gone, "%s", why);
    n->gone = true;
    pthread_mutex_unlock(&n->lock);
    poke(n);
}

tw_vllm_log tw_vllm_news_log(tw_vllm_news *n, size_t i)
{
    pthread_mutex_lock(&n->lock);
    const tw_vllm_log log = n->logs[i];
    pthread_mutex_unlock(&n->lock);
    return log;
}

size_t tw_vllm_news_rays(tw_vllm_news *n)
{
    size_t n_up = 0;
    pthread_mutex_lock(&n->lock);
    for (size_t i = 0; i < n->n_nodes; i++)
        n_up += n->ray_is_up[i];
    pthread_mutex_unlock(&n->lock);
    return n_up;
}

size_t tw_vllm_news_slowest(tw_vllm_news *n, tw_vllm_log *ret, char *ret_last, size_t last_bytes,
                            uint64_t *ret_silent_ns)
{
    size_t slowest = 0;
    pthread_mutex_lock(&n->lock);
    /* Ray's workers speak by the head's log, and mp's say nothing more once they have loaded. */
    const bool over = n->logs[0].phase >= TW_VLLM_CAPTURING;
    for (size_t i = 1; i < n->n_nodes && !over; i++)
        if (n->logs[i].phase < n->logs[slowest].phase && n->logs[i].phase > TW_VLLM_JOINING)
            slowest = i;
    *ret = n->logs[slowest];
    snprintf(ret_last, last_bytes, "%s", n->last[slowest]);
    *ret_silent_ns = n->heard_ns[slowest] > 0 ? tw_clock_now_ns() - n->heard_ns[slowest] : 0;
    pthread_mutex_unlock(&n->lock);
    return slowest;
}

uint64_t tw_vllm_news_silent_ns(tw_vllm_news *n, size_t i)
{
    pthread_mutex_lock(&n->lock);
    const uint64_t heard_ns = n->heard_ns[i];
    pthread_mutex_unlock(&n->lock);
    return heard_ns > 0 ? tw_clock_now_ns() - heard_ns : 0;
}

void tw_vllm_news_recent(tw_vllm_news *n, size_t i, char *out, size_t out_bytes)
{
    size_t len = 0;
    out[0] = '\0';
    pthread_mutex_lock(&n->lock);
    const size_t last = n->n_heard[i];
    for (size_t k = last > TW_VLLM_RECENT ? last - TW_VLLM_RECENT : 0; k < last; k++)
        if (len < out_bytes)
            len += (size_t)snprintf(out + len, out_bytes - len, "%s%s", len > 0 ? " | " : "",
                                    n->recent[i][k % TW_VLLM_RECENT]);
    pthread_mutex_unlock(&n->lock);
}

uint64_t tw_vllm_news_stalled_ns(tw_vllm_news *n, uint64_t since_ns)
{
    pthread_mutex_lock(&n->lock);
    const uint64_t from = TW_MAX(n->progress_ns, since_ns);
    pthread_mutex_unlock(&n->lock);
    const uint64_t now = tw_clock_now_ns();
    return now > from ? now - from : 0;
}

bool tw_vllm_news_is_over(tw_vllm_news *n, char *why, size_t why_bytes)
{
    const tw_vllm_log *worst = NULL;
    pthread_mutex_lock(&n->lock);
    const bool gone = n->gone;
    for (size_t i = 0; i < n->n_nodes; i++)
        if (n->logs[i].trouble != NULL && (worst == NULL || n->logs[i].trouble->fatal))
            worst = &n->logs[i];
    if (gone && worst != NULL)
        snprintf(why, why_bytes, "%.80s: %s; %s", n->why_gone, worst->trouble->what,
                 worst->trouble->mend);
    else if (gone)
        snprintf(why, why_bytes, "%s", n->why_gone);
    pthread_mutex_unlock(&n->lock);
    return gone;
}

bool tw_vllm_news_wait(tw_vllm_news *n, uint64_t limit_ns)
{
    uint64_t count;
    struct pollfd p[2] = {{.fd = n->poke_fd, .events = POLLIN},
                          {.fd = tw_signal_fd(), .events = POLLIN}};
    (void)poll(p, 2, (int)(limit_ns / TW_NS_PER_MS));
    (void)!read(n->poke_fd, &count, sizeof count);
    return !tw_signal_asked_to_stop();
}
