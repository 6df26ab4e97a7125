/* SPDX-License-Identifier: Apache-2.0 */
/* SELinux and AppArmor, and what they refused our programs lately. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/scope.h"
#include "host/facts_reader.h"
#include "os/fd.h"

enum { KMSG_RECORDS_MAX = 20000 };

static void read_selinux(tw_facts_reader *r, tw_facts_security *s)
{
    tw_count enforce = tw_facts_number(r->root, "sys/fs/selinux/enforce");
    if (enforce.known)
        tw_text_set(s->selinux, sizeof s->selinux, "%s",
                    enforce.v != 0 ? "enforcing" : "permissive");
    else if (tw_facts_exists(r->root, "etc/selinux/config"))
        tw_text_set(s->selinux, sizeof s->selinux, "disabled");
}

/* avc:  denied  { open } for pid=1 comm="twinax" ..., or apparmor="DENIED" ... comm="twinax" */
static bool is_ours(const char *line)
{
    static const char *const ours[] = {"comm=\"twinax", "comm=\"raylet\"", "comm=\"vllm",
                                       "comm=\"ray", "twinax"};
    if (strstr(line, "avc:  denied") == NULL && strstr(line, "apparmor=\"DENIED\"") == NULL)
        return false;
    for (size_t i = 0; i < TW_ARRAY_LEN(ours); i++)
        if (strstr(line, ours[i]) != NULL)
            return true;
    return false;
}

static void take_line(tw_facts_security *s, const char *line)
{
    if (!is_ours(line))
        return;
    if (s->n_denials == TW_FACTS_DENIALS_MAX) /* the newest stay */
        memmove(s->denials[0], s->denials[1], sizeof s->denials - sizeof s->denials[0]);
    else
        s->n_denials++;
    const char *from = strstr(line, "avc:");
    from = from != NULL ? from : strstr(line, "apparmor=");
    tw_text_set(s->denials[s->n_denials - 1], sizeof s->denials[0], "%s", from);
}

static bool read_audit_log(tw_facts_reader *r, tw_facts_security *s)
{
    char *rest = r->work, *line;
    if (!tw_facts_tail(r->root, "var/log/audit/audit.log", r->work, sizeof r->work))
        return false;
    while ((line = tw_text_line(&rest)) != NULL)
        take_line(s, line);
    return true;
}

/* Without auditd the kernel's log has them; one record a read. */
static void read_kernel_log(tw_facts_reader *r, tw_facts_security *s)
{
    if (r->root != NULL)
        return;
    TW_CLEANUP(tw_fd_closep) int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    for (int i = 0; fd >= 0 && i < KMSG_RECORDS_MAX; i++) {
        ssize_t n = read(fd, r->work, 8192);
        if (n < 0)
            return; /* no more, or overwritten meanwhile */
        r->work[n] = '\0';
        take_line(s, r->work);
    }
}

void tw_reader_security(tw_facts_reader *r)
{
    tw_facts_security *s = &r->f->security;
    char text[8];
    read_selinux(r, s);
    if (tw_facts_text(r->root, "sys/module/apparmor/parameters/enabled", text, sizeof text))
        s->apparmor = tw_tri_of(text[0] == 'Y');
    if ((s->selinux[0] != '\0' || s->apparmor == TW_YES) && !read_audit_log(r, s))
        read_kernel_log(r, s);
}
