/* SPDX-License-Identifier: Apache-2.0 */
/* Part of host/facts: one question to the kernel by netlink and its answers, 0.5 s at most. */
#ifndef TWINAX_HOST_FACTS_NETLINK_H
#define TWINAX_HOST_FACTS_NETLINK_H

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tw_nl_request { /* a message being built */
    union {
        struct nlmsghdr head;
        uint8_t bytes[512];
    };
} tw_nl_request;

/* head_bytes: of the family's own header, zeroed; ret: where it is. */
void *tw_nl_begin(tw_nl_request *q, uint16_t type, uint16_t flags, size_t head_bytes);
void tw_nl_put(tw_nl_request *q, uint16_t type, const void *p, size_t n);
/* A group of attributes: begin gives what end needs. */
size_t tw_nl_nest_begin(tw_nl_request *q, uint16_t type);
void tw_nl_nest_end(tw_nl_request *q, size_t at);

typedef void tw_nl_fn(void *ctx, const struct nlmsghdr *answer);
/* protocol: NETLINK_ROUTE, NETLINK_GENERIC, ... 0, or a negative errno (the kernel's own). */
int tw_nl_ask(int protocol, tw_nl_request *q, tw_nl_fn *fn, void *ctx);
/* Number of a generic family; 0: the kernel does not have it. */
uint16_t tw_nl_family(const char *name);

/* The attribute `type` in p[n]; NULL when it is not there or cut. */
const void *tw_nl_find(const void *p, size_t n, uint16_t type, size_t *ret_n);
/* All of them, in order. */
typedef void tw_nl_each_fn(void *ctx, uint16_t type, const void *p, size_t n);
void tw_nl_each(const void *p, size_t n, tw_nl_each_fn *fn, void *ctx);
/* What follows the family's header in a message. */
const void *tw_nl_body(const struct nlmsghdr *m, size_t head_bytes, size_t *ret_n);
uint32_t tw_nl_u32(const void *p, size_t n); /* 0 when it is no number of 1, 2 or 4 bytes */
void tw_nl_text(const void *p, size_t n, char *out, size_t out_bytes);

#endif
