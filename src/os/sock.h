/* SPDX-License-Identifier: Apache-2.0 */
/* TCP and unix sockets with deadlines; addresses as text ("192.168.100.1", "fe80::1%eth0"). */
#ifndef TWINAX_OS_SOCK_H
#define TWINAX_OS_SOCK_H

#include <stddef.h>
#include <stdint.h>

#include "twinax/err.h"

/* Nonblocking, close-on-exec. port 0: the kernel picks; *ret_port tells. */
TW_MUST_CHECK int tw_sock_listen(const char *ip, uint16_t port, int *ret_fd, uint16_t *ret_port,
                                 tw_err *err);
/* -EAGAIN: nobody yet. The accepted fd is nonblocking with TCP_NODELAY. */
TW_MUST_CHECK int tw_sock_accept(int fd, int *ret_fd);
/* Connects until deadline_ns (refused is retried, the peer may be late). bind_ip may be NULL;
 * when it has a zone, a link-local ip is looked for there, whatever its own zone. The code at the deadline is the last cause (-ECONNREFUSED, -EHOSTUNREACH), -ETIMEDOUT without one. */
TW_MUST_CHECK int tw_sock_connect(const char *ip, uint16_t port, const char *bind_ip,
                                  uint64_t deadline_ns, int *ret_fd, tw_err *err);
/* All n bytes or an error, -ETIMEDOUT at the deadline, -ECONNRESET when the peer closed. */
TW_MUST_CHECK int tw_sock_send_all(int fd, const void *p, size_t n, uint64_t deadline_ns);
TW_MUST_CHECK int tw_sock_recv_all(int fd, void *p, size_t n, uint64_t deadline_ns);
/* "ip:port" of our or the peer's end; IPv6 in brackets. */
void tw_sock_name(int fd, char *out, size_t out_bytes);
void tw_sock_peer_name(int fd, char *out, size_t out_bytes);
/* SCM_RIGHTS over a unix socket; send waits 5 s at most. -EPROTO: a message without an fd. */
TW_MUST_CHECK int tw_sock_send_fd(int fd, int pass_fd);
TW_MUST_CHECK int tw_sock_recv_fd(int fd, int *ret_fd, uint64_t deadline_ns);

#endif
