/* SPDX-License-Identifier: Apache-2.0 */
#include "host/setup_group.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/scope.h"
#include "host/setup_do.h"
#include "os/file.h"

enum { FILE_MAX_BYTES = 4 << 20, NAME_BYTES = 64 };
#define FIND_LIMIT_NS (60 * TW_NS_PER_S)

/* One line of group or passwd: NAME:x:ID:REST. */
typedef struct account {
    char name[NAME_BYTES];
    uint64_t id;
    const char *rest; /* behind the third colon, up to the line's end */
    size_t n_rest;
} account;

static bool read_file(const tw_setup_site *s, const char *path, tw_buf *out)
{
    char full[TW_SETUP_PATH_BYTES];
    tw_err ignored;
    return tw_setup_site_path(s, path, full) && tw_file_read(full, out, &ignored) == 0 &&
           out->data != NULL;
}

/* False: at the end. A line that is none has an empty name. */
static bool next_account(const char **at, account *ret)
{
    const char *line = *at;
    const size_t n = strcspn(line, "\n");
    *ret = (account){.name = ""};
    if (*line == '\0')
        return false;
    *at = line + n + (line[n] == '\n');
    const char *fields[3], *end = line + n;
    const char *p = line;
    for (size_t i = 0; i < 3; i++, p++) {
        p = memchr(p, ':', (size_t)(end - p));
        if (p == NULL)
            return true;
        fields[i] = p;
    }
    ret->id = strtoul(fields[1] + 1, NULL, 10);
    ret->rest = fields[2] + 1;
    ret->n_rest = (size_t)(end - ret->rest);
    if (fields[0] - line < NAME_BYTES)
        snprintf(ret->name, sizeof ret->name, "%.*s", (int)(fields[0] - line), line);
    return true;
}

json_t *tw_setup_groups_list(const tw_setup_site *s)
{
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(FILE_MAX_BYTES);
    json_t *names = json_array();
    account a;
    if (!read_file(s, "/etc/group", &text))
        return names;
    for (const char *at = text.data; next_account(&at, &a);)
        if (a.name[0] != '\0')
            json_array_append_new(names, json_string(a.name));
    return names;
}

static bool has_name(const json_t *names, const char *name)
{
    for (size_t i = 0; i < json_array_size(names); i++)
        if (strcmp(json_string_value(json_array_get(names, i)), name) == 0)
            return true;
    return false;
}

json_t *tw_setup_groups_new(const json_t *before, const json_t *now)
{
    json_t *names = json_array();
    for (size_t i = 0; i < json_array_size(now); i++) {
        const char *name = json_string_value(json_array_get(now, i));
        if (!has_name(before, name))
            json_array_append_new(names, json_string(name));
    }
    return names;
}

static bool find_group(const tw_setup_site *s, const char *name, tw_buf *text, account *ret)
{
    if (!read_file(s, "/etc/group", text))
        return false;
    for (const char *at = text->data; next_account(&at, ret);)
        if (strcmp(ret->name, name) == 0)
            return true;
    return false;
}

/* Whose first group it is; "" nobody's. */
static void find_user(const tw_setup_site *s, uint64_t gid, char out[NAME_BYTES])
{
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(FILE_MAX_BYTES);
    account a;
    out[0] = '\0';
    if (!read_file(s, "/etc/passwd", &text))
        return;
    for (const char *at = text.data; next_account(&at, &a);)
        if (a.name[0] != '\0' && a.n_rest > 0 && strtoul(a.rest, NULL, 10) == gid)
            snprintf(out, NAME_BYTES, "%s", a.name);
}

/* Where files of a group could be; a model's folder is not looked through. 0: none. */
static int find_file(const tw_setup_site *s, uint64_t gid, tw_buf *out, tw_err *err)
{
    static const char *const places[] = {"/etc", "/dev",  "/run",  "/var",      "/opt",
                                         "/srv", "/home", "/root", "/usr/local"};
    char full[TW_ARRAY_LEN(places)][TW_SETUP_PATH_BYTES], id[24];
    const char *argv[TW_ARRAY_LEN(places) + 8] = {"find"};
    size_t n = 1;
    snprintf(id, sizeof id, "%llu", (unsigned long long)gid);
    for (size_t i = 0; i < TW_ARRAY_LEN(places); i++)
        if (tw_setup_site_path(s, places[i], full[i]) && tw_file_is_dir(full[i]))
            argv[n++] = full[i];
    static const char *const rest[] = {"-xdev", "-gid"};
    for (size_t i = 0; i < TW_ARRAY_LEN(rest); i++)
        argv[n++] = rest[i];
    argv[n++] = id;
    argv[n++] = "-print";
    argv[n++] = "-quit";
    argv[n] = NULL;
    if (n < 7) /* no such place: find would take the working folder */
        return 0;
    return tw_setup_exec(argv, FIND_LIMIT_NS, false, out, NULL, NULL, err);
}

/* Why it stays, or "". */
static void why_kept(const tw_setup_site *s, const account *g, char out[300])
{
    char user[NAME_BYTES];
    TW_CLEANUP(tw_buf_done) tw_buf file = TW_BUF(4096);
    tw_err why = {0};
    out[0] = '\0';
    find_user(s, g->id, user);
    if (g->n_rest > 0) {
        snprintf(out, 300, "in it are: %.*s", (int)TW_MIN(g->n_rest, (size_t)200), g->rest);
    } else if (user[0] != '\0') {
        snprintf(out, 300, "it is %s's own", user);
    } else if (find_file(s, g->id, &file, &why) != 0) {
        snprintf(out, 300, "whether files belong to it is not known: %.150s", why.msg);
    } else if (file.len > 0) {
        snprintf(out, 300, "a file belongs to it: %.*s",
                 (int)TW_MIN(strcspn(file.data, "\n"), (size_t)200), file.data);
    }
}

void tw_setup_groups_remove(tw_setup_site *s, const json_t *names,
                            void (*say)(tw_setup_site *s, json_t *said, const char *text),
                            json_t *said)
{
    for (size_t i = 0; i < json_array_size(names); i++) {
        TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(FILE_MAX_BYTES);
        const char *name = json_string_value(json_array_get(names, i));
        char why[300], line[400];
        account g;
        tw_err err = {0};
        if (name == NULL || name[0] == '-' || !find_group(s, name, &text, &g))
            continue;
        why_kept(s, &g, why);
        TW_CLEANUP(tw_json_freep) json_t *words = json_pack("[s, s]", "groupdel", name);
        if (why[0] == '\0' && tw_setup_words(s, words, &err) != 0)
            snprintf(why, sizeof why, "%.200s", err.msg);
        if (why[0] != '\0')
            snprintf(line, sizeof line, "group %s, which the packages made, stays: %s", name, why);
        else
            snprintf(line, sizeof line, "group %s, which the packages made, is removed", name);
        say(s, said, line);
    }
}
