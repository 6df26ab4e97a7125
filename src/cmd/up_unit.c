/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/up_unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/scope.h"
#include "cluster/life_unit.h"
#include "os/child.h"
#include "os/fd.h"
#include "os/file.h"

enum { PATH_BYTES = 1024, UNIT_MAX = 64 * 1024 };

/* What is changed is said before it is done. */
static int do_aloud(const char *const *argv, const char *why, tw_err *err)
{
    fputs("  ", stderr);
    for (const char *const *a = argv; *a != NULL; a++)
        fprintf(stderr, "%s%s", *a, a[1] != NULL ? " " : "");
    fprintf(stderr, "    # %s\n", why);
    return tw_child_run(argv, err);
}

static int make_folders(char *path, tw_err *err)
{
    for (char *p = strchr(path + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
        *p = '\0';
        int rc = mkdir(path, 0700) != 0 && errno != EEXIST ? -errno : 0;
        if (rc != 0)
            return tw_err_set(err, rc, "%s: cannot be made: %s", path, strerror(-rc));
        *p = '/';
    }
    return 0;
}

/* Mode 0600 from the beginning; a link in its place is not followed. */
static int write_private(char *path, const void *p, size_t n, tw_err *err)
{
    int rc = make_folders(path, err);
    if (rc != 0)
        return rc;
    if (unlink(path) != 0 && errno != ENOENT)
        return tw_err_set(err, -errno, "%s: %s", path, strerror(errno));
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, p, n) != (ssize_t)n)
        return tw_err_set(err, errno != 0 ? -errno : -EIO, "%s: cannot write: %s", path,
                          strerror(errno));
    return 0;
}

/* As systemd's environment files quote it. */
static int write_key(char *path, const char *key, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    int rc = tw_buf_puts(&b, "TWINAX_API_KEY=\"");
    for (const char *c = key; *c != '\0' && rc == 0; c++) {
        if ((unsigned char)*c < 0x20)
            return tw_err_set(err, -EINVAL, "the API key holds a control character");
        rc = tw_buf_puts(&b, strchr("\"\\$`", *c) != NULL ? "\\" : "");
        if (rc == 0)
            rc = tw_buf_append(&b, c, 1);
    }
    if (rc == 0)
        rc = tw_buf_puts(&b, "\"\n");
    rc = rc == 0 ? write_private(path, b.data, b.len, err)
                 : tw_err_set(err, rc, "the API key is too long");
    if (b.data != NULL)
        explicit_bzero(b.data, b.cap);
    return rc;
}

static int print_unit(const char *model, char *const *argv, const char *env_file, bool made_linger,
                      tw_buf *b, tw_err *err)
{
    char program[PATH_BYTES], folder[PATH_BYTES];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0 || getcwd(folder, sizeof folder) == NULL)
        return tw_err_set(err, -errno, "where this program lies is not known: %s", strerror(errno));
    program[n] = '\0';
    const char *path = getenv("PATH");
    const tw_life_unit u = {.program = program,
                            .folder = folder,
                            .path = path != NULL ? path : "/usr/local/bin:/usr/bin:/bin",
                            .env_file = env_file,
                            .model = model,
                            .argv = argv,
                            .made_linger = made_linger};
    return tw_life_unit_print(&u, b, err);
}

int tw_up_unit_start(const char *model, char *const *argv, tw_err *err)
{
    static const char *const linger[] = {"loginctl", "enable-linger", NULL};
    static const char *const reload[] = {"systemctl", "--user", "daemon-reload", NULL};
    static const char *const enable[] = {"systemctl", "--user",     "enable",
                                         "--now",     TW_LIFE_UNIT, NULL};
    char unit[PATH_BYTES], env_file[PATH_BYTES];
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(UNIT_MAX);
    const char *key = getenv("TWINAX_API_KEY");
    tw_life_session s;
    tw_life_session_read(NULL, &s);
    if (!s.has_manager)
        return tw_err_set(err, -ENOTSUP,
                          "--install: no systemd user manager runs for you (no "
                          "$XDG_RUNTIME_DIR/systemd/private): log in by ssh or at the machine, not "
                          "by su; or leave --install away");
    int rc = tw_life_unit_places(unit, env_file, sizeof unit, err);
    if (rc == 0)
        rc = print_unit(model, argv, key != NULL ? env_file : NULL, !s.has_linger, &b, err);
    if (rc == 0 && key != NULL)
        rc = write_key(env_file, key, err);
    if (rc == 0 && key != NULL)
        fprintf(stderr, "  %s    # the API key, mode 0600\n", env_file);
    if (rc == 0)
        rc = write_private(unit, b.data, b.len, err);
    if (rc != 0)
        return rc;
    fprintf(stderr, "  %s    # the unit\n", unit);
    if (!s.has_linger)
        rc = do_aloud(linger, "your units go on after logout, and start at boot", err);
    if (rc == 0)
        rc = do_aloud(reload, "systemd reads the unit", err);
    return rc == 0 ? do_aloud(enable, "starts it now and at each boot", err) : rc;
}

bool tw_up_unit_is_there(void)
{
    char unit[PATH_BYTES], env_file[PATH_BYTES];
    tw_err ignored;
    return tw_life_unit_places(unit, env_file, sizeof unit, &ignored) == 0 && tw_file_exists(unit);
}

/* systemd/user/UNIT: the two folders above it, where nothing else is in them. */
static void remove_empty_folders(char *unit)
{
    for (unsigned i = 0; i < 2; i++) {
        char *slash = strrchr(unit, '/');
        if (slash == NULL)
            return;
        *slash = '\0';
        if (rmdir(unit) != 0)
            return;
    }
}

int tw_up_unit_stop(bool keep, tw_err *err)
{
    static const char *const stop[] = {"systemctl", "--user", "stop", TW_LIFE_UNIT, NULL};
    static const char *const disable[] = {"systemctl", "--user",     "disable",
                                          "--now",     TW_LIFE_UNIT, NULL};
    static const char *const reload[] = {"systemctl", "--user", "daemon-reload", NULL};
    static const char *const no_linger[] = {"loginctl", "disable-linger", NULL};
    char unit[PATH_BYTES], env_file[PATH_BYTES];
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(UNIT_MAX + 8192);
    tw_err ignored;
    if (tw_life_unit_places(unit, env_file, sizeof unit, &ignored) != 0 || !tw_file_exists(unit))
        return 0;
    if (keep)
        return do_aloud(stop, "it stays enabled: it starts again at the next boot", err);
    int rc = tw_file_read(unit, &b, err);
    if (rc == 0)
        rc = do_aloud(disable, "stops it, and starts it no more", err);
    if (rc != 0)
        return rc;
    if (unlink(unit) != 0 && errno != ENOENT)
        return tw_err_set(err, -errno, "%s: cannot be removed: %s", unit, strerror(errno));
    (void)unlink(env_file);
    remove_empty_folders(unit);
    rc = do_aloud(reload, "the unit is gone", err);
    if (rc == 0 && b.data != NULL && tw_life_unit_made_linger(b.data))
        rc = do_aloud(no_linger, "it was off before", err);
    return rc;
}
