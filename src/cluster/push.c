/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/push.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/ssh.h"
#include "os/child.h"
#include "os/file.h"
#include "os/sha256.h"
#include "os/signal.h"

enum { SAYS_MAX = 2048, SLICE_MS = 100, PIECE = 64 * 1024 };
#define START_NS   ((TW_SSH_CONNECT_S + 10) * TW_NS_PER_S)
#define SILENCE_NS (20 * TW_NS_PER_S) /* nothing moves: the connection is dead */

/* What the far shell does: $1 the hash, $2 KiB wanted. It says "have", or "send" and takes the file.
 * No single quotes in it. */
static const char script[] =
    "exec sh -c 'umask 022; d=\"$HOME/.local/bin\"; f=\"$d/twinax-node\"; "
    "t=\"$d/.twinax-node.$$\"; "
    "mkdir -p \"$d\" || exit 5; "
    "[ \"$(\"$f\" checksum 2>/dev/null)\" = \"$1\" ] && { echo have; exit 0; }; "
    "k=$(df -Pk \"$d\" 2>/dev/null | { read x; read a b c k x; echo \"$k\"; }); "
    "[ -n \"$k\" ] && [ \"$k\" -lt \"$2\" ] && "
    "{ echo \"push: $d: No space left on device: $k KiB free, $2 wanted\" >&2; exit 6; }; "
    "trap \"rm -f \\\"$t\\\"\" EXIT; trap \"exit 7\" HUP INT TERM PIPE; "
    "echo send; cat >\"$t\" || exit 6; chmod 755 \"$t\" || exit 5; "
    "h=$(\"$t\" checksum) || { echo \"push: it does not run there\" >&2; exit 8; }; "
    "[ \"$h\" = \"$1\" ] || { echo \"push: it arrived as $h\" >&2; exit 9; }; "
    "mv -f \"$t\" \"$f\" && echo done' sh";

typedef struct push {
    const char *name;
    tw_child ssh;
    tw_map map;
    size_t n_sent;
    char out[256], says[SAYS_MAX];
    size_t n_out, n_says;
    uint64_t moved_ns;
} push;

bool tw_push_mends(int rc)
{
    return rc == -ENOENT || rc == -ELIBACC || rc == -ENOEXEC || rc == -EPROTO;
}

static void end_push(push *p)
{
    tw_child_stop(&p->ssh, 300 * TW_NS_PER_MS);
    tw_map_close(&p->map);
}

static int find_file(const char *given, char *out, size_t out_bytes, tw_err *err)
{
    char self[1024];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (given != NULL) {
        snprintf(out, out_bytes, "%s", given);
        return 0;
    }
    if (n <= 0)
        return tw_err_set(err, -errno, "/proc/self/exe: %s", strerror(errno));
    self[n] = '\0';
    *(strrchr(self, '/') + 1) = '\0';
    snprintf(out, out_bytes, "%stwinax-node", self);
    if (tw_file_exists(out))
        return 0;
    return tw_err_set(err, -ENOENT, "%.180s: is not here: build and install it with twinax to push",
                      out);
}

/* Keeps the last bytes; false: its end. */
static bool read_into(int fd, char *text, size_t max, size_t *n)
{
    char chunk[512];
    const ssize_t got = read(fd, chunk, sizeof chunk);
    if (got < 0)
        return errno == EINTR || errno == EAGAIN;
    size_t take = (size_t)got, room = max - 1 - *n;
    if (take > room) {
        const size_t drop = TW_MIN(take - room, *n);
        memmove(text, text + drop, *n - drop);
        *n -= drop;
        take = TW_MIN(take, max - 1 - *n);
    }
    memcpy(text + *n, chunk, take);
    *n += take;
    text[*n] = '\0';
    return got > 0;
}

static bool said(const push *p, const char *word)
{
    char line[16];
    snprintf(line, sizeof line, "%s\n", word);
    return strstr(p->out, line) != NULL;
}

static void send_piece(push *p)
{
    const size_t n = TW_MIN((size_t)PIECE, p->map.size_bytes - p->n_sent);
    const ssize_t got = n > 0 ? write(p->ssh.in_fd, p->map.p + p->n_sent, n) : 0;
    if (got > 0) {
        p->n_sent += (size_t)got;
        p->moved_ns = tw_clock_now_ns();
    }
    if (p->n_sent == p->map.size_bytes || (got < 0 && errno == EPIPE)) {
        close(p->ssh.in_fd); /* its end: what it is, says ssh */
        p->ssh.in_fd = -1;
    }
}

