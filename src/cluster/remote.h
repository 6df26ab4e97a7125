/* SPDX-License-Identifier: Apache-2.0 */
/* The head's end of a control connection to one node: through ssh, a plain child ("local"), or a
 * connection that two people made by hand. Calls are one after the other, each with a deadline. */
#ifndef TWINAX_CLUSTER_REMOTE_H
#define TWINAX_CLUSTER_REMOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "fmt/json.h"
#include "host/net.h"
#include "twinax/err.h"

typedef struct tw_remote tw_remote;

/* name: an ssh name, or "local". agent_path: NULL: twinax on the node's PATH; for "local" this very
 * program. Says hello; refuses another protocol version. */
TW_MUST_CHECK int tw_remote_open(const char *name, const char *agent_path, tw_remote **ret,
                                 tw_err *err);
/* The same in two steps, so that many connect at a time: start, then greet. ssh gets a process group
 * of its own: ctrl-C is the head's business. */
TW_MUST_CHECK int tw_remote_start(const char *name, const char *agent_path, tw_remote **ret,
                                  tw_err *err);
TW_MUST_CHECK int tw_remote_greet(tw_remote *n, tw_err *err);
/* Ranks of another arithmetic would give other bits: refused with both versions. */
TW_MUST_CHECK int tw_remote_check_arith(const tw_remote *n, tw_err *err);
/* fd: a connected socket, owned from the call on. */
TW_MUST_CHECK int tw_remote_open_fd(int fd, const char *name, tw_remote **ret, tw_err *err);
/* Asks it to end, does not wait: many end at a time. */
void tw_remote_part(tw_remote *n);
void tw_remote_close(tw_remote *n);
void tw_remote_closep(tw_remote **n);

const char *tw_remote_name(const tw_remote *n);
const char *tw_remote_host(const tw_remote *n); /* its own name */
bool tw_remote_is_local(const tw_remote *n);

/* args: an object that is taken over, or NULL. *ret: the reply (the caller's), may be NULL. An error
 * names the node. SIGINT ends it (-ECANCELED). */
TW_MUST_CHECK int tw_remote_call(tw_remote *n, const char *op, json_t *args, uint64_t limit_ns,
                                 json_t **ret, tw_err *err);
/* What an operation tells while it runs ({"event":"...",...}, see agent_op.h); the object is borrowed.
 * NULL: nobody listens, the default. */
typedef void (*tw_remote_event_fn)(void *ctx, const json_t *event);
void tw_remote_on_event(tw_remote *n, tw_remote_event_fn fn, void *ctx);

/* After run-rank: what the node says unasked. Calls are over then. */
typedef struct tw_remote_event {
    bool has_exit;   /* else line is set */
    int status;      /* as by waitpid */
    char line[1024]; /* no control characters */
} tw_remote_event;
/* fds[2] to poll (POLLIN); what they bring is taken by tw_remote_hear. */
void tw_remote_fds(const tw_remote *n, int fds[2]);
/* When hear would find that it was silent for too long; TW_NEVER_NS: it does not beat. */
uint64_t tw_remote_silent_at(const tw_remote *n);
/* We look again, and wanted to at due_ns: were we late ourselves, it gets a moment more. */
void tw_remote_looked(tw_remote *n, uint64_t due_ns);
/* Reads what is there, does not block but to hear why a connection ended (0.3 s at most). The
 * connection's end is an error with its cause, silence too: ssh is killed then. */
TW_MUST_CHECK int tw_remote_hear(tw_remote *n,
                                 void (*on_event)(void *ctx, const tw_remote_event *e), void *ctx,
                                 tw_err *err);
TW_MUST_CHECK int tw_remote_facts(tw_remote *n, tw_net *ret, tw_err *err);

#endif
