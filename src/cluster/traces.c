/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/traces.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cluster/life_unit.h"
#include "host/setup_site.h"
#include "os/child.h"
#include "os/file.h"

enum { PATH_BYTES = 1024, DEPTH_MAX = 16 };
#define ASK_LIMIT_NS (20 * TW_NS_PER_S)

/* ---- sizes and removal ---- */

static _Thread_local uint64_t sum;

static int add_size(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)path;
    (void)where;
    sum += kind == FTW_F ? (uint64_t)st->st_size : 0;
    return 0;
}

static uint64_t size_of(const char *path)
{
    sum = 0;
    return nftw(path, add_size, DEPTH_MAX, FTW_PHYS) == 0 ? sum : 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path) == 0 || errno == ENOENT ? 0 : errno;
}

/* ---- what is there ---- */

static void add(json_t *list, const char *what, const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return;
    (void)json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "what", what, "path", path,
                                                "bytes", (json_int_t)size_of(path)));
}

static void add_matches(json_t *list, const char *what, const char *folder, const char *pattern)
{
    char path[PATH_BYTES];
    glob_t g;
    if (snprintf(path, sizeof path, "%s/%s", folder, pattern) >= (int)sizeof path)
        return;
    if (glob(path, GLOB_NOSORT, NULL, &g) == 0)
        for (size_t i = 0; i < g.gl_pathc; i++)
            add(list, what, g.gl_pathv[i]);
    globfree(&g);
}

/* $NAME/twinax, else ~/SUB/twinax; false: neither is known. */
static bool user_folder(const char *name, const char *sub, char out[PATH_BYTES])
{
    const char *xdg = getenv(name), *home = getenv("HOME");
    int n = 0;
    if (xdg != NULL && xdg[0] == '/')
        n = snprintf(out, PATH_BYTES, "%s/twinax", xdg);
    else if (home != NULL && home[0] == '/')
        n = snprintf(out, PATH_BYTES, "%s/%s/twinax", home, sub);
    return n > 0 && n < PATH_BYTES;
}

/* In /tmp anybody could have made it, for us to walk into. */
static bool is_own_folder(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

/* As life_state.c chooses it. */
static void runtime_folder(char out[PATH_BYTES])
{
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    char usual[48];
    snprintf(usual, sizeof usual, "/run/user/%u", (unsigned)geteuid());
    if (xdg != NULL && xdg[0] == '/' && tw_file_is_dir(xdg))
        snprintf(out, PATH_BYTES, "%.900s/twinax", xdg);
    else if (tw_file_is_dir(usual))
        snprintf(out, PATH_BYTES, "%s/twinax", usual);
    else
        snprintf(out, PATH_BYTES, "/tmp/twinax-%u", (unsigned)geteuid());
}

static void add_user_folders(json_t *list)
{
    static const struct {
        const char *what, *name, *sub;
    } places[] = {{"config", "XDG_CONFIG_HOME", ".config"},
                  {"state", "XDG_STATE_HOME", ".local/state"},
                  {"cache", "XDG_CACHE_HOME", ".cache"}};
    char path[PATH_BYTES], env[PATH_BYTES];
    tw_err ignored;
    for (size_t i = 0; i < TW_ARRAY_LEN(places); i++)
        if (user_folder(places[i].name, places[i].sub, path))
            add(list, places[i].what, path);
    runtime_folder(path);
    if (is_own_folder(path))
        add(list, "runtime", path);
    if (geteuid() == 0)
        add(list, "state", "/var/lib/twinax");
    if (tw_life_unit_places(path, env, sizeof path, &ignored) == 0)
        add(list, "unit", path);
}

/* ---- programs ---- */

static bool says_good(const char *const *argv)
{
    tw_err ignored;
    return tw_child_run_for(argv, ASK_LIMIT_NS, &ignored) == 0;
}

/* Where there is none, rpm would make one in the home folder. */
static bool has_rpm_database(void)
{
    static const char *const places[] = {"/usr/lib/sysimage/rpm/rpmdb.sqlite",
                                         "/var/lib/rpm/rpmdb.sqlite", "/var/lib/rpm/Packages"};
    for (size_t i = 0; i < TW_ARRAY_LEN(places); i++)
        if (tw_file_exists(places[i]))
            return true;
    return false;
}

const char *tw_traces_manager(const char *path)
{
    const char *const dpkg[] = {"dpkg-query", "-S", path, NULL};
    const char *const rpm[] = {"rpm", "-qf", path, NULL};
    if (says_good(dpkg))
        return "apt";
    return has_rpm_database() && says_good(rpm) ? "dnf" : NULL;
}

/* What `make install` puts below a prefix. */
static void add_prefix(json_t *list, const char *prefix)
{
    static const char *const patterns[] = {
        "bin/twinax",
        "bin/twinax.old",
        "bin/twinax-node",
        "bin/twinax-node.old",
        "bin/start-vllm-cluster",
        "bin/compare_eth_vs_rdma",
        "bin/refresh_toolbox",
        "lib*/libtwinax.so*",
        "lib/*/libtwinax.so*",
        "lib*/pkgconfig/twinax.pc",
        "lib/*/pkgconfig/twinax.pc",
        "include/twinax",
        "share/man/man1/twinax.1*",
        "share/man/man1/twinax-*.1*",
        "share/man/man1/start-vllm-cluster.1*",
        "share/man/man1/compare_eth_vs_rdma.1*",
        "share/man/man1/refresh_toolbox.1*",
        "share/man/man5/twinax.conf.5*",
        "share/bash-completion/completions/twinax",
        "share/zsh/site-functions/_twinax",
        "share/fish/vendor_completions.d/twinax.fish",
        "share/twinax",
    };
    for (size_t i = 0; i < TW_ARRAY_LEN(patterns); i++)
        add_matches(list, "program", prefix, patterns[i]);
}

/* This very program: a package's, one of `make install` (PREFIX/bin/), or one in a build folder,
 * which is somebody's work and no trace. */
static void add_program(json_t *list)
{
    char self[PATH_BYTES];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return;
    self[n] = '\0';
    const char *manager = tw_traces_manager(self);
    if (manager != NULL) {
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "what", "package", "path",
                                                    self, "manager", manager));
        return;
    }
    char *slash = strrchr(self, '/');
    *slash = '\0';
    char *bin = strrchr(self, '/');
    if (bin == NULL || strcmp(bin, "/bin") != 0)
        return;
    *bin = '\0';
    add_prefix(list, self);
}

