/* SPDX-License-Identifier: Apache-2.0 */
/* For `twinax upgrade`: the pushed program of this machine, and the version before it. What comes
 * anew is copied by push.h, not through the frames. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/agent_op.h"
#include "cluster/upgrade_file.h"
#include "twinax/version.h"

enum { PATH_BYTES = 1024 };

/* Where push.h puts it. */
static int find_place(char out[PATH_BYTES], tw_err *err)
{
    const char *home = getenv("HOME");
    if (home == NULL || home[0] != '/')
        return tw_err_set(err, -ENOENT, "no home folder: HOME is not set");
    const int n = snprintf(out, PATH_BYTES, "%s/.local/bin/twinax-node", home);
    return n < PATH_BYTES ? 0 : tw_err_set(err, -ENAMETOOLONG, "%.100s...: too long", home);
}

/* Links may lead to it: the folders are compared, not their names. */
static bool is_place(const char *self, const char *place)
{
    static const char *const names[] = {"twinax-node", "twinax-node" TW_UPGRADE_OLD};
    char of_self[PATH_BYTES], of_place[PATH_BYTES];
    struct stat a, b;
    snprintf(of_self, sizeof of_self, "%s", self);
    snprintf(of_place, sizeof of_place, "%s", place);
    char *name = strrchr(of_self, '/');
    *name++ = '\0';
    *strrchr(of_place, '/') = '\0';
    return stat(of_self, &a) == 0 && stat(of_place, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino && (strcmp(name, names[0]) == 0 || strcmp(name, names[1]) == 0);
}

int tw_agent_upgrade_look(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    char place[PATH_BYTES], self[PATH_BYTES];
    (void)a;
    (void)request;
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return tw_err_set(err, -errno, "/proc/self/exe: %s", strerror(errno));
    self[n] = '\0';
    int rc = find_place(place, err);
    if (rc == 0)
        *ret = json_pack("{s:s, s:s, s:b, s:b}", "program", self, "version", tw_version(), "pushed",
                         is_place(self, place), "old", tw_upgrade_has_old(place));
    return rc;
}

int tw_agent_upgrade_keep(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    char place[PATH_BYTES];
    bool had = false;
    (void)a;
    (void)request;
    int rc = find_place(place, err);
    if (rc == 0)
        rc = tw_upgrade_keep(place, &had, err);
    if (rc == 0)
        *ret = json_pack("{s:b}", "had", had);
    return rc;
}

int tw_agent_upgrade_back(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    char place[PATH_BYTES];
    (void)a;
    (void)ret;
    int rc = find_place(place, err);
    return rc == 0 ? tw_upgrade_back(place, json_is_true(json_object_get(request, "swap")), err)
                   : rc;
}
