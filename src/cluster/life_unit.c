/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/life_unit.h"

#include <dirent.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/scope.h"
#include "os/file.h"

static const char linger_mark[] = "# linger was off before: `twinax down` turns it off again\n";

/* ---- the unit ---- */

/* As systemd reads it: quoted, with its specifiers and variables taken away. */
static int put_quoted(tw_buf *b, const char *text)
{
    int rc = tw_buf_puts(b, "\"");
    for (const char *p = text; *p != '\0' && rc == 0; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return -EINVAL;
        if (*p == '"' || *p == '\\')
            rc = tw_buf_puts(b, "\\");
        else if (*p == '%' || *p == '$')
            rc = tw_buf_append(b, p, 1);
        if (rc == 0)
            rc = tw_buf_append(b, p, 1);
    }
    return rc == 0 ? tw_buf_puts(b, "\"") : rc;
}

/* A value that takes no quotes, but specifiers. */
static int put_plain(tw_buf *b, const char *key, const char *text)
{
    int rc = tw_buf_printf(b, "%s", key);
    for (const char *p = text; *p != '\0' && rc == 0; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return -EINVAL;
        rc = tw_buf_puts(b, *p == '%' ? "%" : "");
        if (rc == 0)
            rc = tw_buf_append(b, p, 1);
    }
    return rc == 0 ? tw_buf_puts(b, "\n") : rc;
}

static int put_environment(const tw_life_unit *u, tw_buf *b)
{
    char path[4096];
    snprintf(path, sizeof path, "PATH=%s", u->path);
    int rc = tw_buf_puts(b, "Environment=TWINAX_HOW=unit\nEnvironment=");
    if (rc == 0)
        rc = put_quoted(b, path);
    if (rc == 0)
        rc = tw_buf_puts(b, "\n");
    return rc == 0 && u->env_file != NULL ? put_plain(b, "EnvironmentFile=-", u->env_file) : rc;
}

static int put_command(const tw_life_unit *u, tw_buf *b)
{
    int rc = tw_buf_puts(b, "ExecStart=");
    if (rc == 0)
        rc = put_quoted(b, u->program);
    if (rc == 0)
        rc = tw_buf_puts(b, " keep");
    for (char *const *a = u->argv; *a != NULL && rc == 0; a++) {
        rc = tw_buf_puts(b, " ");
        if (rc == 0)
            rc = put_quoted(b, *a);
    }
    return rc == 0 ? tw_buf_puts(b, "\n") : rc;
}

int tw_life_unit_print(const tw_life_unit *u, tw_buf *b, tw_err *err)
{
    int rc = tw_buf_puts(b, "# Made by `twinax up --install`; `twinax down` removes it.\n");
    if (rc == 0)
        rc = tw_buf_puts(b, u->made_linger ? linger_mark : "");
    if (rc == 0)
        rc = put_plain(b, "[Unit]\nDescription=twinax serves ", u->model);
    if (rc == 0)
        rc = put_plain(b, "\n[Service]\nType=exec\nWorkingDirectory=", u->folder);
    if (rc == 0)
        rc = put_environment(u, b);
    if (rc == 0)
        rc = put_command(u, b);
    if (rc == 0) /* mixed: the keeper ends serve in order; what is left after that is killed */
        rc = tw_buf_puts(b, "Restart=on-failure\nRestartSec=5\nKillMode=mixed\nTimeoutStopSec=30\n"
                            "\n[Install]\nWantedBy=default.target\n");
    if (rc == -EINVAL)
        return tw_err_set(err, rc,
                          "an option holds a line end or another control character: no "
                          "unit can say that");
    return rc == 0 ? 0 : tw_err_set(err, rc, "the unit is too long");
}

bool tw_life_unit_made_linger(const char *text)
{
    return strstr(text, linger_mark) != NULL;
}

