/* SPDX-License-Identifier: Apache-2.0 */
/* Part of host/facts: what its readers share, and their list. Each fills its own part of the facts
 * and leaves unknown what it cannot read. */
#ifndef TWINAX_HOST_FACTS_READER_H
#define TWINAX_HOST_FACTS_READER_H

#include "host/facts.h"
#include "host/facts_file.h"

enum { TW_FACTS_WORK_BYTES = 256 * 1024, TW_FACTS_ENV_BYTES = 16 * 1024, TW_PROCS_MAX = 4096 };

typedef struct tw_proc {
    uint32_t pid, ppid, uid;
    char comm[16];
    uint64_t start_ticks; /* since boot */
} tw_proc;

typedef struct tw_facts_reader {
    const tw_facts_opts *o;
    const char *root; /* NULL: this machine */
    tw_facts *f;
    char work[TW_FACTS_WORK_BYTES]; /* one text at a time */
    char env[TW_FACTS_ENV_BYTES];   /* root's "environ" */
    tw_names names;                 /* one folder at a time */
    size_t n_procs;
    tw_proc procs[TW_PROCS_MAX];
} tw_facts_reader;

/* An environment variable; false and "" when it is not set. */
bool tw_reader_env(const tw_facts_reader *r, const char *name, char *out, size_t out_bytes);
/* A path below the user's home; false without a home. */
bool tw_reader_home(const tw_facts_reader *r, const char *below, char *out, size_t out_bytes);
/* Reads the whole of path into work. */
bool tw_reader_text(tw_facts_reader *r, const char *path);
bool tw_reader_has_process(const tw_facts_reader *r, const char *comm);
/* A program on PATH or in a usual place; out may be NULL. */
bool tw_reader_which(const tw_facts_reader *r, const char *name, char *out, size_t out_bytes);
/* Name of a group by /etc/group. */
void tw_reader_group_name(tw_facts_reader *r, uint32_t gid, char *out, size_t out_bytes);

/* What a program prints, cut to fit, at its end or at the deadline, when it is ended. False: it could
 * not be run, failed, or was late. */
bool tw_reader_ask(const char *const *argv, uint64_t deadline_ns, char *out, size_t out_bytes);

/* In this order. */
void tw_reader_procs(tw_facts_reader *r);    /* facts_proc.c */
void tw_reader_os(tw_facts_reader *r);       /* facts_os.c */
void tw_reader_cpu(tw_facts_reader *r);      /* facts_cpu.c */
void tw_reader_user(tw_facts_reader *r);     /* facts_user.c */
void tw_reader_limits(tw_facts_reader *r);   /* facts_limits.c */
void tw_reader_gpu(tw_facts_reader *r);      /* facts_gpu.c */
void tw_reader_memory(tw_facts_reader *r);   /* facts_memory.c; after gpu */
void tw_reader_disks(tw_facts_reader *r);    /* facts_disk.c */
void tw_reader_devs(tw_facts_reader *r);     /* facts_dev.c */
void tw_reader_software(tw_facts_reader *r); /* facts_software.c: modules, tools, services */
void tw_reader_nics(tw_facts_reader *r);     /* facts_nic.c; after software */
void tw_reader_owner(tw_facts_reader *r, tw_facts_nic *n, int index); /* facts_owner.c */
void tw_reader_thunderbolt(tw_facts_reader *r);                       /* facts_thunderbolt.c */
void tw_reader_rdma(tw_facts_reader *r);                              /* facts_rdma.c */
void tw_reader_routes(tw_facts_reader *r);                            /* facts_route.c */
void tw_reader_firewall(tw_facts_reader *r);                          /* facts_firewall.c */
void tw_reader_boot(tw_facts_reader *r);                              /* facts_boot.c */
void tw_reader_ssh(tw_facts_reader *r);                               /* facts_ssh.c */
void tw_reader_session(tw_facts_reader *r);   /* facts_session.c: time too */
void tw_reader_security(tw_facts_reader *r);  /* facts_security.c */
void tw_reader_container(tw_facts_reader *r); /* facts_container.c */
void tw_reader_left(tw_facts_reader *r);      /* facts_left.c */
void tw_reader_twinax(tw_facts_reader *r);    /* facts_twinax.c */

#endif
