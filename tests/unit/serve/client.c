/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

int client_connect(uint16_t port, int rcvbuf_bytes)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (rcvbuf_bytes)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf_bytes, sizeof(rcvbuf_bytes));
    const int one = 1; /* head and body are two writes: Nagle would cost 40 ms a request */
    if (fd >= 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (fd < 0 || connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0) {
        perror("connect");
        abort();
    }
    return fd;
}

void client_send(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0)
            return; /* the server closed: its answer is read next */
        p += k;
        n -= (size_t)k;
    }
}

void client_request(int fd, const char *method_path, const char *headers, const char *body)
{
    char head[2048];
    int n = snprintf(head, sizeof(head), "%s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n",
                     method_path, headers, strlen(body));
    client_send(fd, head, (size_t)n);
    client_send(fd, body, strlen(body));
}

static bool read_more(int fd, tw_buf *b)
{
    char p[65536];
    struct pollfd f = {.fd = fd, .events = POLLIN};
    if (poll(&f, 1, 20000) <= 0)
        return false;
    ssize_t n = recv(fd, p, sizeof(p), 0);
    return n > 0 && tw_buf_append(b, p, (size_t)n) == 0;
}

bool client_read_until(int fd, const char *word, tw_buf *b)
{
    while (b->len == 0 || strstr(b->data, word) == NULL)
        if (!read_more(fd, b))
            return false;
    return true;
}

/* 1: whole, 0: more to come, -1: broken. Joins the chunks that are there. */
static int join_chunks(const char *p, const char *end, tw_buf *body)
{
    tw_buf_reset(body);
    for (;;) {
        const char *nl = memmem(p, (size_t)(end - p), "\r\n", 2);
        if (nl == NULL)
            return 0;
        size_t n = strtoul(p, NULL, 16);
        if ((size_t)(end - nl) < n + 4)
            return 0;
        if (n == 0)
            return 1;
        if (tw_buf_append(body, nl + 2, n))
            return -1;
        p = nl + 2 + n + 2;
    }
}

bool client_read(int fd, bool head_only, answer *ret)
{
    *ret = (answer){.raw = TW_BUF(1u << 30), .body = TW_BUF(1u << 30)};
    if (!client_read_until(fd, "\r\n\r\n", &ret->raw))
        return false;
    ret->status = atoi(ret->raw.data + 9);
    size_t n_head = (size_t)(strstr(ret->raw.data, "\r\n\r\n") - ret->raw.data) + 4;
    const char *length = strcasestr(ret->raw.data, "content-length:");
    if (head_only || ret->status == 204)
        return true;
    if (length && (size_t)(length - ret->raw.data) < n_head) {
        size_t n = strtoul(length + 15, NULL, 10);
        while (ret->raw.len < n_head + n)
            if (!read_more(fd, &ret->raw))
                return false;
        return tw_buf_append(&ret->body, ret->raw.data + n_head, n) == 0;
    }
    for (;;) {
        int r = join_chunks(ret->raw.data + n_head, ret->raw.data + ret->raw.len, &ret->body);
        if (r)
            return r > 0;
        if (!read_more(fd, &ret->raw))
            return false;
    }
}

void answer_done(answer *a)
{
    tw_buf_done(&a->raw);
    tw_buf_done(&a->body);
}

int client_ask(uint16_t port, const char *method_path, const char *headers, const char *body,
               answer *ret)
{
    int fd = client_connect(port, 0);
    client_request(fd, method_path, headers, body);
    bool ok = client_read(fd, strncmp(method_path, "HEAD", 4) == 0, ret);
    close(fd);
    return ok ? ret->status : -1;
}
