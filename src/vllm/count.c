/* SPDX-License-Identifier: Apache-2.0 */
#include "vllm/count.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "os/file.h"
#include "os/rdma.h"

enum {
    NUMBER_MAX = 16 * 1024,
    /* sysfs says of each file that it has a page */ LAYERS_MAX = 10000,
    HIDDEN_MAX = 1 << 20
};

static void read_port(const char *root, const char *hca, tw_vllm_count *ret)
{
    char folder[512], device[64];
    const char *colon = strchr(hca, ':');
    tw_rdma_counters c = {0};
    const unsigned port = colon != NULL ? (unsigned)strtoul(colon + 1, NULL, 10) : 1;
    snprintf(folder, sizeof folder, "%s/sys/class/infiniband", root != NULL ? root : "");
    snprintf(device, sizeof device, "%.*s", (int)strcspn(hca, ":"), hca);
    tw_rdma_counters_read(folder, device, port, &c);
    if (c.known_bytes)
        *ret = (tw_vllm_count){.known = true, .tx = c.tx_bytes, .rx = c.rx_bytes};
    else if (c.known_packets)
        *ret =
            (tw_vllm_count){.known = true, .packets = true, .tx = c.tx_packets, .rx = c.rx_packets};
}

static bool read_number(const char *root, const char *interface, const char *name, uint64_t *ret)
{
    char path[512];
    tw_err ignored;
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(NUMBER_MAX);
    snprintf(path, sizeof path, "%s/sys/class/net/%s/statistics/%s", root != NULL ? root : "",
             interface, name);
    if (tw_file_read(path, &text, &ignored) != 0 || text.len == 0)
        return false;
    *ret = strtoull(text.data, NULL, 10);
    return true;
}

void tw_vllm_count_read(const char *root, const char *interface, const char *hca,
                        tw_vllm_count *ret)
{
    *ret = (tw_vllm_count){.known = false};
    if (hca[0] != '\0')
        read_port(root, hca, ret);
    else if (strchr(interface, '/') == NULL && interface[0] != '.')
        ret->known = read_number(root, interface, "tx_bytes", &ret->tx) &&
                     read_number(root, interface, "rx_bytes", &ret->rx);
}

json_t *tw_vllm_count_print(const tw_vllm_count *c)
{
    if (!c->known)
        return json_null();
    return json_pack("{s:I, s:I, s:s}", "tx", (json_int_t)c->tx, "rx", (json_int_t)c->rx, "unit",
                     c->packets ? "packets" : "bytes");
}

void tw_vllm_count_parse(const json_t *v, tw_vllm_count *ret)
{
    const json_t *tx = json_object_get(v, "tx"), *rx = json_object_get(v, "rx");
    *ret = (tw_vllm_count){.known = false};
    if (json_is_integer(tx) && json_is_integer(rx) && json_integer_value(tx) >= 0 &&
        json_integer_value(rx) >= 0)
        *ret = (tw_vllm_count){.known = true,
                               .packets = strcmp(tw_json_text_at(v, "unit"), "packets") == 0,
                               .tx = (uint64_t)json_integer_value(tx),
                               .rx = (uint64_t)json_integer_value(rx)};
}

tw_vllm_count tw_vllm_count_less(const tw_vllm_count *b, const tw_vllm_count *a)
{
    if (!a->known || !b->known || a->packets != b->packets || b->tx < a->tx || b->rx < a->rx)
        return (tw_vllm_count){.known = false};
    return (tw_vllm_count){.known = true,
                           .packets = a->packets,
                           .tx = b->tx - a->tx,
                           .rx = b->rx - a->rx};
}

bool tw_vllm_count_has(const tw_vllm_count *passed, uint64_t least_bytes)
{
    const uint64_t least = passed->packets ? 1 : least_bytes;
    return passed->known && passed->tx >= least && passed->rx >= least;
}

static uint64_t number_at(const json_t *v, const char *key)
{
    const json_int_t n = json_integer_value(json_object_get(v, key));
    return n > 0 ? (uint64_t)n : 0;
}

uint64_t tw_vllm_count_least(const char *config, size_t n, uint32_t n_tok)
{
    json_error_t je;
    TW_CLEANUP(tw_json_freep) json_t *v = json_loadb(config, n, 0, &je);
    const json_t *text = json_object_get(v, "text_config"); /* of a model that also sees */
    const json_t *at = json_is_object(text) ? text : v;
    const uint64_t layers = number_at(at, "num_hidden_layers"),
                   hidden = number_at(at, "hidden_size");
    if (layers == 0 || layers > LAYERS_MAX || hidden == 0 || hidden > HIDDEN_MAX || n_tok == 0)
        return 1;
    return (uint64_t)n_tok * layers * hidden * 2;
}
