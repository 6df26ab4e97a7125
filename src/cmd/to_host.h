/* SPDX-License-Identifier: Apache-2.0 */
/* twinax runs on the host; a container only holds Ray, vLLM and ROCm. Started inside a toolbox or a
 * distrobox it becomes itself on the host. */
#ifndef TWINAX_CMD_TO_HOST_H
#define TWINAX_CMD_TO_HOST_H

#include "twinax/err.h"

/* 0: we are on the host, or in a container that is not one of those, and may stay. Does not return
 * when it could go to the host. Else an error that names what is missing. */
TW_MUST_CHECK int tw_to_host(char **argv, tw_err *err);

#endif
