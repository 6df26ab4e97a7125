/* SPDX-License-Identifier: Apache-2.0 */
/* The pages that are no command's, and all pages as files. */
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/scope.h"
#include "cluster/config_keys.h"
#include "cmd/commands.h"
#include "cmd/man.h"
#include "os/file.h"

enum { PATH_BYTES = 1024 };

static const tw_note node_words[] = {
    {"agent", "the far end of a head's ssh connection; speaks frames on stdin and stdout"},
    {"rank", "one rank of a run; its part comes on stdin"},
    {"version", "its version, protocol and arithmetic"},
    {"checksum", "its own SHA-256, to see that it arrived whole"},
    {NULL, NULL},
};

void tw_man_print_node(FILE *out)
{
    tw_man_head(out, "twinax-node", "1", "what another machine needs to take part");
    fputs(".SH SYNOPSIS\n\\fBtwinax\\-node\\fR agent | rank | version | checksum\n"
          ".SH DESCRIPTION\n",
          out);
    tw_man_text(out, "Started through ssh by twinax on the first machine, which also copies it to "
                     "~/.local/bin (`--push`). It needs the C library alone. Nobody types it.");
    tw_man_notes(out, "COMMANDS", node_words);
    tw_man_notes(out, "EXIT STATUS", tw_usual_exits);
    fputs(".SH SEE ALSO\n.BR twinax (1),\n.BR twinax.conf (5)\n", out);
}

/* ---- twinax.conf ---- */

static void print_keys(FILE *out, const char *section, const tw_config_key *keys)
{
    fprintf(out, ".SS %s\n", section);
    for (const tw_config_key *k = keys; k->name != NULL; k++) {
        char text[400];
        snprintf(text, sizeof text, "%s%s%s", k->help, k->def != NULL ? "; default: " : "",
                 k->def != NULL ? k->def : "");
        tw_man_entry(out, k->name, text);
    }
}

static const tw_note config_files[] = {
    {"./twinax.conf", "looked for first"},
    {"$XDG_CONFIG_HOME/twinax/twinax.conf", "then; else in ~/.config"},
    {"/etc/twinax/twinax.conf", "last"},
    {NULL, NULL},
};

void tw_man_print_config(FILE *out)
{
    tw_man_head(out, "twinax.conf", "5", "which machines, and what they serve");
    fputs(".SH DESCRIPTION\n", out);
    tw_man_text(out,
                "Sections and `key = value`; a comment begins with ; or #. The first file that "
                "is found counts; one that others may write is passed over with a warning. An "
                "unknown key is an error. `twinax config` shows every key, its value and "
                "where it comes from; `twinax setup --init` writes the file.");
    fputs(".SH KEYS\n", out);
    print_keys(out, "[cluster]", tw_config_cluster_keys);
    print_keys(out, "[node.NAME]", tw_config_node_keys);
    print_keys(out, "[serve]", tw_config_serve_keys);
    tw_man_notes(out, "FILES", config_files);
    fputs(".SH EXAMPLES\n.nf\n[cluster]\nnodes = box1, box2\ntransport = rdma\n\n[node.box1]\n"
          "ip = 192.168.100.1\n\n[node.box2]\nip = 192.168.100.2\nssh = me@box2.lan\n\n[serve]\n"
          "model = org/name\nport = 8000\n.fi\n",
          out);
    fputs(".SH SEE ALSO\n.BR twinax (1),\n.BR twinax\\-config (1),\n.BR twinax\\-setup (1)\n", out);
}

/* ---- files ---- */

static int fresh_folder(const char *path, const char *pattern, tw_err *err)
{
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return tw_err_set(err, -errno, "%s: cannot be made: %s", path, strerror(errno));
    DIR *dir = opendir(path);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
        if (fnmatch(pattern, e->d_name, 0) == 0)
            (void)unlinkat(dirfd(dir), e->d_name, 0);
    if (dir != NULL)
        closedir(dir);
    return 0;
}

static void closep(FILE **f)
{
    if (*f != NULL)
        fclose(*f);
}

static int close_page(FILE **f, const char *path, tw_err *err)
{
    const bool bad = ferror(*f) != 0;
    const int rc = fclose(*f);
    *f = NULL;
    return !bad && rc == 0
               ? 0
               : tw_err_set(err, -EIO, "%s: cannot write all of it: %s", path, strerror(errno));
}

static int write_command(const char *dir, const tw_command *c, tw_err *err)
{
    char path[PATH_BYTES + 120];
    const int n = snprintf(path, sizeof path, "%s/man1/twinax-", dir);
    snprintf(path + n, sizeof path - (size_t)n, "%s.1", c->name);
    for (char *p = strchr(path + n, ' '); p != NULL; p = strchr(p, ' '))
        *p = '-';
    TW_CLEANUP(closep) FILE *f = fopen(path, "we");
    if (f == NULL)
        return tw_err_set(err, -errno, "%s: %s", path, strerror(errno));
    tw_man_print_command(c, f);
    return close_page(&f, path, err);
}

static int write_other(const char *dir, const char *name, void (*print)(FILE *out), tw_err *err)
{
    char path[PATH_BYTES + 120];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    TW_CLEANUP(closep) FILE *f = fopen(path, "we");
    if (f == NULL)
        return tw_err_set(err, -errno, "%s: %s", path, strerror(errno));
    print(f);
    return close_page(&f, path, err);
}

/* start-vllm-cluster(1) is the page of what it is. */
static int write_programs(const char *dir, tw_err *err)
{
    const char *name;
    size_t i = 0;
    for (const tw_command *c; (c = tw_command_program(&i, &name)) != NULL;) {
        char path[PATH_BYTES + 120], page[96];
        snprintf(path, sizeof path, "%s/man1/%s.1", dir, name);
        snprintf(page, sizeof page, ".so man1/twinax-%s.1\n", c->name);
        for (char *p = strchr(page + 10, ' '); p != NULL; p = strchr(p, ' '))
            *p = '-';
        int rc = tw_file_write(path, page, strlen(page), err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int tw_man_write_all(const char *dir, tw_err *err)
{
    char path[PATH_BYTES + 8];
    if (strlen(dir) >= PATH_BYTES)
        return tw_err_set(err, -ENAMETOOLONG, "%.100s...: the folder's path is too long", dir);
    if (mkdir(dir, 0755) != 0 && errno != EEXIST)
        return tw_err_set(err, -errno, "%s: cannot be made: %s", dir, strerror(errno));
    snprintf(path, sizeof path, "%s/man1", dir);
    int rc = fresh_folder(path, "*.1", err);
    snprintf(path, sizeof path, "%s/man5", dir);
    if (rc == 0)
        rc = fresh_folder(path, "twinax*.5", err);
    for (const tw_command *const *c = tw_commands; *c != NULL && rc == 0; c++)
        if ((*c)->summary != NULL)
            rc = write_command(dir, *c, err);
    if (rc == 0)
        rc = write_programs(dir, err);
    if (rc == 0)
        rc = write_other(dir, "man1/twinax.1", tw_man_print_overview, err);
    if (rc == 0)
        rc = write_other(dir, "man1/twinax-node.1", tw_man_print_node, err);
    return rc == 0 ? write_other(dir, "man5/twinax.conf.5", tw_man_print_config, err) : rc;
}
