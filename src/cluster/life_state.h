/* SPDX-License-Identifier: Apache-2.0 */
/* What is known on disk of what this user has in the background: folders, lock, record. There are two
 * such things, NAME is "service" (a model) or "ray" (vLLM's Ray, which waits for a model).
 *
 *   $XDG_STATE_HOME/twinax/   0700   NAME.json  NAME.lock  NAME.log[.1]   0600
 *   runtime folder            0700   NAME.sock  ray.token                 0600
 *
 * The keeper (cmd/keep.c) holds the lock as long as it lives: a record that says "ready" under a free
 * lock is of one that crashed. A home folder may be shared by machines: the record names its own.
 * No secret is ever in the record. Must not know ranks' work, ssh, HTTP. */
#ifndef TWINAX_CLUSTER_LIFE_STATE_H
#define TWINAX_CLUSTER_LIFE_STATE_H

#include "cluster/config.h"
#include "cluster/life_proc.h"

enum { TW_LIFE_PATH_BYTES = 512, TW_LIFE_RUN_BYTES = 33, TW_LIFE_RECORD_MAX = 64 * 1024 };

typedef struct tw_life_paths {
    char state[TW_LIFE_PATH_BYTES];   /* folder */
    char runtime[TW_LIFE_PATH_BYTES]; /* folder */
    char record[TW_LIFE_PATH_BYTES], lock[TW_LIFE_PATH_BYTES], log[TW_LIFE_PATH_BYTES];
    char socket[TW_LIFE_PATH_BYTES];
    char token[TW_LIFE_PATH_BYTES]; /* of Ray's door: RAY's alone */
} tw_life_paths;

enum tw_life_which { TW_LIFE_SERVICE, TW_LIFE_RAY };

/* Finds and makes the folders. The runtime one is $XDG_RUNTIME_DIR/twinax, else
 * /run/user/UID/twinax, else /tmp/twinax-UID; one that others own or may enter is refused. */
TW_MUST_CHECK int tw_life_paths_make(enum tw_life_which which, tw_life_paths *ret, tw_err *err);

enum tw_life_phase { TW_LIFE_STARTING, TW_LIFE_READY, TW_LIFE_ENDED, TW_LIFE_PHASES };

typedef struct tw_life_rank {
    unsigned rank;
    char node[64], ssh[128], agent_path[192]; /* ssh empty: on this machine, no agent */
    tw_life_proc proc;                        /* on its machine */
} tw_life_rank;

typedef struct tw_life_record {
    char run[TW_LIFE_RUN_BYTES]; /* hex; in the environment of all that it starts: TWINAX_RUN */
    char host[64], boot[40];
    enum tw_life_phase phase;
    tw_life_proc keeper, serve;
    char model[TW_LIFE_PATH_BYTES];
    char how[16];  /* "session", "scope", "unit" */
    char url[160]; /* once it listens */
    char socket[TW_LIFE_PATH_BYTES];
    uint64_t since_s, ready_s, ended_s; /* wall clock; 0: not yet */
    int status;                         /* of serve, as by waitpid; with ENDED */
    char end[240];                      /* why it ended; with ENDED */
    size_t n_ranks;                     /* 0: not known yet */
    tw_life_rank ranks[TW_NODES_MAX];
} tw_life_record;

/* Whole or not at all, mode 0600. */
TW_MUST_CHECK int tw_life_record_write(const tw_life_paths *p, const tw_life_record *r,
                                       tw_err *err);
/* -ENOENT: there is none; -EPROTO: it is damaged (the message names the file). */
TW_MUST_CHECK int tw_life_record_read(const tw_life_paths *p, tw_life_record *ret, tw_err *err);
/* For tests and messages: text to record and back. */
TW_MUST_CHECK int tw_life_record_parse(const char *name, const char *p, size_t n,
                                       tw_life_record *ret, tw_err *err);

/* Holds while *ret_fd is open, in children too that inherit it. -EBUSY: another holds it. */
TW_MUST_CHECK int tw_life_lock(const tw_life_paths *p, int *ret_fd, tw_err *err);

enum tw_life_state {
    TW_LIFE_NONE,     /* never started, or forgotten */
    TW_LIFE_RUNS,     /* starting or ready, see phase */
    TW_LIFE_OVER,     /* ended, and said so */
    TW_LIFE_CRASHED,  /* its keeper went without a word: killed, or the machine restarted */
    TW_LIFE_ELSEWHERE /* of another machine that has the same home folder */
};

/* *ret is filled but for NONE. A damaged record counts as NONE under a free lock. */
TW_MUST_CHECK int tw_life_look(const tw_life_paths *p, enum tw_life_state *ret_state,
                               tw_life_record *ret, tw_err *err);

void tw_life_boot_id(char out[40]); /* "" when unknown */

#endif
