/* SPDX-License-Identifier: Apache-2.0 */
/* What a line of Ray's, vLLM's, NCCL's (RCCL's) or Gloo's log says about a start: which phase it is in,
 * which wire was taken, what is wrong and what the field does about it. A table of sentences that are
 * looked for; a line that has none is only text.
 * Pure; lines are hostile (a model's name, another machine's words). */
#ifndef TWINAX_VLLM_LOG_JUDGE_H
#define TWINAX_VLLM_LOG_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tw_vllm_phase {
    TW_VLLM_STARTING,
    TW_VLLM_JOINING, /* Ray's nodes, then the process group */
    TW_VLLM_DOWNLOADING,
    TW_VLLM_LOADING,
    TW_VLLM_COMPILING,
    TW_VLLM_CAPTURING,
    TW_VLLM_SERVING,
    TW_VLLM_PHASES
};

/* The best that was heard of: Gloo also carries small things beside NCCL. */
enum tw_vllm_wire {
    TW_VLLM_WIRE_UNKNOWN,
    TW_VLLM_WIRE_GLOO,
    TW_VLLM_WIRE_SOCKET,
    TW_VLLM_WIRE_IB,
    TW_VLLM_WIRES
};

enum { TW_VLLM_NCCL_MAX = 8 };

/* A process that NCCL speaks in: "box1:4242". */
typedef struct tw_vllm_nccl {
    char name[80];
    enum tw_vllm_wire wire;
    char device[64];
} tw_vllm_nccl;

typedef struct tw_vllm_trouble {
    const char *what; /* one sentence */
    const char *mend;
    bool fatal; /* the start cannot succeed any more */
} tw_vllm_trouble;

/* What the lines of one process have said so far. Zeroed: nothing. */
typedef struct tw_vllm_log {
    enum tw_vllm_phase phase;
    uint32_t n_done, n_all; /* of the phase, "2/4" shards; n_all 0: not said */
    enum tw_vllm_wire wire;
    char device[64];     /* of the wire: "irdma0:1/RoCE", "enp1s0:192.168.100.1" */
    char socket_of[160]; /* a process whose NCCL has sockets alone, and its device; "": none */
    size_t n_nccl;
    tw_vllm_nccl nccl[TW_VLLM_NCCL_MAX];
    const tw_vllm_trouble *trouble; /* the worst, the first of its kind; NULL: none */
    char trouble_line[240];         /* that said so, printable */
} tw_vllm_log;

/* p[n]: one line, without its end. Phases only go forward. */
void tw_vllm_log_take(tw_vllm_log *l, const char *p, size_t n);
const char *tw_vllm_phase_name(enum tw_vllm_phase p); /* "loading" */
const char *tw_vllm_wire_name(enum tw_vllm_wire w);   /* "NET/IB" */

#endif