/* One round. 1: goes on; 0: ssh has ended. */
static int step(push *p, bool sending, tw_err *err)
{
    struct pollfd f[4] = {{.fd = p->ssh.out_fd, .events = POLLIN},
                          {.fd = p->ssh.err_fd, .events = POLLIN},
                          {.fd = tw_signal_fd(), .events = POLLIN},
                          {.fd = sending ? p->ssh.in_fd : -1, .events = POLLOUT}};
    (void)poll(f, 4, SLICE_MS);
    if (tw_signal_asked_to_stop())
        return tw_err_set(err, -ECANCELED, "%s: interrupted", p->name);
    const bool more =
        f[0].revents == 0 || read_into(p->ssh.out_fd, p->out, sizeof p->out, &p->n_out);
    if (f[0].revents != 0 && more)
        p->moved_ns = tw_clock_now_ns();
    if (f[1].revents != 0 && !read_into(p->ssh.err_fd, p->says, sizeof p->says, &p->n_says)) {
        close(p->ssh.err_fd);
        p->ssh.err_fd = -1;
    }
    if (f[3].revents != 0)
        send_piece(p);
    return more;
}

static int explain(push *p, int status, tw_err *err)
{
    const char *line = strstr(p->says, "push: ");
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    char first[160];
    snprintf(first, sizeof first, "%.*s", line != NULL ? (int)strcspn(line + 6, "\r\n") : 0,
             line != NULL ? line + 6 : "");
    if (strstr(p->says, "No space left on device") != NULL)
        return tw_err_set(err, -ENOSPC, "%s: its disk is full, twinax-node was not copied%s%s",
                          p->name, first[0] != '\0' ? ": " : "", first);
    if (line != NULL)
        return tw_err_set(
            err, -EIO,
            "%s: the pushed twinax-node was taken away again: %s (another CPU, an older "
            "C library, a noexec disk?)",
            p->name, first);
    const tw_ssh_end e = {.name = p->name, .says = p->says, .status = status, .agent_path = "sh"};
    int rc = tw_ssh_explain(&e, err);
    return code == 5 ? tw_err_set(err, -EACCES, "%s: ~/.local/bin there: %.150s", p->name, p->says)
                     : rc;
}

/* 0: it is there, as p->out says. */
static int talk(push *p, const tw_push_opts *o, tw_err *err)
{
    const uint64_t start = tw_clock_now_ns();
    int rc = 1, status = 0;
    p->moved_ns = start;
    while (rc > 0) {
        const bool sending = said(p, "send");
        rc = step(p, sending, err);
        if (sending && o->progress != NULL)
            o->progress(o->ctx, p->n_sent, p->map.size_bytes);
        const uint64_t limit = sending ? SILENCE_NS : START_NS;
        if (rc > 0 && tw_clock_now_ns() - p->moved_ns > limit)
            return tw_err_set(err, -ETIMEDOUT, "%s: copying twinax-node: nothing moves for %d s",
                              p->name, (int)(limit / TW_NS_PER_S));
    }
    if (rc < 0)
        return rc;
    const uint64_t until = tw_clock_now_ns() + 2 * TW_NS_PER_S;
    while (!tw_child_poll(&p->ssh, &status) && tw_clock_now_ns() < until)
        (void)poll(NULL, 0, 5);
    while (p->ssh.err_fd >= 0 && read_into(p->ssh.err_fd, p->says, sizeof p->says, &p->n_says))
        ;
    const bool good = p->ssh.pid == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
                      (said(p, "have") || said(p, "done"));
    return good ? 0 : explain(p, status, err);
}

static void hash_of(const tw_map *m, char out[TW_SHA256_HEX + 1])
{
    uint8_t hash[TW_SHA256_BYTES];
    tw_sha256 s;
    tw_sha256_init(&s);
    tw_sha256_add(&s, m->p, m->size_bytes);
    tw_sha256_end(&s, hash);
    tw_sha256_print(hash, out);
}

static int start(push *p, tw_err *err)
{
    char words[sizeof((tw_ssh_command *)0)->remote], hash[TW_SHA256_HEX + 1];
    tw_ssh_command c;
    hash_of(&p->map, hash);
    _Static_assert(sizeof script + TW_SHA256_HEX + 24 <= sizeof words, "the script fits");
    snprintf(words, sizeof words, "%s %s %zu", script, hash, p->map.size_bytes / 1024 + 64);
    int rc = tw_ssh_words_make(p->name, words, &c, err);
    if (rc == 0)
        rc = tw_child_spawn(c.argv,
                            TW_CHILD_PIPE_IN | TW_CHILD_PIPE_OUT | TW_CHILD_PIPE_ERR |
                                TW_CHILD_OWN_GROUP,
                            -1, &p->ssh, err);
    if (rc == 0)
        (void)fcntl(p->ssh.in_fd, F_SETFL, O_NONBLOCK);
    return rc;
}

int tw_push_node(const tw_push_opts *o, bool *ret_copied, tw_err *err)
{
    TW_CLEANUP(end_push) push p = {.name = o->name};
    char file[1100];
    int rc = find_file(o->file, file, sizeof file, err);
    if (rc == 0)
        rc = tw_map_open(file, &p.map, err);
    if (rc == 0)
        rc = start(&p, err);
    if (rc == 0)
        rc = talk(&p, o, err);
    if (rc == 0)
        *ret_copied = said(&p, "done");
    return rc;
}
