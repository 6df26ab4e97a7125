/* SPDX-License-Identifier: Apache-2.0 */
/* setup's operations: they go on to `twinax setup-hand`, a child that may be root by sudo. The
 * password is written to sudo's stdin, once, and nowhere else. What the hand tells goes to the head. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/agent_inside.h"
#include "fmt/agent_frame.h"
#include "host/setup_exec.h"
#include "os/child.h"
#include "os/secret.h"

enum { READ_BYTES = 16 * 1024, SAYS_MAX = 600, SLICE_MS = 100, PATH_BYTES = 512 };
#define SUDO_LIMIT_NS (20 * TW_NS_PER_S)
#define END_LIMIT_NS  (2 * TW_NS_PER_S)

typedef struct tw_agent_setup {
    tw_child child;
    tw_buf in;
    char says[SAYS_MAX];
    size_t n_says;
    uint64_t next_id;
} tw_agent_setup;

void tw_agent_setup_end(tw_agent *a)
{
    if (a->setup == NULL)
        return;
    tw_child_stop(&a->setup->child, END_LIMIT_NS);
    tw_buf_done(&a->setup->in);
    tw_mem_free(a->setup);
    a->setup = NULL;
}

static void read_says(tw_agent_setup *h)
{
    char chunk[256];
    ssize_t n = read(h->child.err_fd, chunk, sizeof chunk);
    if (n <= 0) {
        close(h->child.err_fd);
        h->child.err_fd = -1;
        return;
    }
    size_t take = TW_MIN((size_t)n, sizeof h->says - 1 - h->n_says);
    for (size_t i = 0; i < take; i++)
        h->says[h->n_says++] = (unsigned char)chunk[i] < 0x20 ? ' ' : chunk[i];
    h->says[h->n_says] = '\0';
}

/* 0: there is more to look at; -EPIPE: the hand has ended. */
static int read_more(tw_agent *a, tw_agent_setup *h, tw_err *err)
{
    struct pollfd p[2] = {{.fd = h->child.out_fd, .events = POLLIN},
                          {.fd = h->child.err_fd, .events = POLLIN}};
    (void)poll(p, 2, SLICE_MS);
    /* What must not be left half done is waited for, whoever has gone. */
    if (tw_agent_is_cut(a) && !atomic_load(&a->life.keeps))
        return tw_err_set(err, -ECANCELED, "the head has gone");
    if (p[1].revents != 0)
        read_says(h);
    if (p[0].revents == 0)
        return 0;
    if (tw_buf_reserve(&h->in, READ_BYTES) != 0)
        return tw_err_set(err, -ENOMEM, "no memory for setup's words");
    ssize_t n = read(h->child.out_fd, h->in.data + h->in.len, READ_BYTES);
    if (n < 0 && errno == EINTR)
        return 0;
    if (n <= 0)
        return tw_err_set(err, -EPIPE, "setup on this node ended: %.150s",
                          h->n_says > 0 ? h->says : "without a word");
    h->in.len += (size_t)n;
    return 0;
}

/* ---- opening ---- */

static int await_greeting(tw_agent *a, tw_agent_setup *h, tw_err *err)
{
    const uint64_t until = tw_clock_now_ns() + SUDO_LIMIT_NS;
    for (;;) {
        size_t used = 0;
        if (tw_agent_greeting_find(h->in.data != NULL ? h->in.data : "", h->in.len, &used) == 0) {
            tw_buf_drop(&h->in, used);
            return 0;
        }
        int rc = read_more(a, h, err);
        if (strstr(h->says, "try again") != NULL || strstr(h->says, "incorrect password") != NULL)
            return tw_err_set(err, -EKEYREJECTED, "sudo: wrong password");
        if (strstr(h->says, "not in the sudoers") != NULL ||
            strstr(h->says, "may not run sudo") != NULL)
            return tw_err_set(err, -EPERM, "sudo: %.150s", h->says);
        if (rc != 0)
            return rc;
        if (tw_clock_now_ns() > until)
            return tw_err_set(err, -ETIMEDOUT, "sudo does not answer: %.150s", h->says);
    }
}

static bool sudo_is_free(void)
{
    static const char *const argv[] = {"env", "LC_ALL=C", "sudo", "-n", "--", "true", NULL};
    tw_err ignored;
    return tw_setup_exec(argv, SUDO_LIMIT_NS, true, NULL, NULL, NULL, &ignored) == 0;
}

