/* SPDX-License-Identifier: Apache-2.0 */
#include "os/rdma.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/scope.h"
#include "os/file.h"

enum { PATH_BYTES = 320, GID_TABLE_MAX = 256 };

static const char *folder_or_default(const char *folder)
{
    return folder != NULL ? folder : "/sys/class/infiniband";
}

/* The first line of a file; false when it cannot be read. */
static bool read_line(const char *path, char *out, size_t out_bytes)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    tw_err ignored;
    if (tw_file_read(path, &b, &ignored) != 0 || b.len == 0)
        return false;
    snprintf(out, out_bytes, "%.*s", (int)strcspn(b.data, "\n"), b.data);
    return true;
}

void tw_rdma_gid_text(const uint8_t raw[TW_RDMA_GID_BYTES], char *out, size_t out_bytes)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    char text[INET6_ADDRSTRLEN] = "";
    if (memcmp(raw, mapped, sizeof mapped) == 0)
        inet_ntop(AF_INET, raw + sizeof mapped, text, sizeof text);
    else
        inet_ntop(AF_INET6, raw, text, sizeof text);
    snprintf(out, out_bytes, "%s", text);
}

static enum tw_rdma_gid_type parse_type(const char *s)
{
    if (strcmp(s, "RoCE v2") == 0)
        return TW_RDMA_GID_ROCE_V2;
    return strcmp(s, "IB/RoCE v1") == 0 ? TW_RDMA_GID_ROCE_V1 : TW_RDMA_GID_IB;
}

unsigned tw_rdma_gids(const char *folder, const char *device, unsigned port, tw_rdma_gid *ret,
                      unsigned max)
{
    unsigned n = 0;
    for (unsigned i = 0; i < GID_TABLE_MAX && n < max; i++) {
        char path[PATH_BYTES], text[64];
        tw_rdma_gid g = {.port = port, .index = i};
        snprintf(path, sizeof path, "%s/%s/ports/%u/gids/%u", folder_or_default(folder), device,
                 port, i);
        if (!read_line(path, text, sizeof text))
            break;
        static const uint8_t zero[TW_RDMA_GID_BYTES];
        if (inet_pton(AF_INET6, text, g.raw) != 1 || memcmp(g.raw, zero, sizeof zero) == 0)
            continue;
        /* An empty entry's type cannot be read: the kernel says EINVAL. */
        snprintf(path, sizeof path, "%s/%s/ports/%u/gid_attrs/types/%u", folder_or_default(folder),
                 device, port, i);
        if (!read_line(path, text, sizeof text))
            continue;
        g.type = parse_type(text);
        ret[n++] = g;
    }
    return n;
}

bool tw_rdma_is_iwarp(const char *folder, const char *device)
{
    char path[PATH_BYTES], text[64];
    snprintf(path, sizeof path, "%s/%s/node_type", folder_or_default(folder), device);
    return read_line(path, text, sizeof text) && text[0] == '4'; /* "4: RNIC" */
}

void tw_rdma_pci_name(const char *folder, const char *device, char *out, size_t out_bytes)
{
    char path[PATH_BYTES], to[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s/device", folder_or_default(folder), device);
    ssize_t n = readlink(path, to, sizeof to - 1);
    to[n > 0 ? n : 0] = '\0';
    const char *last = strrchr(to, '/');
    snprintf(out, out_bytes, "%s", last != NULL ? last + 1 : to);
}

void tw_rdma_netdev(const char *folder, const char *device, unsigned port, char *out,
                    size_t out_bytes)
{
    out[0] = '\0';
    for (unsigned i = 0; i < GID_TABLE_MAX && out[0] == '\0'; i++) {
        char path[PATH_BYTES], text[64];
        snprintf(path, sizeof path, "%s/%s/ports/%u/gids/%u", folder_or_default(folder), device,
                 port, i);
        if (!read_line(path, text, sizeof text))
            return;
        /* An empty entry's interface cannot be read. */
        snprintf(path, sizeof path, "%s/%s/ports/%u/gid_attrs/ndevs/%u", folder_or_default(folder),
                 device, port, i);
        if (read_line(path, text, sizeof text))
            snprintf(out, out_bytes, "%s", text);
    }
}

void tw_rdma_driver(const char *folder, const char *device, char *out, size_t out_bytes)
{
    char path[PATH_BYTES], to[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s/device/driver", folder_or_default(folder), device);
    ssize_t n = readlink(path, to, sizeof to - 1);
    to[n > 0 ? n : 0] = '\0';
    const char *last = strrchr(to, '/');
    snprintf(out, out_bytes, "%s", last != NULL ? last + 1 : to);
    if (out[0] != '\0')
        return;
    /* No bus device: of the software ones, rxe alone tells on which interface it sits. */
    snprintf(path, sizeof path, "%s/%s/parent", folder_or_default(folder), device);
    if (read_line(path, to, sizeof to))
        snprintf(out, out_bytes, "rdma_rxe");
}

static bool read_counter(const char *folder, const char *device, unsigned port, const char *name,
                         uint64_t *ret)
{
    char path[PATH_BYTES], text[32];
    snprintf(path, sizeof path, "%s/%s/ports/%u/%s", folder_or_default(folder), device, port, name);
    if (!read_line(path, text, sizeof text))
        return false;
    *ret = strtoull(text, NULL, 10);
    return true;
}

void tw_rdma_counters_read(const char *folder, const char *device, unsigned port,
                           tw_rdma_counters *ret)
{
    /* Generic ones first (mlx5, mlx4, hfi), then what drivers without them count. */
    static const char *const packets[][2] = {
        {"counters/port_xmit_packets", "counters/port_rcv_packets"},
        {"hw_counters/sent_pkts", "hw_counters/rcvd_pkts"}, /* rxe */
        {"hw_counters/ip4OutPkts", "hw_counters/ip4InPkts"} /* irdma */
    };
    static const char *const octets[][2] = {
        {"hw_counters/ip4OutOctets", "hw_counters/ip4InOctets"}};
    *ret = (tw_rdma_counters){0};
    for (size_t i = 0; i < TW_ARRAY_LEN(packets) && !ret->known_packets; i++)
        ret->known_packets = read_counter(folder, device, port, packets[i][0], &ret->tx_packets) &&
                             read_counter(folder, device, port, packets[i][1], &ret->rx_packets);
    ret->known_bytes =
        read_counter(folder, device, port, "counters/port_xmit_data", &ret->tx_bytes) &&
        read_counter(folder, device, port, "counters/port_rcv_data", &ret->rx_bytes);
    if (ret->known_bytes) { /* counted in words of four bytes */
        ret->tx_bytes *= 4;
        ret->rx_bytes *= 4;
        return;
    }
    for (size_t i = 0; i < TW_ARRAY_LEN(octets) && !ret->known_bytes; i++)
        ret->known_bytes = read_counter(folder, device, port, octets[i][0], &ret->tx_bytes) &&
                           read_counter(folder, device, port, octets[i][1], &ret->rx_bytes);
}
