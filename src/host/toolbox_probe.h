/* SPDX-License-Identifier: Apache-2.0 */
/* What a container says of itself: a shell script that runs in it, and its answer, read with bounds
 * and judged. Pure but for the script. */
#ifndef TWINAX_HOST_TOOLBOX_PROBE_H
#define TWINAX_HOST_TOOLBOX_PROBE_H

#include "host/toolbox_plan.h"

/* For `sh -c`. Says lines "twinax KEY VALUE". */
extern const char tw_toolbox_probe[];

enum { TW_TOOLBOX_PROBE_RCCL_MAX = 8 };

typedef struct tw_toolbox_probed {
    bool answered;
    char machine[16], rocm[24], torch[40];
    enum { TW_TORCH_NONE, TW_TORCH_GOOD, TW_TORCH_BROKEN } torch_is;
    char torch_says[160]; /* broken: the last line */
    bool memlock_unlimited;
    uint64_t memlock_kib;
    size_t n_open, n_shut;
    char shut[TW_FACTS_DEVS_MAX][48]; /* devices that cannot be opened in it */
    size_t n_rccl;
    char rccl[TW_TOOLBOX_PROBE_RCCL_MAX][160];
    bool rccl_has[TW_TOOLBOX_PROBE_RCCL_MAX]; /* code for gfx1151 is in it */
} tw_toolbox_probed;

void tw_toolbox_probe_parse(const char *p, tw_toolbox_probed *ret);
/* Its RCCL runs on gfx1151: code for it is there, or ROCm is 7.14 or later. */
tw_tri tw_toolbox_rccl_supports(const tw_toolbox_probed *p);
/* -EIO, -EACCES and what is wrong: no answer, torch broken, a device shut that is to be open.
 * devices: ["/dev/kfd",..]; a folder means all in it. */
TW_MUST_CHECK int tw_toolbox_probe_judge(const tw_toolbox_probed *p, const json_t *devices,
                                         tw_err *err);
/* One line: "torch 2.9.1, ROCm 7.14, RCCL with gfx1151, memlock unlimited, 4 devices". */
void tw_toolbox_probe_print(const tw_toolbox_probed *p, char *out, size_t out_bytes);

#endif
