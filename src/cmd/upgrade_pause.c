/* SPDX-License-Identifier: Apache-2.0 */
/* The service in the background is ended before its program is replaced, and started again as it
 * was, with the words of its keeper's command line. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cluster/life_state.h"
#include "cluster/life_unit.h"
#include "cmd/commands.h"
#include "cmd/keep.h"
#include "cmd/up_unit.h"
#include "cmd/upgrade.h"
#include "os/child.h"
#include "os/fd.h"

enum { PATH_BYTES = 64 };
#define START_LIMIT_NS (3700 * TW_NS_PER_S)

static ssize_t read_proc(pid_t pid, const char *name, char *out, size_t out_bytes)
{
    char path[PATH_BYTES];
    ssize_t n = 0, got = 1;
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    while (got > 0 && (size_t)n + 1 < out_bytes) {
        got = read(fd, out + n, out_bytes - 1 - (size_t)n);
        n += got > 0 ? got : 0;
    }
    out[n] = '\0';
    return n;
}

/* "PROGRAM keep WORDS": the words are up's. */
static int take_words(pid_t pid, upgrade_pause *p, tw_err *err)
{
    const ssize_t n = read_proc(pid, "cmdline", p->text, sizeof p->text);
    size_t k = 0, at = 0;
    for (int i = 0; at < (size_t)TW_MAX(n, 0); i++) {
        if (k + 1 == TW_ARRAY_LEN(p->argv))
            return tw_err_set(err, -E2BIG, "the service has too many arguments to start it again");
        if (i >= 2)
            p->argv[k++] = p->text + at;
        at += strlen(p->text + at) + 1;
    }
    p->argv[k] = NULL;
    return n > 0 && k > 0
               ? 0
               : tw_err_set(err, -ESRCH,
                            "how the service was started cannot be read (pid %d): `twinax "
                            "down` first, and start it again after",
                            (int)pid);
}

/* The service wiped its key as soon as it had it: only its name is left. Whoever starts it again has
 * to know the key. */
static int check_key(pid_t pid, tw_err *err)
{
    static const char name[] = "TWINAX_API_KEY=";
    char text[32 * 1024];
    bool had = false;
    const ssize_t n = read_proc(pid, "environ", text, sizeof text);
    for (ssize_t at = 0; at < n; at += (ssize_t)strlen(text + at) + 1)
        had = had || strncmp(text + at, name, sizeof name - 1) == 0;
    if (!had || getenv("TWINAX_API_KEY") != NULL)
        return 0;
    return tw_err_set(err, -ENOKEY,
                      "the service was started with TWINAX_API_KEY, which it does not keep: set it "
                      "here too (or use api_key_file in twinax.conf)");
}

static int end_service(bool keep_unit, tw_err *err)
{
    static char name[] = "down", keep[] = "--keep-unit";
    char *argv[3] = {name, keep_unit ? keep : NULL, NULL};
    fflush(stdout);
    return tw_command_down.run(keep_unit ? 2 : 1, argv) == TW_EXIT_OK
               ? 0
               : tw_err_set(err, -EBUSY, "the service did not end: nothing was changed");
}

/* What runs on every node goes on with the program that it was started by. */
static int check_ray(tw_err *err)
{
    tw_life_paths paths;
    tw_life_record r;
    enum tw_life_state state;
    int rc = tw_life_paths_make(TW_LIFE_RAY, &paths, err);
    if (rc == 0)
        rc = tw_life_look(&paths, &state, &r, err);
    return rc != 0 || state != TW_LIFE_RUNS
               ? rc
               : tw_err_set(err, -EBUSY, "Ray is up (pid %d): `twinax down` first",
                            (int)r.serve.pid);
}

int tw_upgrade_pause(bool restart, bool dry_run, upgrade_pause *ret, tw_err *err)
{
    tw_life_paths paths;
    tw_life_record r;
    enum tw_life_state state;
    *ret = (upgrade_pause){.paused = false};
    int rc = check_ray(err);
    if (rc == 0)
        rc = tw_life_paths_make(TW_LIFE_SERVICE, &paths, err);
    if (rc == 0)
        rc = tw_life_look(&paths, &state, &r, err);
    if (rc != 0 || state != TW_LIFE_RUNS)
        return rc;
    if (!restart)
        return tw_err_set(err, -EBUSY,
                          "%s is being served: --restart ends it, upgrades and starts it again; or "
                          "`twinax down` first",
                          tw_keep_name(&r));
    if (dry_run)
        return 0;
    ret->is_unit = strcmp(r.how, "unit") == 0;
    rc = ret->is_unit ? 0 : take_words(r.keeper.pid, ret, err);
    if (rc == 0 && !ret->is_unit)
        rc = check_key(r.keeper.pid, err);
    if (rc == 0)
        rc = end_service(ret->is_unit, err);
    ret->paused = rc == 0;
    return rc;
}

int tw_upgrade_resume(upgrade_pause *p, const char *program, tw_err *err)
{
    static const char *const unit[] = {"systemctl", "--user", "start", TW_LIFE_UNIT, NULL};
    const char *argv[TW_ARRAY_LEN(p->argv) + 2] = {program, "up"};
    size_t n = 2;
    if (!p->paused)
        return 0;
    p->paused = false;
    if (p->is_unit)
        return tw_child_run_for(unit, START_LIMIT_NS, err);
    for (size_t i = 0; p->argv[i] != NULL; i++)
        argv[n++] = p->argv[i];
    argv[n] = NULL;
    return tw_child_run_for(argv, START_LIMIT_NS, err);
}
