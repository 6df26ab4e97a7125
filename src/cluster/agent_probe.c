/* SPDX-License-Identifier: Apache-2.0 */
/* The far end of a measurement. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/agent_inside.h"
#include "fmt/agent_frame.h"
#include "host/net.h"
#include "os/fd.h"

enum { ACCEPT_LIMIT_S = 20 };

static bool is_stopped(void *ctx)
{
    tw_agent *a = ctx;
    return atomic_load_explicit(&a->stop, memory_order_relaxed);
}

static void *serve_probe(void *arg)
{
    tw_agent *a = arg;
    tw_probe_stop stop = {.asked = is_stopped, .ctx = a};
    a->probe_err = (tw_err){0};
    (void)!tw_probe_serve(a->listen_fd, a->token, ACCEPT_LIMIT_S * TW_NS_PER_S, stop,
                          &a->probe_err);
    return NULL;
}

void tw_agent_probe_end(tw_agent *a)
{
    if (!a->has_thread)
        return;
    atomic_store(&a->stop, true);
    pthread_join(a->thread, NULL);
    a->has_thread = false;
    atomic_store(&a->stop, false);
}

int tw_agent_own_address(const char *ip, char *out, size_t out_bytes, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_net *net = tw_mem_alloc(sizeof *net);
    if (net == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the facts");
    int rc = tw_net_read(NULL, net, err);
    if (rc != 0)
        return rc;
    const tw_net_addr *a = NULL;
    const tw_net_if *f = tw_net_find_ip(net, ip, &a);
    if (f == NULL)
        return tw_err_set(err, -EADDRNOTAVAIL, "%.64s is no address of %s", ip, net->host);
    tw_net_addr_format(a, f->name, out, out_bytes);
    return 0;
}

int tw_agent_probe(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    tw_json_obj o = {.file = "probe", .prefix = "", .v = request, .err = err};
    const char *ip = tw_json_text(&o, "address", ""), *token = tw_json_text(&o, "token", "");
    char own[96];
    uint16_t port = 0;
    if (o.rc == 0 && !tw_agent_token_parse(token, a->token))
        return tw_err_set(err, -EINVAL, "probe: the token is no 64 hex digits");
    int rc = o.rc != 0 ? o.rc : tw_agent_own_address(ip, own, sizeof own, err);
    if (rc != 0)
        return rc;
    tw_agent_probe_end(a);
    rc = tw_probe_listen(own, 0, &a->listen_fd, &port, err);
    if (rc != 0)
        return rc;
    rc = -pthread_create(&a->thread, NULL, serve_probe, a);
    if (rc != 0) {
        tw_fd_closep(&a->listen_fd);
        return tw_err_set(err, rc, "no thread to measure with: %s", strerror(-rc));
    }
    a->has_thread = true;
    *ret = json_pack("{s:i, s:s}", "port", port, "address", own);
    return 0;
}

int tw_agent_stop(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    (void)request;
    (void)err;
    tw_agent_probe_end(a);
    tw_cross_server_stop(&a->tool);
    *ret = json_pack("{s:s}", "probe", a->probe_err.msg);
    return 0;
}

int tw_agent_tool(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    tw_json_obj o = {.file = "tool", .prefix = "", .v = request, .err = err};
    const char *name = tw_json_text(&o, "name", ""), *ip = tw_json_text(&o, "address", "");
    const char *device = tw_json_text(&o, "device", "");
    char own[96];
    int rc = o.rc != 0 ? o.rc : tw_agent_own_address(ip, own, sizeof own, err);
    uint16_t port = 0;
    if (rc == 0)
        rc = tw_cross_server_start(&a->tool, name, own, device, &port, err);
    if (rc == 0)
        *ret = json_pack("{s:i}", "port", port);
    return rc;
}