int tw_life_unit_places(char *ret_unit, char *ret_env, size_t bytes, tw_err *err)
{
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    const bool has_xdg = xdg != NULL && xdg[0] == '/';
    if (!has_xdg && (home == NULL || home[0] != '/'))
        return tw_err_set(err, -ENOENT, "no home folder: set HOME or XDG_CONFIG_HOME");
    const char *base = has_xdg ? xdg : home, *sub = has_xdg ? "" : "/.config";
    int n = snprintf(ret_unit, bytes, "%s%s/systemd/user/" TW_LIFE_UNIT, base, sub);
    snprintf(ret_env, bytes, "%s%s/twinax/serve.env", base, sub);
    return (size_t)n < bytes ? 0
                             : tw_err_set(err, -ENAMETOOLONG, "%.100s: the path is too long", base);
}

/* ---- what is here ---- */

/* What systemd takes for yes, up to the line's end. */
static bool is_yes(const char *v)
{
    static const char *const words[] = {"1", "yes", "y", "true", "t", "on"};
    const size_t n = strcspn(v, " \t\r\n");
    for (size_t i = 0; i < TW_ARRAY_LEN(words); i++)
        if (strlen(words[i]) == n && strncasecmp(v, words[i], n) == 0)
            return true;
    return false;
}

/* The last KillUserProcesses= of a file; *ret is left alone without one. */
static void read_kills(const char *path, bool *ret)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(64 * 1024);
    static const char key[] = "KillUserProcesses=";
    if (!tw_file_exists(path) || tw_file_read(path, &b, NULL) != 0 || b.data == NULL)
        return;
    for (const char *line = b.data; line != NULL; line = strchr(line, '\n')) {
        line += strspn(line, "\n \t");
        if (strncmp(line, key, sizeof key - 1) != 0)
            continue;
        *ret = is_yes(line + sizeof key - 1);
    }
}

static void read_logind(const char *root, bool *ret)
{
    static const char *const places[] = {"/usr/lib/systemd/logind.conf", "/etc/systemd/logind.conf",
                                         "/usr/lib/systemd/logind.conf.d",
                                         "/etc/systemd/logind.conf.d"};
    char path[700];
    for (size_t i = 0; i < TW_ARRAY_LEN(places); i++) {
        snprintf(path, sizeof path, "%s%s", root, places[i]);
        if (!tw_file_is_dir(path)) {
            read_kills(path, ret);
            continue;
        }
        DIR *dir = opendir(path);
        for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
            if (e->d_name[0] == '.')
                continue;
            snprintf(path, sizeof path, "%s%s/%.255s", root, places[i], e->d_name);
            read_kills(path, ret);
        }
        if (dir != NULL)
            closedir(dir);
    }
}

void tw_life_session_read(const char *root, tw_life_session *ret)
{
    const char *r = root != NULL ? root : "", *runtime = getenv("XDG_RUNTIME_DIR");
    const struct passwd *pw = getpwuid(geteuid());
    char path[700];
    *ret = (tw_life_session){.has_manager = false};
    snprintf(path, sizeof path, "%s/run/systemd/seats", r);
    ret->has_logind = tw_file_exists(path);
    if (runtime != NULL && runtime[0] == '/') {
        snprintf(path, sizeof path, "%s%s/systemd/private", r, runtime);
        ret->has_manager = tw_file_exists(path);
    }
    snprintf(path, sizeof path, "%s/var/lib/systemd/linger/%s", r, pw != NULL ? pw->pw_name : "?");
    ret->has_linger = tw_file_exists(path);
    read_logind(r, &ret->kills);
}

const char *tw_life_survives(const tw_life_session *s, const char *how)
{
    if (strcmp(how, "unit") == 0)
        return s->has_linger ? "it survives logout, and starts again after a reboot"
                             : "it ends at logout and starts again at login: turn linger on with "
                               "`loginctl enable-linger`";
    if (strcmp(how, "scope") == 0)
        return "it survives logout, but no reboot (`twinax up --install` does)";
    if (!s->has_logind)
        return "it survives this terminal and logout, but no reboot";
    if (s->kills)
        return "it survives this terminal, but not logout (KillUserProcesses=yes): turn linger on "
               "with `loginctl enable-linger` and start it again, or use `twinax up --install`";
    return "it survives this terminal and logout, but no reboot (`twinax up --install` does)";
}