static int start(tw_agent_setup *h, bool by_sudo, const char *password, tw_err *err)
{
    char self[PATH_BYTES], root[PATH_BYTES + 16];
    const char *test_root = getenv("TW_SETUP_ROOT"); /* tests */
    const char *argv[16];
    size_t n = 0;
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    self[len > 0 ? len : 0] = '\0';
    if (by_sudo) {
        static const char *const asked[] = {"env", "LC_ALL=C", "sudo", "-k", "-S", "-p", ""};
        static const char *const free_[] = {"env", "LC_ALL=C", "sudo", "-n"};
        const char *const *from = password != NULL ? asked : free_;
        for (size_t k = password != NULL ? TW_ARRAY_LEN(asked) : TW_ARRAY_LEN(free_); k > 0; k--)
            argv[n++] = *from++;
        argv[n++] = "--";
    }
    argv[n++] = self;
    argv[n++] = "setup-hand";
    if (test_root != NULL && test_root[0] == '/') {
        snprintf(root, sizeof root, "%s", test_root);
        argv[n++] = "--root";
        argv[n++] = root;
    }
    argv[n] = NULL;
    int rc = tw_child_spawn(argv,
                            TW_CHILD_PIPE_IN | TW_CHILD_PIPE_OUT | TW_CHILD_PIPE_ERR |
                                TW_CHILD_OWN_GROUP,
                            -1, &h->child, err);
    if (rc != 0 || password == NULL)
        return rc;
    size_t n_password = strlen(password);
    if (write(h->child.in_fd, password, n_password) != (ssize_t)n_password ||
        write(h->child.in_fd, "\n", 1) != 1)
        return tw_err_set(err, -EPIPE, "sudo takes no password");
    return 0;
}

/* request: {"as_root":true,"password":"..."}. {"needs_password":true}: ask, then once more. */
int tw_agent_setup_open(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    tw_json_obj o = {.file = "setup-open", .prefix = "", .v = request, .err = err};
    const bool as_root = tw_json_bool(&o, "as_root", false);
    const char *password = json_string_value(json_object_get(request, "password"));
    const bool by_sudo = as_root && geteuid() != 0;
    if (o.rc != 0)
        return o.rc;
    tw_agent_setup_end(a);
    if (password != NULL)
        tw_secret_guard();
    if (by_sudo && password == NULL && !sudo_is_free()) {
        *ret = json_pack("{s:b}", "needs_password", 1);
        return 0;
    }
    a->setup = tw_mem_calloc(1, sizeof *a->setup);
    if (a->setup == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for setup");
    a->setup->in = TW_BUF(TW_AGENT_FRAME_MAX + 4 * READ_BYTES);
    a->setup->next_id = 1;
    int rc = start(a->setup, by_sudo, by_sudo ? password : NULL, err);
    if (rc == 0)
        rc = await_greeting(a, a->setup, err);
    if (rc == 0) {
        const char *ssh = getenv("SSH_CONNECTION");
        TW_CLEANUP(tw_json_freep)
        json_t *hello =
            json_pack("{s:s, s:s}", "op", "setup-hello", "ssh_connection", ssh != NULL ? ssh : "");
        rc = tw_agent_setup_pass(a, hello, ret, err);
    }
    if (rc != 0)
        tw_agent_setup_end(a);
    return rc;
}

/* ---- passing on ---- */

static int send_frame(tw_agent_setup *h, const json_t *v, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_AGENT_FRAME_MAX + 64);
    int rc = tw_agent_frame_put(&b, v, err);
    for (size_t at = 0; at < b.len && rc == 0;) {
        ssize_t n = write(h->child.in_fd, b.data + at, b.len - at);
        if (n < 0 && errno != EINTR)
            rc = tw_err_set(err, -EPIPE, "setup on this node has ended: %.150s", h->says);
        at += n > 0 ? (size_t)n : 0;
    }
    return rc;
}

static int await_reply(tw_agent *a, tw_agent_setup *h, uint64_t id, json_t **ret, tw_err *err)
{
    for (;;) {
        TW_CLEANUP(tw_json_freep) json_t *v = NULL;
        size_t used = 0;
        int code = 0, rc = tw_agent_frame_take(h->in.data != NULL ? h->in.data : "", h->in.len, &v,
                                               &used, err);
        char text[220];
        if (rc == -EAGAIN) {
            rc = read_more(a, h, err);
            if (rc != 0)
                return rc;
            continue;
        }
        if (rc != 0)
            return rc;
        tw_buf_drop(&h->in, used);
        if (json_object_get(v, "event") != NULL) {
            tw_agent_tell(a, json_incref(v));
            continue;
        }
        rc = tw_agent_reply_read(v, id, &code, text, sizeof text, err);
        if (rc != 0 || code != 0)
            return rc != 0 ? rc : tw_err_set(err, code, "%s", text);
        *ret = v;
        v = NULL;
        return 0;
    }
}

/* request: {"op":"setup-WHAT",...}: the hand's own operation WHAT. */
int tw_agent_setup_pass(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    const char *op = json_string_value(json_object_get(request, "op"));
    TW_CLEANUP(tw_json_freep)
    json_t *v =
        json_copy(json_object_get(request, "op") != NULL ? (json_t *)(uintptr_t)request : NULL);
    if (a->setup == NULL)
        return tw_err_set(err, -EPIPE, "setup is not open");
    if (op == NULL || strncmp(op, "setup-", 6) != 0 || v == NULL)
        return tw_err_set(err, -EINVAL, "setup: what is to be done?");
    const uint64_t id = a->setup->next_id++;
    json_object_set_new(v, "op", json_string(op + 6));
    json_object_set_new(v, "id", json_integer((json_int_t)id));
    int rc = send_frame(a->setup, v, err);
    if (rc == 0)
        rc = await_reply(a, a->setup, id, ret, err);
    return rc;
}
