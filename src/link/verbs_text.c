/* SPDX-License-Identifier: Apache-2.0 */
/* Completion codes in words: what happened, to whom, what it means. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "link/verbs_inside.h"

typedef struct status_text {
    unsigned status;
    int code;
    const char *name, *meaning;
} status_text;

static const status_text texts[] = {
    {TW_VERBS_LOC_LEN_ERR, -EIO, "local length error",
     "our adapter found a write longer than it allows"},
    {TW_VERBS_LOC_QP_OP_ERR, -EIO, "local queue pair operation error",
     "our adapter did not carry it out: is its port up, do driver and rdma-core fit?"},
    {TW_VERBS_LOC_PROT_ERR, -EIO, "local protection error",
     "our adapter may not read our own send memory"},
    {TW_VERBS_FLUSH_ERR, -ECONNRESET, "flushed",
     "the queue pair had failed before: adapter reset, or port or driver gone"},
    {TW_VERBS_BAD_RESP_ERR, -EIO, "bad response",
     "the peer's adapter answered what the protocol does not know"},
    {TW_VERBS_LOC_ACCESS_ERR, -EACCES, "local access error",
     "the peer wrote where we gave no right"},
    {TW_VERBS_REM_INV_REQ_ERR, -EPROTO, "remote invalid request",
     "the peer's adapter does not take such a write; do both ends agree on sizes?"},
    {TW_VERBS_REM_ACCESS_ERR, -EACCES, "remote access error",
     "the peer gives no right to write there: wrong key or address, or it has restarted"},
    {TW_VERBS_REM_OP_ERR, -EIO, "remote operation error",
     "the peer's adapter failed while it wrote"},
    {TW_VERBS_RETRY_EXC_ERR, -ECONNRESET, "transport retry exceeded",
     "no acknowledgement: the peer, its port or the cable is gone"},
    {TW_VERBS_RNR_RETRY_EXC_ERR, -EPROTO, "receiver not ready, retry exceeded",
     "the peer's adapter has no receive posted"},
    {TW_VERBS_FATAL_ERR, -EIO, "fatal error", "the adapter needs a reset; see the kernel's log"},
};

static const status_text *find_text(unsigned status)
{
    for (size_t i = 0; i < TW_ARRAY_LEN(texts); i++)
        if (texts[i].status == status)
            return &texts[i];
    return NULL;
}

int tw_verbs_status_code(unsigned status)
{
    const status_text *t = find_text(status);
    return t != NULL ? t->code : -EIO;
}

const char *tw_verbs_state_name(enum tw_verbs_port_state s)
{
    static const char *const names[] = {"in an unknown state", "down", "initialising", "armed",
                                        "active"};
    return (size_t)s < TW_ARRAY_LEN(names) ? names[s] : names[0];
}

/* "; our port mlx5_0:1 is down", or nothing. */
static void describe_port(const tw_verbs_link *v, char *out, size_t out_bytes)
{
    tw_verbs_port port;
    out[0] = '\0';
    if (v->part.pool == NULL || v->api->query_port(v->part.ctx, v->at.port, &port) != 0 ||
        port.state == TW_VERBS_PORT_ACTIVE)
        return;
    snprintf(out, out_bytes, "; our port %s:%u is %s", v->at.device, v->at.port,
             tw_verbs_state_name(port.state));
}

int tw_verbs_explain(const tw_link *l, int code, tw_err *err)
{
    const tw_verbs_link *v = (const tw_verbs_link *)l;
    const status_text *t = find_text(v->status);
    char port[112];
    if (v->failed == 0 && code == -ECONNRESET)
        return tw_err_set(err, code, "%s closed its data connection", l->who);
    describe_port(v, port, sizeof port);
    if (v->status == TW_VERBS_OK)
        return tw_err_set(err, code, "%s: %s: %s%s", l->who,
                          v->note[0] != '\0' ? v->note : "data connection", strerror(-code), port);
    return tw_err_set(err, code, "%s: %s (%s, status %u, vendor 0x%x): %s%s", l->who,
                      t != NULL ? t->name : "completion with an error",
                      v->failed_recv ? "receive" : "write", v->status, v->vendor,
                      t != NULL ? t->meaning : "see the adapter's manual", port);
}
