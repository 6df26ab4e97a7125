/* SPDX-License-Identifier: Apache-2.0 */
/* twinax.conf: any bytes are parsed or refused in one line; what is taken is safe to give to ssh. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/config.h"
#include "cluster/ssh.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    tw_nodes nodes;
    tw_err err = {0}, ignored;
    int rc = tw_config_parse("fuzz", (const char *)p, n, &nodes, &err);
    if (rc != 0) {
        if (rc > 0 || err.code != rc || err.msg[0] == '\0' || strchr(err.msg, '\n') != NULL)
            abort();
        return 0;
    }
    if (nodes.n > TW_NODES_MAX)
        abort();
    for (size_t i = 0; i < nodes.n; i++) {
        const tw_node_spec *s = &nodes.v[i];
        if (tw_ssh_name_check(s->ssh, &ignored) != 0 || tw_ssh_name_check(s->name, &ignored) != 0 ||
            s->threads > 1024)
            abort();
    }
    return 0;
}
