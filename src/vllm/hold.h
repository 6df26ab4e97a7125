/* SPDX-License-Identifier: Apache-2.0 */
/* Holds a program and all that it starts, on a node or inside a container there: when the lifeline on
 * stdin ends, when one of the holder's two processes is killed, nothing of it is left within 2 s. Ending
 * `podman exec` ends nothing inside the container: that is why the holder is inside too.
 *
 * stdin begins with one line of JSON, the part:
 *
 *    {"argv":["ray","start",...],
 *     "env":{"NAME":"value","RAY_AUTH_TOKEN_PATH":"@DIR@/token"},   over the environment it came to
 *     "dir":"/tmp/twinax-0011aabb-ray",     0700; removed at the end with what is in it
 *     "files":{"token":"..."},              written into dir, 0600
 *     "before":["podman","start",...],      runs to its end first; what it leaves running is not held
 *     "model":{"path":"/...","link":true},  must be seen here; link: as dir/model, wherever it is seen
 *     "door":{"peers":["192.168.100.1",...],"open":8000},   who may reach what listens (hold_door.h)
 *     "erase":true,                         removes what vLLM has compiled (its torch_compile_cache)
 *     "report_ms":2000,                     tells of itself that often (cmd/rank_report.h)
 *     "count":{"interface":"roce0","hca":"irdma0:1"},   and what that wire has counted (count.h)
 *     "stdin":{...}}                        a line for the program's own stdin, which then stays open
 *
 * @DIR@ in a value or word stands for dir, @SELF@ for twinax-node beside this program (else itself),
 * @USER@ and @HOME@ for who started it. What the program prints goes to stdout as it is.
 * Must not know Ray, vLLM, agents. */
#ifndef TWINAX_VLLM_HOLD_H
#define TWINAX_VLLM_HOLD_H

#include "twinax/err.h"

enum { TW_HOLD_PART_MAX = 256 * 1024 };

/* What it shall tell of itself, and how often. */
typedef struct tw_hold_report {
    unsigned ms;
    char interface[16], hca[80]; /* "": none */
} tw_hold_report;

/* Reads the part from in_fd and stays until the program or in_fd has ended; then nothing of it is left.
 * The program's end is *ret_status, as by waitpid. on_start is called in the guard, which may start
 * threads then. From the main thread of a process that has no other
 * and no other children. */
TW_MUST_CHECK int tw_hold_run(int in_fd, void (*on_start)(const tw_hold_report *r), int *ret_status,
                              tw_err *err);

#endif
