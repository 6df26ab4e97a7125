/* SPDX-License-Identifier: Apache-2.0 */
#include "coll/health.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "base/silence.h"
#include "fmt/frame.h"
#include "os/sock.h"
#include "os/urgent.h"

enum { RANKS = TW_FRAME_RANKS_MAX, BODY_MAX = 512, TEXT_MAX = 200 };
#define TOLD_LATE_NS (250 * TW_NS_PER_MS) /* worth a word when a peer is lost */

typedef struct health_peer {
    int fd; /* -1: not watched */
    char name[64];
    tw_silence silence;
    size_t n; /* of buf */
    bool left;
    uint8_t buf[TW_FRAME_CTL_BYTES + BODY_MAX];
} health_peer;

struct tw_health {
    unsigned rank, n_ranks;
    int wake_fd, stop_fd;
    pthread_t thread;
    bool has_thread;
    atomic_bool dead;
    char beat[TW_FRAME_CTL_BYTES]; /* the frame */
    pthread_mutex_t lock;          /* all below, and writing to the connections */
    bool gave_up;
    tw_err err;       /* code 0: all well */
    tw_buf out;       /* reserved: who gives up may be in mid-decode, where nothing allocates */
    uint64_t late_ns; /* how late the thread was at most */
    health_peer peers[RANKS];
};

static void lock_health(tw_health *h)
{
    pthread_mutex_lock(&h->lock);
}

static void unlock_health(tw_health *h)
{
    pthread_mutex_unlock(&h->lock);
}

/* A frame is small and the connection idle: it goes whole or the peer does not read any more, which
 * its silence will show. */
