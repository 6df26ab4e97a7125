/* SPDX-License-Identifier: Apache-2.0 */
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
#include "cluster/life_state.h"
#include "cmd/upgrade.h"
#include "fmt/json.h"
#include "host/setup_exec.h"
#include "os/child.h"
#include "os/file.h"

enum { SAYS_MAX = 4096, DEPTH_MAX = 16 };
#define UNPACK_LIMIT_NS (300 * TW_NS_PER_S)
#define ASK_LIMIT_NS    (20 * TW_NS_PER_S)

static int join(char out[UPGRADE_PATH_BYTES], const char *folder, const char *name, tw_err *err)
{
    const int n = snprintf(out, UPGRADE_PATH_BYTES, "%s/%s", folder, name);
    return n > 0 && n < UPGRADE_PATH_BYTES
               ? 0
               : tw_err_set(err, -ENAMETOOLONG, "%.150s...: the path is too long", folder);
}

static bool ends(const char *text, const char *with)
{
    const size_t n = strlen(text), k = strlen(with);
    return n >= k && strcmp(text + n - k, with) == 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    (void)remove(path);
    return 0;
}

void tw_upgrade_source_close(upgrade_source *s)
{
    if (s->folder[0] != '\0')
        (void)nftw(s->folder, remove_one, DEPTH_MAX, FTW_PHYS | FTW_DEPTH);
    s->folder[0] = '\0';
}

/* In the state folder: what lies there may be run (/tmp may be noexec), and nobody else may write. */
static int make_folder(upgrade_source *s, tw_err *err)
{
    tw_life_paths p;
    int rc = tw_life_paths_make(TW_LIFE_SERVICE, &p, err);
    if (rc == 0)
        rc = join(s->folder, p.state, "upgrade-XXXXXX", err);
    if (rc == 0 && mkdtemp(s->folder) == NULL) {
        rc = tw_err_set(err, -errno, "%s: %s", p.state, strerror(errno));
        s->folder[0] = '\0';
    }
    return rc;
}

/* ---- getting and unpacking ---- */

static bool first_match(const char *folder, const char *pattern, char out[UPGRADE_PATH_BYTES])
{
    char path[UPGRADE_PATH_BYTES];
    tw_err ignored;
    glob_t g;
    bool found = false;
    if (join(path, folder, pattern, &ignored) != 0)
        return false;
    if (glob(path, 0, NULL, &g) == 0 && g.gl_pathc > 0)
        found = snprintf(out, UPGRADE_PATH_BYTES, "%s", g.gl_pathv[0]) < UPGRADE_PATH_BYTES;
    globfree(&g);
    return found;
}

static int download(const char *manager, upgrade_source *s, tw_err *err)
{
    const bool apt = strcmp(manager, "apt") == 0;
    const char *const by_apt[] = {"sh", "-c",      "cd \"$1\" && exec apt-get -q download twinax",
                                  "sh", s->folder, NULL};
    const char *const by_dnf[] = {"dnf", "-q", "download", "--destdir", s->folder, "twinax", NULL};
    int rc = tw_child_run_for(apt ? by_apt : by_dnf, UNPACK_LIMIT_NS, err);
    if (rc == 0 && !first_match(s->folder, apt ? "*.deb" : "*.rpm", s->package))
        rc = tw_err_set(err, -ENOENT, "%s brought no package of twinax: name a FILE", manager);
    return rc;
}

/* An archive into folder/tree. */
static int unpack(const char *file, upgrade_source *s, tw_err *err)
{
    char tree[UPGRADE_PATH_BYTES];
    const char *const deb[] = {"dpkg-deb", "-x", file, tree, NULL};
    const char *const rpm[] = {
        "sh", "-c", "cd \"$2\" && rpm2cpio \"$1\" >../cpio && cpio -idm --quiet <../cpio",
        "sh", file, tree,
        NULL};
    const char *const tar[] = {"tar", "-xf", file, "-C", tree, NULL};
    int rc = join(tree, s->folder, "tree", err);
    if (rc == 0 && mkdir(tree, 0700) != 0)
        rc = tw_err_set(err, -errno, "%s: %s", tree, strerror(errno));
    if (rc == 0)
        rc = tw_child_run_for(ends(file, ".deb")   ? deb
                              : ends(file, ".rpm") ? rpm
                                                   : tar,
                              UNPACK_LIMIT_NS, err);
    return rc;
}

static bool has_programs(const char *folder, upgrade_source *s)
{
    tw_err ignored;
    return join(s->twinax, folder, "twinax", &ignored) == 0 &&
           join(s->node, folder, "twinax-node", &ignored) == 0 && access(s->twinax, X_OK) == 0 &&
           !tw_file_is_dir(s->twinax) && access(s->node, X_OK) == 0;
}

