/* SPDX-License-Identifier: Apache-2.0 */
/* What an agent or a head hears: any bytes are frames or refused, and what another machine says
 * about itself is read within bounds. */
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "cluster/facts.h"
#include "fmt/agent_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void must_be_printable(const char *text)
{
    for (; *text != '\0'; text++)
        must((unsigned char)*text >= 0x20 && *text != 0x7f);
}

static void try_facts(const json_t *v)
{
    static tw_net net;
    tw_err err = {0};
    if (tw_facts_net_parse(v, &net, &err) != 0)
        return;
    must(net.n_ifs <= TW_NET_IFS_MAX);
    must_be_printable(net.host);
    for (size_t i = 0; i < net.n_ifs; i++) {
        must_be_printable(net.ifs[i].name);
        must_be_printable(net.ifs[i].rdma);
        must(net.ifs[i].n_addrs <= TW_NET_ADDRS_MAX && net.ifs[i].kind < TW_NET_KINDS);
    }
}

static void try_message(const json_t *v)
{
    tw_agent_request r;
    tw_err err = {0};
    char text[64];
    int code = 0;
    if (tw_agent_request_read(v, &r, &err) == 0)
        must(r.op[0] != '\0' && strlen(r.op) <= TW_AGENT_OP_MAX);
    if (tw_agent_reply_read(v, 1, &code, text, sizeof text, &err) == 0) {
        must(code <= 0 && strlen(text) < sizeof text);
        must_be_printable(text);
    }
    try_facts(v);
    try_facts(json_object_get(v, "net"));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    const char *at = (const char *)p;
    size_t used = 0;
    if (tw_agent_greeting_find(at, n, &used) == 0)
        must(used <= n);
    for (int i = 0; i < 8; i++) {
        TW_CLEANUP(tw_json_freep) json_t *v = NULL;
        tw_err err = {0};
        if (tw_agent_frame_take(at, n, &v, &used, &err) != 0)
            return 0;
        must(used >= 6 && used <= n);
        try_message(v);
        at += used;
        n -= used;
    }
    return 0;
}
