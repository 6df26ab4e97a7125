/* SPDX-License-Identifier: Apache-2.0 */
/* A small HTTP client over a plain socket, for tests: as blunt as a test needs. */
#ifndef TESTS_CLIENT_H
#define TESTS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

typedef struct answer {
    int status;
    tw_buf raw;  /* headers and body as they came */
    tw_buf body; /* chunks joined */
} answer;

int client_connect(uint16_t port, int rcvbuf_bytes); /* 0: the kernel's size */
void client_send(int fd, const char *p, size_t n);
/* "METHOD path" with headers (each ending in \r\n, may be "") and a body. */
void client_request(int fd, const char *method_path, const char *headers, const char *body);
/* Reads one answer; false when the connection ended before it was whole. */
bool client_read(int fd, bool head_only, answer *ret);
/* Reads until what came holds word. */
bool client_read_until(int fd, const char *word, tw_buf *b);
void answer_done(answer *a);
/* All in one on a connection of its own. */
int client_ask(uint16_t port, const char *method_path, const char *headers, const char *body,
               answer *ret);

#endif
