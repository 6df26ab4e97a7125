/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/agent_life.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/scope.h"
#include "fmt/agent_frame.h"
#include "os/fd.h"
#include "os/urgent.h"

enum { READ_BYTES = 16 * 1024, SEND_SLICE_MS = 100 };

static void signal_fd(int fd)
{
    uint64_t one = 1;
    (void)!write(fd, &one, sizeof one);
}

static void drain(int fd)
{
    uint64_t n;
    (void)!read(fd, &n, sizeof n);
}

/* Lock held. The first cause stays. */
static void note_end(tw_agent_life *l, const char *why)
{
    if (!atomic_load(&l->cut))
        snprintf(l->why, sizeof l->why, "%s", why);
    atomic_store(&l->cut, true);
    signal_fd(l->news_fd);
}

/* A frame is small: it goes whole, or the head does not read, which its silence will show. */
static void send_beat(tw_agent_life *l)
{
    if (pthread_mutex_trylock(&l->out_lock) != 0)
        return;
    const ssize_t n = write(l->out_fd, tw_agent_beat, TW_AGENT_BEAT_BYTES);
    pthread_mutex_unlock(&l->out_lock);
    if (n > 0 && n != TW_AGENT_BEAT_BYTES) { /* half a frame: nobody could read the next one */
        pthread_mutex_lock(&l->lock);
        note_end(l, "the connection to the head takes no more bytes");
        pthread_mutex_unlock(&l->lock);
    }
}

/* Lock held. */
static void read_more(tw_agent_life *l, uint64_t now)
{
    tw_silence_hear(&l->silence, now);
    l->full = tw_buf_reserve(&l->in, READ_BYTES) != 0;
    if (l->full) /* the main thread takes first */
        return;
    const ssize_t n = read(l->in_fd, l->in.data + l->in.len, READ_BYTES);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        note_end(l, "the head has gone");
        return;
    }
    l->in.len += (size_t)n;
    signal_fd(l->news_fd);
}

static void check_silence(tw_agent_life *l, uint64_t now)
{
    char why[80];
    /* The main thread may have heard it after now was read. */
    if (l->limit_ns == 0 || l->full || now < tw_silence_end(&l->silence, l->limit_ns))
        return;
    snprintf(why, sizeof why, "the head was silent for %.1f s",
             (double)(now - l->silence.heard_ns) * 1e-9);
    note_end(l, why);
}

/* One round: when to look again. *wait_for: -1, or the input. */
static uint64_t look(tw_agent_life *l, uint64_t now, uint64_t *beat_ns, int *wait_for)
{
    pthread_mutex_lock(&l->lock);
    const bool beat = l->beats && now >= *beat_ns;
    uint64_t at = TW_NEVER_NS;
    check_silence(l, now);
    if (beat)
        *beat_ns = now + TW_BEAT_NS;
    if (l->beats)
        at = *beat_ns;
    if (l->limit_ns != 0 && !l->full)
        at = TW_MIN(at, tw_silence_end(&l->silence, l->limit_ns));
    *wait_for = l->full ? -1 : l->in_fd;
    pthread_mutex_unlock(&l->lock);
    if (beat)
        send_beat(l);
    return at;
}

static int wait_until(struct pollfd *pfds, nfds_t n, uint64_t now, uint64_t at)
{
    const uint64_t ns = at > now ? at - now : 0;
    const struct timespec ts = {(time_t)(ns / TW_NS_PER_S), (int)(ns % TW_NS_PER_S)};
    return ppoll(pfds, n, at == TW_NEVER_NS ? NULL : &ts, NULL);
}

/* The head is dead: the main thread gets a moment, unless it may take its time. */
static void await_stop(tw_agent_life *l)
{
    struct pollfd pfd = {.fd = l->poke_fd, .events = POLLIN};
    uint64_t since = tw_clock_now_ns(), now = since;
    while (!atomic_load(&l->stopping)) {
        drain(l->poke_fd);
        if (atomic_load(&l->keeps))
            since = now;
        if (now - since >= TW_AGENT_OVERDUE_NS && l->overdue != NULL) {
            l->overdue(l->overdue_ctx);
            return;
        }
        (void)wait_until(&pfd, 1, now, now + TW_AGENT_OVERDUE_NS / 4);
        now = tw_clock_now_ns();
    }
}

static void *run_life(void *arg)
{
    tw_agent_life *l = arg;
    uint64_t beat_ns = 0;
    (void)tw_urgent_begin();
    while (!atomic_load(&l->cut)) {
        struct pollfd pfds[2] = {{.fd = l->poke_fd, .events = POLLIN}, {.events = POLLIN}};
        uint64_t now = tw_clock_now_ns();
        const uint64_t at = look(l, now, &beat_ns, &pfds[1].fd);
        if (atomic_load(&l->cut))
            break;
        const int n = wait_until(pfds, 2, now, at);
        drain(l->poke_fd);
        if (atomic_load(&l->stopping))
            return NULL;
        now = tw_clock_now_ns();
        pthread_mutex_lock(&l->lock);
        tw_silence_look(&l->silence, l->limit_ns, at,
                        now); /* stopped, starved: not the head alone */
        if (n > 0 && pfds[1].revents != 0)
            read_more(l, now);
        pthread_mutex_unlock(&l->lock);
    }
    await_stop(l);
    return NULL;
}

