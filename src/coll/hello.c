/* SPDX-License-Identifier: Apache-2.0 */
#include "coll/meet.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "os/file.h"

void tw_meet_find_host_id(char *out, size_t out_bytes)
{
    TW_CLEANUP(tw_buf_done) tw_buf boot = TW_BUF(256);
    char space[64] = "";
    tw_err ignored;
    if (tw_file_read("/proc/sys/kernel/random/boot_id", &boot, &ignored) != 0)
        tw_buf_reset(&boot);
    ssize_t n = readlink("/proc/self/ns/net", space, sizeof space - 1);
    space[n > 0 ? n : 0] = '\0';
    int len = boot.len > 0 ? (int)strcspn(boot.data, "\n") : 0;
    snprintf(out, out_bytes, "%.*s/%s", len, len > 0 ? boot.data : "", space);
}

tw_frame_peer tw_meet_self(const tw_meet *m)
{
    unsigned n = m->o->n_threads;
    return (tw_frame_peer){.address = tw_str_from(m->address),
                           .port = m->port,
                           .host_id = tw_str_from(m->host_id),
                           .unix_name = tw_str_from(m->unix_name),
                           .n_threads = (uint16_t)(n == 0     ? 1
                                                   : n > 9999 ? 9999
                                                              : n)};
}

int tw_meet_hello_encode(const tw_meet *m, tw_buf *b)
{
    const tw_coll_opts *o = m->o;
    tw_frame_hello h = {.rank = (uint8_t)m->rank,
                        .n_ranks = (uint8_t)m->n_ranks,
                        .transport = (uint8_t)o->transport,
                        .verify = o->verify,
                        .me = tw_meet_self(m),
                        .n_facts = o->n_facts};
    for (size_t i = 0; i < o->n_facts; i++)
        h.facts[i] = (tw_frame_fact){tw_str_from(o->facts[i].name), tw_str_from(o->facts[i].value),
                                     o->facts[i].only_report};
    return tw_frame_hello_encode(b, &h);
}

static const char *transport_name(unsigned t)
{
    static const char *const names[] = {"auto", "tcp", "shm", "rdma"};
    return t < TW_ARRAY_LEN(names) ? names[t] : "unknown";
}

static const tw_frame_fact *find_fact(const tw_frame_hello *h, const char *name)
{
    for (size_t i = 0; i < h->n_facts; i++)
        if (tw_str_is(h->facts[i].name, name))
            return &h->facts[i];
    return NULL;
}

/* Long values are cut so that both fit the message. */
static int differ(tw_err *err, unsigned rank, const char *name, tw_str theirs, const char *ours)
{
    int cut = theirs.len > 64 ? 64 : (int)theirs.len;
    return tw_err_set(err, -EPROTO, "rank %u has %s %.*s, rank 0 has %.64s", rank, name, cut,
                      theirs.p, ours);
}

static int compare_facts(const tw_meet *m, const tw_frame_hello *h, tw_err *err)
{
    const tw_coll_opts *o = m->o;
    for (size_t i = 0; i < o->n_facts; i++) {
        const tw_frame_fact *f = find_fact(h, o->facts[i].name);
        if (o->facts[i].only_report)
            continue;
        if (f == NULL)
            return differ(err, h->rank, o->facts[i].name, TW_STR("(none)"), o->facts[i].value);
        if (!tw_str_is(f->value, o->facts[i].value))
            return differ(err, h->rank, o->facts[i].name, f->value, o->facts[i].value);
    }
    for (size_t i = 0; i < h->n_facts; i++) {
        bool known = h->facts[i].only_report;
        for (size_t k = 0; k < o->n_facts; k++)
            known |= tw_str_is(h->facts[i].name, o->facts[k].name);
        if (!known) {
            char name[65];
            tw_str s = h->facts[i].name;
            snprintf(name, sizeof name, "%.*s", (int)TW_MIN(s.len, sizeof name - 1), s.p);
            return differ(err, h->rank, name, h->facts[i].value, "(none)");
        }
    }
    return 0;
}

int tw_meet_compare(const tw_meet *m, const tw_frame_hello *h, tw_err *err)
{
    if (h->n_ranks != m->n_ranks)
        return tw_err_set(err, -EPROTO, "rank %u has a group of %u ranks, rank 0 has %u", h->rank,
                          h->n_ranks, m->n_ranks);
    if (h->transport != m->o->transport)
        return tw_err_set(err, -EPROTO, "rank %u has transport %s, rank 0 has %s", h->rank,
                          transport_name(h->transport), transport_name(m->o->transport));
    if ((h->verify != 0) != m->o->verify)
        return tw_err_set(err, -EPROTO, "rank %u has verify %s, rank 0 has %s", h->rank,
                          h->verify != 0 ? "on" : "off", m->o->verify ? "on" : "off");
    return compare_facts(m, h, err);
}

unsigned tw_meet_threads_here(const tw_meet *m)
{
    size_t boot_len = strcspn(m->host_id, "/");
    unsigned n = 0;
    for (unsigned i = 0; i < m->table.n_ranks; i++) {
        const tw_frame_peer *p = &m->table.peers[i];
        if (p->host_id.len > boot_len && memcmp(p->host_id.p, m->host_id, boot_len + 1) == 0)
            n += p->n_threads;
    }
    return n;
}
