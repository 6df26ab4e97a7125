/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/ask_answer.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/scope.h"
#include "fmt/json.h"
#include "os/fd.h"
#include "os/sock.h"

enum { ASK_MAX = 8 * 1024, ANSWER_MAX = 256 * 1024, SLICE_MS = 200 };
#define CONNECT_NS (2 * TW_NS_PER_S)

static int put_question(const tw_ask_answer_opts *o, tw_buf *out)
{
    TW_CLEANUP(tw_json_freep)
    json_t *v = json_pack("{s:s, s:s, s:i, s:i, s:b}", "model", o->model, "prompt", "1 2 3 4",
                          "max_tokens", (int)o->n_tok, "temperature", 0, "ignore_eos", 1);
    char body[ASK_MAX / 2];
    const size_t n = v != NULL ? json_dumpb(v, body, sizeof body, JSON_COMPACT) : 0;
    if (n == 0 || n > sizeof body)
        return -ENOMEM;
    int rc = tw_buf_printf(out,
                           "POST /v1/completions HTTP/1.0\r\nHost: localhost\r\n"
                           "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                           n);
    if (rc == 0 && o->key != NULL)
        rc = tw_buf_printf(out, "Authorization: Bearer %s\r\n", o->key);
    if (rc == 0)
        rc = tw_buf_puts(out, "\r\n");
    return rc == 0 ? tw_buf_append(out, body, n) : rc;
}

/* Until it closes. */
static int read_all(const tw_ask_answer_opts *o, int fd, tw_buf *out, tw_err *err)
{
    char chunk[4096];
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        (void)poll(&p, 1, SLICE_MS);
        const ssize_t n = read(fd, chunk, sizeof chunk);
        if (n == 0)
            return 0;
        if (n > 0 && tw_buf_append(out, chunk, (size_t)n) != 0)
            return tw_err_set(err, -EIO, "a first answer of more than %d bytes", ANSWER_MAX);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return tw_err_set(err, -EIO, "the first answer broke off: %s", strerror(errno));
        if (!o->goes_on(o->ctx))
            return tw_err_set(err, -ECANCELED, "given up before the first answer");
        if (tw_clock_now_ns() > o->until_ns)
            return tw_err_set(err, -ETIMEDOUT,
                              "the API takes questions, but its first answer "
                              "does not come");
    }
}

static int judge(const tw_buf *b, uint32_t *ret_n_tok, tw_err *err)
{
    json_error_t je;
    unsigned status = 0;
    const char *body = b->len > 0 ? strstr(b->data, "\r\n\r\n") : NULL;
    if (body == NULL || sscanf(b->data, "HTTP/1.%*1u %3u", &status) != 1)
        return tw_err_set(err, -EIO, "the first answer is no HTTP");
    if (status != 200)
        return tw_err_set(err, status / 100 == 4 ? -EOPNOTSUPP : -EIO,
                          "the first question is answered by HTTP %u: %.120s", status, body + 4);
    TW_CLEANUP(tw_json_freep) json_t *v = json_loads(body + 4, 0, &je);
    const json_t *n = json_object_get(json_object_get(v, "usage"), "completion_tokens");
    if (!json_is_integer(n) || json_integer_value(n) <= 0 || json_integer_value(n) > 1 << 20)
        return tw_err_set(err, -EIO, "the first answer has no tokens");
    *ret_n_tok = (uint32_t)json_integer_value(n);
    return 0;
}

int tw_ask_answer(const tw_ask_answer_opts *o, uint32_t *ret_n_tok, tw_err *err)
{
    TW_CLEANUP(tw_fd_closep) int fd = -1;
    TW_CLEANUP(tw_buf_done) tw_buf ask = TW_BUF(ASK_MAX), answer = TW_BUF(ANSWER_MAX);
    const char *to = strcmp(o->host, "0.0.0.0") == 0 ? "127.0.0.1"
                     : strcmp(o->host, "::") == 0    ? "::1"
                                                     : o->host;
    const uint64_t until = TW_MIN(o->until_ns, tw_clock_now_ns() + CONNECT_NS);
    int rc = put_question(o, &ask);
    if (rc != 0)
        return tw_err_set(err, rc, "no memory for a question");
    rc = tw_sock_connect(to, o->port, NULL, until, &fd, err);
    if (rc == 0 && (rc = tw_sock_send_all(fd, ask.data, ask.len, until)) != 0)
        rc = tw_err_set(err, rc, "the API does not take a question: %s", strerror(-rc));
    explicit_bzero(ask.data, ask.len); /* the key */
    if (rc == 0)
        rc = read_all(o, fd, &answer, err);
    if (rc == 0)
        rc = judge(&answer, ret_n_tok, err);
    return rc;
}