static int start_thread(tw_agent_life *l)
{
    sigset_t all, before; /* signals belong to the main thread */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int rc = -pthread_create(&l->thread, NULL, run_life, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    l->has_thread = rc == 0;
    return rc;
}

int tw_agent_life_start(tw_agent_life *l, int in_fd, int out_fd, tw_err *err)
{
    l->in_fd = in_fd;
    l->out_fd = out_fd;
    l->in = TW_BUF(TW_AGENT_FRAME_MAX + 2 * READ_BYTES);
    tw_silence_hear(&l->silence, tw_clock_now_ns());
    l->limit_ns = TW_FIRST_WORD_NS;
    tw_urgent_lock_init(&l->lock);
    tw_urgent_lock_init(&l->out_lock);
    l->news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->poke_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* A head that does not read must not hold us. */
    const int flags = fcntl(out_fd, F_GETFL);
    if (flags >= 0)
        (void)fcntl(out_fd, F_SETFL, flags | O_NONBLOCK);
    int rc = l->news_fd < 0 || l->poke_fd < 0 ? -errno : start_thread(l);
    if (rc == 0)
        return 0;
    tw_agent_life_stop(l);
    return tw_err_set(err, rc, "agent: no thread for the head's words: %s", strerror(-rc));
}

void tw_agent_life_stop(tw_agent_life *l)
{
    atomic_store(&l->stopping, true);
    if (l->has_thread) {
        signal_fd(l->poke_fd);
        pthread_join(l->thread, NULL);
    }
    l->has_thread = false;
    tw_fd_closep(&l->news_fd);
    tw_fd_closep(&l->poke_fd);
    pthread_mutex_destroy(&l->lock);
    pthread_mutex_destroy(&l->out_lock);
    tw_buf_done(&l->in);
}

void tw_agent_life_beat(tw_agent_life *l)
{
    pthread_mutex_lock(&l->lock);
    l->beats = true;
    tw_silence_hear(&l->silence, tw_clock_now_ns());
    l->limit_ns = TW_SILENCE_NS;
    pthread_mutex_unlock(&l->lock);
    signal_fd(l->poke_fd); /* it waits for the old time */
}

void tw_agent_life_limit(tw_agent_life *l, uint64_t silence_ns)
{
    pthread_mutex_lock(&l->lock);
    if (l->beats || silence_ns == 0)
        l->limit_ns = silence_ns;
    pthread_mutex_unlock(&l->lock);
    signal_fd(l->poke_fd); /* it waits for the old time */
}

int tw_agent_life_take(tw_agent_life *l, json_t **ret, tw_err *err)
{
    drain(l->news_fd);
    for (;;) {
        TW_CLEANUP(tw_json_freep) json_t *v = NULL;
        size_t used = 0;
        pthread_mutex_lock(&l->lock);
        int rc = tw_agent_frame_take(l->in.data, l->in.len, &v, &used, err);
        if (rc == 0)
            tw_buf_drop(&l->in, used);
        if (rc == -EAGAIN && atomic_load(&l->cut))
            rc = tw_err_set(err, -ECONNRESET, "%s", l->why);
        const bool was_full = l->full;
        l->full = false;
        if (was_full) /* we did not listen */
            tw_silence_hear(&l->silence, tw_clock_now_ns());
        pthread_mutex_unlock(&l->lock);
        if (was_full)
            signal_fd(l->poke_fd);
        if (rc != 0)
            return rc;
        if (tw_agent_is_beat(v))
            continue;
        *ret = v;
        v = NULL;
        return 0;
    }
}

int tw_agent_life_send(tw_agent_life *l, const char *p, size_t n)
{
    int rc = 0;
    pthread_mutex_lock(&l->out_lock);
    while (n > 0 && rc == 0) {
        const ssize_t got = atomic_load(&l->cut) ? -1 : write(l->out_fd, p, n);
        if (atomic_load(&l->cut) || (got < 0 && errno != EAGAIN && errno != EINTR))
            rc = -ECONNRESET;
        else if (got < 0 && errno == EAGAIN) {
            struct pollfd pfd = {.fd = l->out_fd, .events = POLLOUT};
            (void)poll(&pfd, 1, SEND_SLICE_MS);
        }
        p += got > 0 ? got : 0;
        n -= got > 0 ? (size_t)got : 0;
    }
    pthread_mutex_unlock(&l->out_lock);
    return rc;
}