static int find_programs(const char *file, const char *folder, upgrade_source *s, tw_err *err)
{
    static const char *const places[] = {"",      "bin",       "usr/bin", "usr/local/bin",
                                         "*/bin", "*/usr/bin", "*"};
    for (size_t i = 0; i < TW_ARRAY_LEN(places); i++) {
        char path[UPGRADE_PATH_BYTES];
        if (places[i][0] == '\0' ? has_programs(folder, s)
                                 : first_match(folder, places[i], path) && has_programs(path, s))
            return 0;
    }
    return tw_err_set(err, -ENOENT,
                      "%s: twinax and twinax-node are not in it: wanted both, side by side", file);
}

static bool is_program(const char *file)
{
    TW_CLEANUP(tw_map_close) tw_map m = {.p = NULL};
    tw_err ignored;
    return tw_map_open(file, &m, &ignored) == 0 && m.size_bytes > 4 &&
           memcmp(m.p, "\177ELF", 4) == 0;
}

static int find_in(const char *file, upgrade_source *s, tw_err *err)
{
    char folder[UPGRADE_PATH_BYTES];
    if (tw_file_is_dir(file))
        return find_programs(file, file, s, err);
    if (is_program(file)) {
        snprintf(folder, sizeof folder, "%s", strchr(file, '/') != NULL ? file : "./");
        strrchr(folder, '/')[folder[0] == '/' && strrchr(folder, '/') == folder] = '\0';
        int rc = find_programs(file, folder, s, err);
        if (rc == 0 && snprintf(s->twinax, sizeof s->twinax, "%s%s", file[0] == '/' ? "" : "./",
                                file) >= (int)sizeof s->twinax)
            rc = tw_err_set(err, -ENAMETOOLONG, "%.150s...: the path is too long", file);
        return rc;
    }
    const bool is_package = ends(file, ".deb") || ends(file, ".rpm");
    if (is_package && file != s->package) { /* its manager wants the full name */
        if (file[0] != '/' && getcwd(folder, sizeof folder) == NULL)
            return tw_err_set(err, -errno, "the working folder has no name: %s", strerror(errno));
        if (snprintf(s->package, sizeof s->package, "%s%s%s", file[0] != '/' ? folder : "",
                     file[0] != '/' ? "/" : "", file) >= (int)sizeof s->package)
            return tw_err_set(err, -ENAMETOOLONG, "%.150s...: the path is too long", file);
    }
    int rc = unpack(is_package ? s->package : file, s, err);
    if (rc == 0)
        rc = join(folder, s->folder, "tree", err);
    return rc == 0 ? find_programs(file, folder, s, err) : rc;
}

/* ---- what it is ---- */

static int ask_version(const char *program, const char *flag, tw_buf *says, tw_err *err)
{
    const char *const argv[] = {program, "version", flag, NULL};
    tw_err why;
    if (tw_setup_exec(argv, ASK_LIMIT_NS, false, says, NULL, NULL, &why) == 0 && says->len > 0)
        return 0;
    return tw_err_set(err, -ENOEXEC, "%s does not run here (another CPU, an older C library?): %s",
                      program, why.msg);
}

static int check_versions(upgrade_source *s, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf of_twinax = TW_BUF(SAYS_MAX), of_node = TW_BUF(SAYS_MAX);
    TW_CLEANUP(tw_json_freep) json_t *v = NULL;
    char wanted[96];
    int rc = ask_version(s->twinax, "--json", &of_twinax, err);
    if (rc == 0)
        rc = tw_json_parse(s->twinax, of_twinax.data, of_twinax.len, &v, err);
    const char *version = json_string_value(json_object_get(v, "version"));
    if (rc == 0 && (version == NULL || strlen(version) >= sizeof s->version))
        rc = tw_err_set(err, -EPROTO, "%s: is no twinax: it says no version", s->twinax);
    if (rc == 0)
        rc = ask_version(s->node, NULL, &of_node, err);
    if (rc != 0)
        return rc;
    snprintf(s->version, sizeof s->version, "%s", version);
    snprintf(wanted, sizeof wanted, "twinax-node %s ", s->version);
    return strncmp(of_node.data, wanted, strlen(wanted)) == 0
               ? 0
               : tw_err_set(err, -EPROTO, "%s: is of another version than twinax %s beside it",
                            s->node, s->version);
}

int tw_upgrade_source_open(const char *file, const char *manager, upgrade_source *ret, tw_err *err)
{
    *ret = (upgrade_source){.folder = ""};
    if (file != NULL && !tw_file_exists(file))
        return tw_err_set(err, -ENOENT, "%s: there is no such file", file);
    int rc = make_folder(ret, err);
    if (rc == 0 && file == NULL)
        rc = download(manager, ret, err);
    if (rc == 0)
        rc = find_in(file != NULL ? file : ret->package, ret, err);
    return rc == 0 ? check_versions(ret, err) : rc;
}
