/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel parameters that this machine and this use of it want, judged against a command line and
 * merged into one. doctor and setup ask here, so that what one finds wrong the other makes right.
 *
 * A word that is good enough stays as it is, and so does what its owner chose for a reason
 * (amd_iommu=off). Lists ("pci=noaer") are added to, not replaced.
 * Pure. Must not know: files, boot loaders. */
#ifndef TWINAX_HOST_KERNEL_PARAMS_H
#define TWINAX_HOST_KERNEL_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "twinax/err.h"

enum { TW_KERNEL_PARAMS_MAX = 8, TW_KERNEL_LINE_BYTES = 4096 };

typedef struct tw_kernel_ask {
    uint64_t installed_bytes; /* as by tw_kernel_installed; 0: unknown, no memory parameters */
    bool unified_gpu;         /* vllm on an AMD GPU that lives in system memory (Strix Halo) */
    bool rdma_card;           /* an RDMA card in a PCIe slot */
    bool no_gttsize;          /* the running amdgpu has no parameter gttsize any more */
} tw_kernel_ask;

enum tw_kernel_state {
    TW_KERNEL_GOOD,    /* as wanted, or as good */
    TW_KERNEL_KEPT,    /* the owner chose otherwise; note says what that means */
    TW_KERNEL_MISSING, /* not on the line */
    TW_KERNEL_WRONG    /* on the line with another value */
};

typedef struct tw_kernel_param {
    const char *name; /* "amdgpu.gttsize" */
    const char *why;  /* one clause */
    enum tw_kernel_state state;
    char want[24];  /* "126976" */
    char found[96]; /* the whole word on the line, "" none */
    char set[160];  /* the whole word that it should be: "pci=noaer,realloc" */
    char note[224]; /* with KEPT */
} tw_kernel_param;

/* What was put into the board: known_bytes when the firmware tells (0: it does not), else the sum of
 * what Linux and the GPU hold, up to the next whole 8 GiB (16 GiB above 32). 0 when nothing is known. */
uint64_t tw_kernel_installed(uint64_t known_bytes, uint64_t total_bytes, uint64_t vram_bytes);
/* How much the GPU may map: 4 GiB stay for the system, a quarter below 16 GiB. 128 GiB give 124. */
uint64_t tw_kernel_gtt_bytes(uint64_t installed_bytes);
uint64_t tw_kernel_gttsize_mib(uint64_t installed_bytes); /* amdgpu.gttsize */
uint64_t tw_kernel_pages_limit(uint64_t installed_bytes); /* ttm.pages_limit, 4 KiB pages */

/* The parameters that are wanted, each judged on line (as in /proc/cmdline or a boot loader's
 * configuration). Returns how many; in the order in which they are to be written. */
size_t tw_kernel_params_judge(const tw_kernel_ask *ask, const char *line,
                              tw_kernel_param ret[TW_KERNEL_PARAMS_MAX]);
bool tw_kernel_param_needed(const tw_kernel_param *p); /* MISSING or WRONG */

/* line with all needed words in it: a WRONG one in its place (a second mention goes), a MISSING one at
 * the end; everything else, quoted words too, byte by byte as it was. -ENOSPC when out is too small,
 * -EINVAL when line has an open quote. */
TW_MUST_CHECK int tw_kernel_line_merge(const char *line, const tw_kernel_param *v, size_t n,
                                       char *out, size_t out_bytes, tw_err *err);
/* The value of the last word "name=value" ("-" and "_" are the same in names); "" with true for a
 * bare word; false: not there. */
bool tw_kernel_line_get(const char *line, const char *name, char *out, size_t out_bytes);

#endif
