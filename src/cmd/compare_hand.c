/* SPDX-License-Identifier: Apache-2.0 */
/* Without ssh: one end listens and prints the line that a person carries to the other. The token in
 * it is good for one connection, over which the same frames go as through ssh. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"
#include "cluster/agent.h"
#include "cmd/compare.h"
#include "fmt/agent_frame.h"
#include "os/fd.h"
#include "os/signal.h"
#include "os/sys.h"

#define WAIT_NS    (600 * TW_NS_PER_S)
#define CONNECT_NS (4 * TW_NS_PER_S)

static bool stop_asked(void *ctx)
{
    (void)ctx;
    return tw_signal_asked_to_stop();
}

/* The default route's address: where the other machine most likely reaches us. */
static int choose_address(char *out, size_t n, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_net *net = tw_mem_alloc(sizeof *net);
    if (net == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the facts");
    int rc = tw_net_read(NULL, net, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < net->n_ifs; i++)
        if (net->ifs[i].default_route && net->ifs[i].n_addrs > 0) {
            tw_net_addr_format(&net->ifs[i].addrs[0], net->ifs[i].name, out, n);
            return 0;
        }
    return tw_err_set(
        err, -ENODEV,
        "no interface has a default route: name the address to listen on: --listen ADDR");
}

static void print_line(const char *ip, uint16_t port, const uint8_t *token)
{
    char text[2 * TW_PROBE_TOKEN_BYTES + 1];
    bool v6 = strchr(ip, ':') != NULL;
    tw_agent_token_print(token, text);
    printf(
        "on the other machine, within 10 minutes:\n\n  twinax compare --connect %s@%s%s%s:%u\n\n",
        text, v6 ? "[" : "", ip, v6 ? "]" : "", port);
    if (strchr(ip, '%') != NULL)
        printf("(a link-local address: put the other machine's own interface after the %%)\n\n");
    fflush(stdout);
}

int tw_compare_listen(const compare_opts *o, tw_err *err)
{
    uint8_t token[TW_PROBE_TOKEN_BYTES];
    char chosen[96];
    uint16_t port = 0;
    int fd = -1;
    snprintf(chosen, sizeof chosen, "%.95s", o->listen_ip != NULL ? o->listen_ip : "");
    int rc = o->listen_ip == NULL ? choose_address(chosen, sizeof chosen, err) : 0;
    if (rc == 0 && (rc = tw_sys_random(token, sizeof token)) != 0)
        return tw_err_set(err, rc, "no random token: %s", strerror(-rc));
    if (rc == 0)
        rc = tw_probe_listen(chosen, 0, &fd, &port, err);
    if (rc != 0)
        return rc;
    print_line(chosen, port, token);
    TW_CLEANUP(tw_fd_closep) int peer = -1;
    rc = tw_probe_door_accept(fd, token, WAIT_NS, (tw_probe_stop){.asked = stop_asked}, &peer, err);
    if (rc != 0)
        return rc;
    printf("the other machine is here; the results are printed there\n");
    fflush(stdout);
    return tw_agent_run(peer, peer, err);
}

/* TOKEN@ADDR:PORT, ADDR of IPv6 in brackets. */
static int parse_line(const char *line, uint8_t *token, char *ip, size_t n_ip, uint16_t *ret_port)
{
    char text[256], *at = text, *port;
    uint64_t v = 0;
    if (strlen(line) >= sizeof text)
        return -EINVAL;
    snprintf(text, sizeof text, "%s", line);
    char *token_text = strsep(&at, "@");
    if (at == NULL || !tw_agent_token_parse(token_text, token))
        return -EINVAL;
    port = strrchr(at, ':');
    if (port == NULL || tw_str_to_u64(port + 1, &v) != 0 || v == 0 || v > UINT16_MAX)
        return -EINVAL;
    *port = '\0';
    size_t len = strlen(at);
    if (at[0] == '[' && len > 2 && at[len - 1] == ']') {
        at[len - 1] = '\0';
        at++;
    }
    snprintf(ip, n_ip, "%s", at);
    *ret_port = (uint16_t)v;
    return 0;
}

int tw_compare_connect(const compare_opts *o, tw_remote **ret, tw_err *err)
{
    uint8_t token[TW_PROBE_TOKEN_BYTES];
    char ip[256];
    tw_probe_to to = {.ip = ip,
                      .token = token,
                      .limit_ns = CONNECT_NS,
                      .stop = {.asked = stop_asked}};
    int fd = -1;
    if (parse_line(o->connect, token, ip, sizeof ip, &to.port) != 0)
        return tw_err_set(err, -EINVAL,
                          "--connect: wanted the TOKEN@ADDR:PORT that `twinax compare --listen` "
                          "printed");
    int rc = tw_probe_door_connect(&to, &fd, err);
    return rc != 0 ? rc : tw_remote_open_fd(fd, ip, ret, err);
}
