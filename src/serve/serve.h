/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server: the OpenAI API over one engine. One internal thread speaks HTTP and sleeps while
 * nothing happens; another makes token ids of requests; a third sleeps on the sockets of waiting
 * clients and cancels what nobody reads any more. Events of the engine are put into a bounded queue of
 * the request; a client that reads too slowly loses its request, never the engine's time.
 * Endpoints: POST /v1/chat/completions, POST /v1/completions, GET /v1/models, GET /v1/models/NAME,
 * GET /health, GET /metrics. Tools are given to the chat template; tool calls in the answer are not parsed.
 * Sees of the engine only twinax/engine.h. */
#ifndef TWINAX_SERVE_SERVE_H
#define TWINAX_SERVE_SERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "twinax/engine.h"

typedef struct tw_serve tw_serve;

typedef struct tw_serve_opts {
    tw_engine *engine; /* rank 0's; borrowed, as is model: both outlive the server */
    tw_model *model;
    const char *host;    /* address to bind to; NULL: 127.0.0.1. "localhost" is 127.0.0.1 */
    uint16_t port;       /* 0: the kernel picks, tw_serve_port tells */
    const char *api_key; /* NULL or "": none. /v1/ then answers only "Authorization: Bearer KEY" */
    bool no_auth;        /* allows a host that is not loopback without a key */
    const char *name;    /* of the model in the API; NULL: tw_model_name */
    const char *cors;    /* origins of web pages that may ask, by commas, or "*"; NULL: none */
} tw_serve_opts;

/* Whether that is a list for cors. -EINVAL names what is not. */
TW_MUST_CHECK int tw_serve_cors_check(const char *list, tw_err *err);
/* Whether host, port and key would do, without an engine: what a user wants to know before a large
 * model is loaded. Errors: as tw_serve_open's. */
TW_MUST_CHECK int tw_serve_check(const tw_serve_opts *o, tw_err *err);
/* Listens and answers from now on. Errors: -EACCES for an open address without key or no_auth;
 * -EINVAL; those of the socket, and of the tokenizer, which is opened here. */
TW_MUST_CHECK int tw_serve_open(const tw_serve_opts *o, tw_serve **ret, tw_err *err);
uint16_t tw_serve_port(const tw_serve *s);
const char *tw_serve_host(const tw_serve *s); /* as bound; IPv6 in brackets */
/* Sleeps until stop_fd is readable: 0. until_engine_ends: looks four times a second whether the engine
 * still works, and returns its error when it does not; else /health tells, and it goes on. */
TW_MUST_CHECK int tw_serve_run(tw_serve *s, int stop_fd, bool until_engine_ends, tw_err *err);
/* Cancels what runs, tells the clients, and ends within about a second. Requests that the engine
 * still knows get their DONE later, at the latest in tw_engine_close. NULL is allowed. */
void tw_serve_close(tw_serve *s);

#endif