static void send_frame(const health_peer *p, const char *data, size_t n)
{
    if (p->fd >= 0)
        (void)!send(p->fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void send_text(tw_health *h, enum tw_frame_type type, unsigned rank, const char *text,
                      unsigned except)
{
    char cut[TEXT_MAX];
    snprintf(cut, sizeof cut, "%s", text);
    tw_buf_reset(&h->out);
    if (tw_frame_text_encode(&h->out, type, (uint8_t)rank, cut) != 0)
        return;
    for (unsigned i = 0; i < h->n_ranks; i++)
        if (i != except)
            send_frame(&h->peers[i], h->out.data, h->out.len);
}

/* Lock held. The first cause stays. */
static void note_death(tw_health *h, unsigned peer, const char *text)
{
    if (h->peers[peer].fd >= 0) {
        close(h->peers[peer].fd);
        h->peers[peer].fd = -1;
    }
    if (atomic_load(&h->dead))
        return;
    (void)tw_err_set(&h->err, -ECONNRESET, "%s", text);
    atomic_store(&h->dead, true);
    uint64_t one = 1;
    (void)!write(h->wake_fd, &one, sizeof one);
    if (h->rank == 0)
        send_text(h, TW_FRAME_DEAD, peer, text, peer);
}

static void note_departure(tw_health *h, unsigned peer)
{
    health_peer *p = &h->peers[peer];
    p->left = true;
    close(p->fd);
    p->fd = -1;
    if (h->err.code == 0)
        (void)tw_err_set(&h->err, -ECONNRESET, "rank %u (%s) left the group", peer, p->name);
}

/* One whole frame from a peer. */
static void take_frame(tw_health *h, unsigned peer, const tw_frame_ctl *f, const uint8_t *body)
{
    char text[TEXT_MAX], line[sizeof h->err.msg];
    uint8_t rank;
    health_peer *p = &h->peers[peer];
    if (f->type == TW_FRAME_BEAT)
        return;
    if ((f->type != TW_FRAME_DEAD && f->type != TW_FRAME_BYE) ||
        tw_frame_text_decode(body, f->bytes, &rank, text, sizeof text) != 0) {
        snprintf(line, sizeof line, "rank %u (%s) sent a frame that makes no sense here (type %u)",
                 peer, p->name, f->type);
        note_death(h, peer, line);
        return;
    }
    if (f->type == TW_FRAME_BYE && text[0] == '\0') {
        note_departure(h, peer);
        return;
    }
    if (f->type == TW_FRAME_BYE)
        snprintf(line, sizeof line, "rank %u (%s) gave up: %s", peer, p->name, text);
    else
        snprintf(line, sizeof line, "%s (told by rank %u)", text, peer);
    note_death(h, peer, line);
}

static void take_frames(tw_health *h, unsigned peer)
{
    health_peer *p = &h->peers[peer];
    while (p->fd >= 0 && p->n >= TW_FRAME_CTL_BYTES) {
        tw_frame_ctl f;
        if (tw_frame_ctl_decode(p->buf, &f) != 0 || f.bytes > BODY_MAX) {
            char line[160];
            snprintf(line, sizeof line, "rank %u (%s) sent garbage among its heartbeats", peer,
                     p->name);
            note_death(h, peer, line);
            return;
        }
        size_t n = TW_FRAME_CTL_BYTES + f.bytes;
        if (p->n < n)
            return;
        take_frame(h, peer, &f, p->buf + TW_FRAME_CTL_BYTES);
        p->n -= n;
        memmove(p->buf, p->buf + n, p->n);
    }
}

static void hear(tw_health *h, unsigned peer, uint64_t now)
{
    health_peer *p = &h->peers[peer];
    while (p->fd >= 0) {
        ssize_t n = recv(p->fd, p->buf + p->n, sizeof p->buf - p->n, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            char line[160];
            snprintf(line, sizeof line, "rank %u (%s) closed its connection%s%s", peer, p->name,
                     n < 0 ? ": " : "", n < 0 ? strerror(errno) : "");
            note_death(h, peer, line);
            return;
        }
        tw_silence_hear(&p->silence, now);
        p->n += (size_t)n;
        take_frames(h, peer);
    }
}

/* He may yet live (starved, or heard by nobody but able to hear): then he wants to know why. */
static void tell_silent(tw_health *h, unsigned peer, double silent_s)
{
    char text[80];
    snprintf(text, sizeof text, "it heard nothing of rank %u for %.1f s", peer, silent_s);
    tw_buf_reset(&h->out);
    if (tw_frame_text_encode(&h->out, TW_FRAME_BYE, (uint8_t)h->rank, text) == 0)
        send_frame(&h->peers[peer], h->out.data, h->out.len);
}

static void check_silence(tw_health *h, uint64_t now)
{
    for (unsigned i = 0; i < h->n_ranks; i++) {
        health_peer *p = &h->peers[i];
        if (p->fd < 0 || now < tw_silence_end(&p->silence, TW_HEALTH_SILENCE_NS))
            continue;
        const double silent_s = (double)(now - p->silence.heard_ns) * 1e-9;
        char line[200];
        int n = snprintf(line, sizeof line,
                         "rank %u (%s) was silent for %.1f s: stopped, or its network is cut", i,
                         p->name, silent_s);
        if (h->late_ns >= TOLD_LATE_NS && n > 0)
            snprintf(line + n, sizeof line - (size_t)n,
                     "; this process itself ran %.1f s late: is this machine overloaded?",
                     (double)h->late_ns * 1e-9);
        tell_silent(h, i, silent_s);
        note_death(h, i, line);
    }
}

static void send_beats(tw_health *h)
{
    for (unsigned i = 0; i < h->n_ranks; i++)
        send_frame(&h->peers[i], h->beat, sizeof h->beat);
}

/* When the thread has to look again even if nothing comes. */
static uint64_t next_wake(const tw_health *h, uint64_t beat_ns)
{
    uint64_t at = beat_ns;
    for (unsigned i = 0; i < h->n_ranks; i++)
        if (h->peers[i].fd >= 0)
            at = TW_MIN(at, tw_silence_end(&h->peers[i].silence, TW_HEALTH_SILENCE_NS));
    return at;
}

/* Our own process may have been stopped or starved: what is late is then not the peer alone. */
static void note_lateness(tw_health *h, uint64_t now, uint64_t wanted_ns)
{
    for (unsigned i = 0; i < h->n_ranks; i++)
        tw_silence_look(&h->peers[i].silence, TW_HEALTH_SILENCE_NS, wanted_ns, now);
    if (now > wanted_ns)
        h->late_ns = TW_MAX(h->late_ns, now - wanted_ns);
}

static void *run_health(void *arg)
{
    tw_health *h = arg;
    uint64_t beat_ns = 0;
    (void)tw_urgent_begin();
    for (;;) {
        struct pollfd pfd[RANKS + 1] = {{.fd = h->stop_fd, .events = POLLIN}};
        lock_health(h);
        uint64_t now = tw_clock_now_ns();
        if (now >= beat_ns) {
            send_beats(h);
            beat_ns = now + TW_HEALTH_BEAT_NS;
        }
        for (unsigned i = 0; i < h->n_ranks; i++)
            pfd[i + 1] = (struct pollfd){.fd = h->peers[i].fd, .events = POLLIN};
        uint64_t wake_ns = next_wake(h, beat_ns);
        unlock_health(h);

        uint64_t wait_ns = wake_ns > now ? wake_ns - now : 0;
        struct timespec ts = {(time_t)(wait_ns / TW_NS_PER_S), (int)(wait_ns % TW_NS_PER_S)};
        int n = ppoll(pfd, h->n_ranks + 1, &ts, NULL);
        if (n > 0 && pfd[0].revents != 0)
            return NULL;

        lock_health(h);
        now = tw_clock_now_ns();
        note_lateness(h, now, wake_ns);
        for (unsigned i = 0; i < h->n_ranks; i++)
            hear(h, i, now);
        check_silence(h, now);
        unlock_health(h);
    }
}

static int start_thread(tw_health *h)
{
    /* Signals belong to the program's own threads. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&h->thread, NULL, run_health, h);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    h->has_thread = rc == 0;
    return -rc;
}

int tw_health_start(unsigned rank, unsigned n_ranks, const int *fds, tw_health **ret, tw_err *err)
{
    tw_health *h = tw_mem_calloc(1, sizeof *h);
    if (h == NULL) {
        for (unsigned i = 0; i < n_ranks; i++)
            if (fds[i] >= 0)
                close(fds[i]);
        return tw_err_set(err, -ENOMEM, "no memory for heartbeats");
    }
    h->rank = rank;
    h->n_ranks = n_ranks;
    tw_urgent_lock_init(&h->lock);
    for (unsigned i = 0; i < n_ranks; i++) {
        h->peers[i].fd = fds[i];
        tw_silence_hear(&h->peers[i].silence, tw_clock_now_ns());
        if (fds[i] >= 0)
            tw_sock_peer_name(fds[i], h->peers[i].name, sizeof h->peers[i].name);
    }
    h->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    h->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    h->out = TW_BUF(TW_FRAME_CTL_BYTES + BODY_MAX);
    int rc = h->wake_fd < 0 || h->stop_fd < 0 ? -errno : tw_buf_reserve(&h->out, h->out.max_bytes);
    if (rc == 0)
        rc = tw_frame_ctl_encode(&h->out, TW_FRAME_BEAT, NULL, 0);
    if (rc == 0)
        memcpy(h->beat, h->out.data, sizeof h->beat);
    (void)mlock(h, sizeof *h); /* a beat waits for no page */
    if (rc == 0)
        rc = start_thread(h);
    if (rc != 0) {
        tw_health_stop(h);
        return tw_err_set(err, rc, "heartbeat thread: %s", strerror(-rc));
    }
    *ret = h;
    return 0;
}

void tw_health_stop(tw_health *h)
{
    if (h == NULL)
        return;
    uint64_t one = 1;
    if (h->has_thread) {
        tw_health_give_up(h, "");
        (void)!write(h->stop_fd, &one, sizeof one);
        pthread_join(h->thread, NULL);
    }
    for (unsigned i = 0; i < h->n_ranks; i++)
        if (h->peers[i].fd >= 0)
            close(h->peers[i].fd);
    if (h->wake_fd >= 0)
        close(h->wake_fd);
    if (h->stop_fd >= 0)
        close(h->stop_fd);
    pthread_mutex_destroy(&h->lock);
    tw_buf_done(&h->out);
    (void)munlock(h, sizeof *h);
    tw_mem_free(h);
}

int tw_health_wake_fd(const tw_health *h)
{
    return h->wake_fd;
}

bool tw_health_dead(const tw_health *h)
{
    return atomic_load_explicit(&h->dead, memory_order_acquire);
}

int tw_health_check(tw_health *h, tw_err *err)
{
    lock_health(h);
    int rc = h->err.code;
    if (rc != 0 && err != NULL)
        *err = h->err;
    unlock_health(h);
    return rc;
}

void tw_health_give_up(tw_health *h, const char *cause)
{
    lock_health(h);
    if (!h->gave_up) {
        h->gave_up = true;
        send_text(h, TW_FRAME_BYE, h->rank, cause, h->rank);
    }
    unlock_health(h);
}

void tw_health_lost(tw_health *h, unsigned peer, const char *why)
{
    char line[sizeof h->err.msg];
    lock_health(h);
    snprintf(line, sizeof line, "rank %u is lost: %s", peer, why);
    note_death(h, peer, line);
    unlock_health(h);
}

void tw_health_describe(tw_health *h, unsigned peer, char *out, size_t out_bytes)
{
    lock_health(h);
    const health_peer *p = &h->peers[peer];
    if (p->fd >= 0)
        snprintf(out, out_bytes, "alive, last heartbeat %.1f s ago",
                 (double)(tw_clock_now_ns() - p->silence.heard_ns) * 1e-9);
    else if (p->left)
        snprintf(out, out_bytes, "it left the group");
    else
        snprintf(out, out_bytes, "%s",
                 h->rank == 0 ? "its connection is closed" : "not reported dead by rank 0");
    unlock_health(h);
}

uint64_t tw_health_late_ns(tw_health *h)
{
    lock_health(h);
    const uint64_t late_ns = h->late_ns;
    unlock_health(h);
    return late_ns;
}
