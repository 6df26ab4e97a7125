/* SPDX-License-Identifier: Apache-2.0 */
/* What the nodes of a vLLM run have said so far: a log judged a node, the last lines, who has gone.
 * Thread: every function may be called from any. */
#ifndef TWINAX_CMD_VLLM_NEWS_H
#define TWINAX_CMD_VLLM_NEWS_H

#include <pthread.h>

#include "cluster/config.h"
#include "vllm/log_judge.h"

enum { TW_VLLM_LINE_MAX = 1024, TW_VLLM_RECENT = 3, TW_VLLM_RECENT_BYTES = 200 };

typedef struct tw_vllm_news {
    pthread_mutex_t lock;
    int poke_fd; /* readable: something was said, or somebody has gone */
    size_t n_nodes;
    tw_vllm_log logs[TW_NODES_MAX];
    char last[TW_NODES_MAX][TW_VLLM_LINE_MAX];                       /* line */
    uint64_t heard_ns[TW_NODES_MAX];                                 /* when; 0: never */
    char recent[TW_NODES_MAX][TW_VLLM_RECENT][TW_VLLM_RECENT_BYTES]; /* lines, a ring */
    size_t n_heard[TW_NODES_MAX];                                    /* lines ever */
    uint64_t progress_ns; /* a phase, a count or a bar went on somewhere; 0: never */
    bool ray_is_up[TW_NODES_MAX];
    bool gone;
    char why_gone[300];
} tw_vllm_news;

TW_MUST_CHECK int tw_vllm_news_init(tw_vllm_news *n, size_t n_nodes, tw_err *err);
void tw_vllm_news_done(tw_vllm_news *n);

void tw_vllm_news_line(tw_vllm_news *n, size_t i_node, const char *line);
void tw_vllm_news_gone(tw_vllm_news *n, const char *why);
/* A copy of one node's log. */
tw_vllm_log tw_vllm_news_log(tw_vllm_news *n, size_t i_node);
size_t tw_vllm_news_rays(tw_vllm_news *n); /* nodes whose Ray runs */
/* The node that is furthest behind, its phase, and since when it has said nothing (0: just now). */
size_t tw_vllm_news_slowest(tw_vllm_news *n, tw_vllm_log *ret, char *ret_last, size_t last_bytes,
                            uint64_t *ret_silent_ns);
uint64_t tw_vllm_news_silent_ns(tw_vllm_news *n, size_t i_node); /* 0: just now, or not yet */
/* The last lines of a node, the older first, one after another with " | ". */
void tw_vllm_news_recent(tw_vllm_news *n, size_t i_node, char *out, size_t out_bytes);
/* Since when nothing has gone on anywhere; since_ns: at most since then. Words alone are no progress: who
 * waits forever may say so once a minute. */
uint64_t tw_vllm_news_stalled_ns(tw_vllm_news *n, uint64_t since_ns);
/* True: somebody has gone; why. The first trouble that a node's log named is in it. */
bool tw_vllm_news_is_over(tw_vllm_news *n, char *why, size_t why_bytes);
/* Waits for news, at most limit_ns; false: we were asked to stop. */
bool tw_vllm_news_wait(tw_vllm_news *n, uint64_t limit_ns);

#endif
