/* SPDX-License-Identifier: Apache-2.0 */
#include "host/facts_netlink.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/scope.h"
#include "host/facts_file.h"
#include "os/fd.h"

/* The kernel's own macros are of signed numbers. */
#define ATTR_HEAD     sizeof(struct nlattr)
#define ATTR_ALIGN(n) (((size_t)(n) + 3) & ~(size_t)3)

enum { ANSWER_BYTES = 32 * 1024, ANSWERS_MAX = 4096 };

void *tw_nl_begin(tw_nl_request *q, uint16_t type, uint16_t flags, size_t head_bytes)
{
    memset(q, 0, sizeof *q);
    q->head.nlmsg_type = type;
    q->head.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    q->head.nlmsg_len = (uint32_t)(NLMSG_HDRLEN + NLMSG_ALIGN(head_bytes));
    return q->bytes + NLMSG_HDRLEN;
}

void tw_nl_put(tw_nl_request *q, uint16_t type, const void *p, size_t n)
{
    struct nlattr a = {.nla_len = (uint16_t)(ATTR_HEAD + n), .nla_type = type};
    size_t at = q->head.nlmsg_len;
    if (at + ATTR_ALIGN(a.nla_len) > sizeof q->bytes)
        return;
    memcpy(q->bytes + at, &a, sizeof a);
    if (n > 0)
        memcpy(q->bytes + at + ATTR_HEAD, p, n);
    q->head.nlmsg_len += (uint32_t)ATTR_ALIGN(a.nla_len);
}

size_t tw_nl_nest_begin(tw_nl_request *q, uint16_t type)
{
    size_t at = q->head.nlmsg_len;
    tw_nl_put(q, (uint16_t)(type | NLA_F_NESTED), NULL, 0);
    return at;
}

void tw_nl_nest_end(tw_nl_request *q, size_t at)
{
    uint16_t len = (uint16_t)(q->head.nlmsg_len - at);
    memcpy(q->bytes + at, &len, sizeof len);
}

/* 1: more will come. */
static int take_answers(const uint8_t *p, size_t n, bool dump, tw_nl_fn *fn, void *ctx)
{
    while (n >= sizeof(struct nlmsghdr)) {
        struct nlmsghdr h;
        memcpy(&h, p, sizeof h);
        if (h.nlmsg_len < sizeof h || h.nlmsg_len > n)
            return -EPROTO;
        if (h.nlmsg_type == NLMSG_DONE)
            return 0;
        if (h.nlmsg_type == NLMSG_ERROR) {
            int code = 0;
            if (h.nlmsg_len >= sizeof h + sizeof code)
                memcpy(&code, p + sizeof h, sizeof code);
            return code < 0 ? code : 0;
        }
        fn(ctx, (const void *)p);
        if (!dump)
            return 0;
        size_t step = TW_MIN((size_t)NLMSG_ALIGN(h.nlmsg_len), n);
        p += step;
        n -= step;
    }
    return 1;
}

int tw_nl_ask(int protocol, tw_nl_request *q, tw_nl_fn *fn, void *ctx)
{
    static _Thread_local _Alignas(8) uint8_t answer[ANSWER_BYTES];
    struct sockaddr_nl to = {.nl_family = AF_NETLINK};
    struct timeval limit = {.tv_usec = 500000};
    bool dump = (q->head.nlmsg_flags & NLM_F_DUMP) != 0;
    TW_CLEANUP(tw_fd_closep) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (sendto(fd, q->bytes, q->head.nlmsg_len, 0, (void *)&to, sizeof to) < 0)
        return -errno;
    for (int i = 0; i < ANSWERS_MAX; i++) {
        ssize_t n = recv(fd, answer, sizeof answer, 0);
        if (n < 0 && errno == EINTR)
            continue;
        int rc = n < 0 ? -errno : take_answers(answer, (size_t)n, dump, fn, ctx);
        if (rc <= 0)
            return rc;
    }
    return -E2BIG;
}

void tw_nl_each(const void *p, size_t n, tw_nl_each_fn *fn, void *ctx)
{
    const uint8_t *at = p;
    while (n >= sizeof(struct nlattr)) {
        struct nlattr a;
        memcpy(&a, at, sizeof a);
        if (a.nla_len < ATTR_HEAD || a.nla_len > n)
            return;
        fn(ctx, (uint16_t)(a.nla_type & NLA_TYPE_MASK), at + ATTR_HEAD,
           (size_t)a.nla_len - ATTR_HEAD);
        size_t step = TW_MIN((size_t)ATTR_ALIGN(a.nla_len), n);
        at += step;
        n -= step;
    }
}

struct find {
    uint16_t type;
    const void *p;
    size_t n;
};

static void take_if_wanted(void *ctx, uint16_t type, const void *p, size_t n)
{
    struct find *f = ctx;
    if (type == f->type && f->p == NULL) {
        f->p = p;
        f->n = n;
    }
}

const void *tw_nl_find(const void *p, size_t n, uint16_t type, size_t *ret_n)
{
    struct find f = {.type = type};
    if (p != NULL)
        tw_nl_each(p, n, take_if_wanted, &f);
    *ret_n = f.n;
    return f.p;
}

const void *tw_nl_body(const struct nlmsghdr *m, size_t head_bytes, size_t *ret_n)
{
    size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(head_bytes);
    *ret_n = m->nlmsg_len >= at ? m->nlmsg_len - at : 0;
    return (const uint8_t *)m + at;
}

uint32_t tw_nl_u32(const void *p, size_t n)
{
    uint32_t v = 0;
    if (p != NULL && (n == 1 || n == 2 || n == 4))
        memcpy(&v, p, n);
    return v;
}

void tw_nl_text(const void *p, size_t n, char *out, size_t out_bytes)
{
    size_t len = p != NULL ? strnlen(p, n) : 0;
    tw_text_set(out, out_bytes, "%.*s", (int)len, len > 0 ? (const char *)p : "");
}

static void take_family(void *ctx, const struct nlmsghdr *m)
{
    size_t n, n_id;
    const void *body = tw_nl_body(m, sizeof(struct genlmsghdr), &n);
    const void *id = tw_nl_find(body, n, CTRL_ATTR_FAMILY_ID, &n_id);
    *(uint16_t *)ctx = (uint16_t)tw_nl_u32(id, n_id);
}

uint16_t tw_nl_family(const char *name)
{
    tw_nl_request q;
    uint16_t id = 0;
    struct genlmsghdr *g = tw_nl_begin(&q, GENL_ID_CTRL, 0, sizeof *g);
    g->cmd = CTRL_CMD_GETFAMILY;
    g->version = 1;
    tw_nl_put(&q, CTRL_ATTR_FAMILY_NAME, name, strlen(name) + 1);
    return tw_nl_ask(NETLINK_GENERIC, &q, take_family, &id) == 0 ? id : 0;
}