static bool is_listed(const json_t *list, const char *path)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *p = json_string_value(json_object_get(json_array_get(list, i), "path"));
        if (p != NULL && strcmp(p, path) == 0)
            return true;
    }
    return false;
}

static void add_pushed(json_t *list)
{
    static const char *const names[] = {"twinax-node", "twinax-node.old"};
    const char *home = getenv("HOME");
    char folder[PATH_BYTES / 2], path[PATH_BYTES];
    if (home == NULL || home[0] != '/')
        return;
    snprintf(folder, sizeof folder, "%.400s/.local/bin", home);
    for (size_t i = 0; i < TW_ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (!is_listed(list, path))
            add(list, "program", path);
    }
    add_matches(list, "program", folder, ".twinax-node.[0-9]*"); /* of a push that was cut off */
}

/* Setup is root's: another user sees that there is a journal, and no more. */
static void add_journal(json_t *list)
{
    static const char of_root[] = "/var/lib/twinax/setup";
    tw_setup_site s;
    tw_err ignored;
    if (geteuid() != 0 && tw_file_is_dir(of_root))
        (void)json_array_append_new(list,
                                    json_pack("{s:s, s:s}", "what", "journal", "path", of_root));
    if (tw_setup_site_init(NULL, &s, &ignored) != 0)
        return;
    if (tw_setup_journal_read(&s, &ignored) == 0) {
        const size_t n = json_array_size(tw_setup_journal_entries(&s));
        if (n > 0)
            (void)json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "what", "journal",
                                                        "path", s.dir, "steps", (json_int_t)n));
    }
    tw_setup_site_done(&s);
}

int tw_traces_find(json_t **ret, tw_err *err)
{
    json_t *list = json_array();
    if (list == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the list");
    add_program(list);
    add_pushed(list);
    add_user_folders(list);
    add_journal(list);
    *ret = list;
    return 0;
}

/* ---- removal ---- */

static bool is_asked_for(const json_t *paths, const char *path)
{
    for (size_t i = 0; i < json_array_size(paths); i++) {
        const char *p = json_string_value(json_array_get(paths, i));
        if (p != NULL && strcmp(p, path) == 0)
            return true;
    }
    return false;
}

/* A state folder that holds setup's journal stays for it, and loses all else. */
static bool holds_journal(const json_t *found, const char *path)
{
    const size_t n = strlen(path);
    for (size_t i = 0; i < json_array_size(found); i++) {
        const json_t *v = json_array_get(found, i);
        const char *p = json_string_value(json_object_get(v, "path"));
        const char *what = json_string_value(json_object_get(v, "what"));
        if (strcmp(what, "journal") == 0 && strncmp(p, path, n) == 0 && p[n] == '/')
            return true;
    }
    return false;
}

int tw_traces_remove(const json_t *paths, json_t **ret_left, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *found = NULL;
    json_t *left = json_array();
    int rc = left != NULL ? tw_traces_find(&found, err) : tw_err_set(err, -ENOMEM, "no memory");
    for (size_t i = 0; i < json_array_size(found); i++) {
        const json_t *v = json_array_get(found, i);
        const char *path = json_string_value(json_object_get(v, "path"));
        const char *what = json_string_value(json_object_get(v, "what"));
        if (strcmp(what, "package") == 0 || strcmp(what, "journal") == 0 ||
            !is_asked_for(paths, path))
            continue;
        const bool stays = holds_journal(found, path);
        const int cause = stays ? 0 : nftw(path, remove_one, DEPTH_MAX, FTW_PHYS | FTW_DEPTH);
        if (stays || cause != 0)
            (void)json_array_append_new(
                left, json_sprintf("%s: %s", path,
                                   stays ? "setup's journal is in it: `twinax setup --undo`"
                                         : strerror(cause > 0 ? cause : errno)));
    }
    if (rc == 0)
        *ret_left = left;
    else
        json_decref(left);
    return rc;
}
