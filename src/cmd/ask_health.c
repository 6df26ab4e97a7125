/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/ask_health.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"
#include "os/fd.h"
#include "os/sock.h"

int tw_ask_health(const char *host, uint16_t port, uint64_t until_ns, tw_err *err)
{
    static const char ask[] = "GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n";
    char head[16] = "";
    TW_CLEANUP(tw_fd_closep) int fd = -1;
    const char *to = strcmp(host, "0.0.0.0") == 0 ? "127.0.0.1"
                     : strcmp(host, "::") == 0    ? "::1"
                                                  : host;
    int rc = tw_sock_connect(to, port, NULL, until_ns, &fd, err);
    if (rc != 0)
        return rc;
    rc = tw_sock_send_all(fd, ask, sizeof ask - 1, until_ns);
    if (rc == 0) /* "HTTP/1.1 200" */
        rc = tw_sock_recv_all(fd, head, 12, until_ns);
    if (rc != 0)
        return tw_err_set(err, rc, "%s port %u: /health does not answer: %s", host, port,
                          strerror(-rc));
    if (strncmp(head, "HTTP/1.", 7) != 0 || strcmp(head + 9, "200") != 0)
        return tw_err_set(err, -EIO, "%s port %u: /health says %.12s", host, port, head);
    return 0;
}

static bool split_url(const char *url, char host[128], uint16_t *ret_port)
{
    const char *at = strstr(url, "://"), *colon = strrchr(url, ':');
    uint64_t port = 0;
    if (at == NULL || colon <= at + 2 || tw_str_to_u64(colon + 1, &port) != 0 || port > 65535)
        return false;
    at += 3;
    const bool bracket = *at == '[';
    snprintf(host, 128, "%.*s", (int)(colon - at) - (bracket ? 2 : 0), at + bracket);
    *ret_port = (uint16_t)port;
    return true;
}

int tw_ask_health_url(const char *url, uint64_t until_ns, tw_err *err)
{
    char host[128];
    uint16_t port = 0;
    if (!split_url(url, host, &port))
        return tw_err_set(err, -EPROTO, "'%.100s' is no address", url);
    return tw_ask_health(host, port, until_ns, err);
}
