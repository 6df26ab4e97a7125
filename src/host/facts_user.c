/* SPDX-License-Identifier: Apache-2.0 */
/* Who runs us, and in which groups: now, and at the next login. */
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "host/facts_reader.h"

static const char *const matter[] = {"render", "video", "rdma",  "kvm",
                                     "sudo",   "wheel", "admin", "docker"};

static bool in_list(const char (*list)[32], size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], name) == 0)
            return true;
    return false;
}

static void add_group(char (*list)[32], size_t *n, const char *name)
{
    if (*n < TW_FACTS_GROUPS_MAX && !in_list((const char(*)[32])list, *n, name))
        tw_text_set(list[(*n)++], 32, "%s", name);
}

/* name:x:uid:gid:gecos:home:shell */
static bool take_passwd_line(char *line, tw_facts_user *u, uint32_t *ret_gid)
{
    char *part[7] = {NULL};
    for (size_t i = 0; i < 7; i++)
        part[i] = strsep(&line, ":");
    if (part[5] == NULL || strcmp(part[0], "") == 0)
        return false;
    bool by_name = !u->uid.known;
    if (by_name ? strcmp(part[0], u->name) != 0 : strtoul(part[2], NULL, 10) != u->uid.v)
        return false;
    tw_text_set(u->name, sizeof u->name, "%s", part[0]);
    tw_text_set(u->home, sizeof u->home, "%s", part[5]);
    u->uid = tw_count_of(strtoul(part[2], NULL, 10));
    *ret_gid = (uint32_t)strtoul(part[3], NULL, 10);
    return true;
}

static uint32_t read_passwd(tw_facts_reader *r, tw_facts_user *u)
{
    uint32_t gid = UINT32_MAX;
    char *rest = r->work, *line;
    bool found = false;
    if (!tw_reader_text(r, "etc/passwd"))
        return gid;
    while (!found && (line = tw_text_line(&rest)) != NULL)
        found = take_passwd_line(line, u, &gid);
    if (found || r->root != NULL)
        return gid;
    const struct passwd *p = getpwuid(getuid()); /* LDAP and the like */
    if (p != NULL) {
        tw_text_set(u->name, sizeof u->name, "%s", p->pw_name);
        tw_text_set(u->home, sizeof u->home, "%s", p->pw_dir);
        gid = p->pw_gid;
    }
    return gid;
}

/* name:x:gid:user,user */
static void read_groups(tw_facts_reader *r, tw_facts_user *u, uint32_t own_gid)
{
    gid_t now[64];
    int n_now = r->root == NULL ? getgroups(64, now) : 0;
    gid_t effective = r->root == NULL ? getegid() : (gid_t)-1;
    char *rest = r->work, *line;
    if (!tw_reader_text(r, "etc/group"))
        return;
    while ((line = tw_text_line(&rest)) != NULL) {
        const char *name = strsep(&line, ":");
        (void)strsep(&line, ":");
        const char *id = line != NULL ? strsep(&line, ":") : NULL;
        if (id == NULL)
            continue;
        uint32_t gid = (uint32_t)strtoul(id, NULL, 10);
        for (char *c = line; c != NULL && *c != '\0'; c++)
            *c = *c == ',' ? ' ' : *c;
        bool member = gid == own_gid || (line != NULL && tw_text_has_word(line, u->name));
        bool have = gid == effective;
        for (int i = 0; i < n_now; i++)
            have = have || now[i] == gid;
        if (member)
            add_group(u->file_groups, &u->n_file_groups, name);
        if (have)
            add_group(u->groups, &u->n_groups, name);
        for (size_t i = 0; i < TW_ARRAY_LEN(matter); i++)
            if (strcmp(matter[i], name) == 0)
                add_group(u->system_groups, &u->n_system_groups, name);
    }
}

static void recorded_groups(tw_facts_reader *r, tw_facts_user *u)
{
    char text[512], *rest = text, *name;
    (void)tw_reader_env(r, "GROUPS", text, sizeof text);
    while ((name = strsep(&rest, " ")) != NULL)
        if (*name != '\0')
            add_group(u->groups, &u->n_groups, name);
}

/* A sudo that asks a directory on the network may take its time. */
static tw_tri try_sudo(void)
{
    static const char *const argv[] = {"sudo", "-n", "true", NULL};
    char out[64];
    return tw_tri_of(tw_reader_ask(argv, tw_clock_now_ns() + 2 * TW_NS_PER_S, out, sizeof out));
}

void tw_reader_user(tw_facts_reader *r)
{
    tw_facts_user *u = &r->f->user;
    char home[sizeof u->home];
    if (r->root == NULL)
        u->uid = tw_count_of(getuid());
    else
        (void)tw_reader_env(r, "USER", u->name, sizeof u->name);
    read_groups(r, u, read_passwd(r, u));
    if (r->root != NULL)
        recorded_groups(r, u);
    if (tw_reader_env(r, "HOME", home, sizeof home) && home[0] == '/')
        memcpy(u->home, home, sizeof home);
    u->sudo = tw_tri_of(tw_reader_which(r, "sudo", NULL, 0));
    bool may = false;
    for (size_t i = 0; i < 3; i++) {
        static const char *const names[] = {"sudo", "wheel", "admin"};
        may = may || in_list((const char(*)[32])u->file_groups, u->n_file_groups, names[i]);
    }
    u->sudo_group = tw_tri_of(may);
    if (r->root == NULL && r->o->ask_sudo && u->sudo == TW_YES)
        u->sudo_passwordless = try_sudo();
}
