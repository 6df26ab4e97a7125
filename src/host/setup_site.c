/* SPDX-License-Identifier: Apache-2.0 */
#include "host/setup_site.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "os/fd.h"
#include "os/file.h"

enum { REVERT_S = 60, JOURNAL_MAX = 16 << 20, LOCK_WAIT_S = 900, LOCK_STEP_US = 50000 };

bool tw_setup_site_path(const tw_setup_site *s, const char *path, char out[TW_SETUP_PATH_BYTES])
{
    int n = snprintf(out, TW_SETUP_PATH_BYTES, "%s%s", s->root, path);
    return n > 0 && n < TW_SETUP_PATH_BYTES;
}

void tw_setup_site_say(const tw_setup_site *s, const char *fmt, ...)
{
    char line[240];
    va_list ap;
    if (s->on_line == NULL)
        return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    s->on_line(s->ctx, line);
}

static int find_dir(tw_setup_site *s, tw_err *err)
{
    const char *state = getenv("XDG_STATE_HOME");
    struct passwd *p = getpwuid(geteuid());
    int n;
    if (s->root[0] != '\0' || geteuid() == 0)
        n = snprintf(s->dir, sizeof s->dir, "%s/var/lib/twinax/setup", s->root);
    else if (state != NULL && state[0] == '/')
        n = snprintf(s->dir, sizeof s->dir, "%s/twinax/setup", state);
    else
        n = snprintf(s->dir, sizeof s->dir, "%s/.local/state/twinax/setup",
                     p != NULL ? p->pw_dir : "/nonexistent");
    return n > 0 && (size_t)n < sizeof s->dir
               ? 0
               : tw_err_set(err, -ENAMETOOLONG, "setup: the path of its journal is too long");
}

int tw_setup_site_init(const char *root, tw_setup_site *ret, tw_err *err)
{
    tw_setup_site s = {.lock_fd = -1, .revert_s = REVERT_S};
    const char *wait = getenv("TW_SETUP_REVERT_S"); /* tests */
    if (root != NULL && snprintf(s.root, sizeof s.root, "%s", root) >= (int)sizeof s.root)
        return tw_err_set(err, -ENAMETOOLONG, "%.60s...: name too long", root);
    ssize_t n = readlink("/proc/self/exe", s.self, sizeof s.self - 1);
    s.self[n > 0 ? n : 0] = '\0';
    if (wait != NULL && root != NULL)
        s.revert_s = (unsigned)strtoul(wait, NULL, 10);
    int rc = find_dir(&s, err);
    if (rc == 0)
        *ret = s;
    return rc;
}

void tw_setup_site_done(tw_setup_site *s)
{
    tw_setup_site_unlock(s);
    json_decref(s->journal);
    s->journal = NULL;
}

/* ---- folders ---- */

static int sync_folder_of(const char *path)
{
    char folder[TW_SETUP_PATH_BYTES];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        return 0;
    slash[slash == folder] = '\0';
    TW_CLEANUP(tw_fd_closep) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0 ? 0 : -errno;
}

static int make_folders(const char *path, tw_err *err)
{
    char at[TW_SETUP_PATH_BYTES];
    snprintf(at, sizeof at, "%s", path);
    for (char *p = at + 1; *p != '\0'; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(at, 0755) != 0 && errno != EEXIST)
            return tw_err_set(err, -errno, "%s: cannot be made: %s", at, strerror(errno));
        *p = '/';
    }
    if (mkdir(at, 0700) != 0 && errno != EEXIST)
        return tw_err_set(err, -errno, "%s: cannot be made: %s", at, strerror(errno));
    return 0;
}

/* ---- files ---- */

void tw_setup_copy_done(tw_setup_copy *c)
{
    tw_buf_done(&c->text);
}

bool tw_setup_copy_same(const tw_setup_copy *a, const tw_setup_copy *b)
{
    return a->there == b->there && a->text.len == b->text.len &&
           (a->text.len == 0 || memcmp(a->text.data, b->text.data, a->text.len) == 0);
}

int tw_setup_copy_read(const char *path, tw_setup_copy *ret, tw_err *err)
{
    tw_setup_copy c = {.text = TW_BUF(TW_SETUP_COPY_MAX)};
    struct stat st;
    if (stat(path, &st) != 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            return tw_err_set(err, -errno, "%s: %s", path, strerror(errno));
        *ret = c;
        return 0;
    }
    if (!S_ISREG(st.st_mode))
        return tw_err_set(err, -EINVAL, "%s: is no ordinary file", path);
    c.there = true;
    c.mode = st.st_mode & 07777;
    c.uid = st.st_uid;
    c.gid = st.st_gid;
    int rc = tw_file_read(path, &c.text, err);
    if (rc != 0) {
        tw_setup_copy_done(&c);
        return rc;
    }
    *ret = c;
    return 0;
}

/* Where path leads, so that a link stays one. */
static void resolve(const char *path, char out[TW_SETUP_PATH_BYTES])
{
    char link[64];
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_PATH | O_CLOEXEC);
    snprintf(out, TW_SETUP_PATH_BYTES, "%s", path);
    if (fd < 0)
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, TW_SETUP_PATH_BYTES - 1);
    if (n <= 0 || out[0] != '/')
        snprintf(out, TW_SETUP_PATH_BYTES, "%s", path);
    else
        out[n] = '\0';
}

void tw_setup_act_as(uid_t uid, gid_t gid)
{
    if (geteuid() != 0)
        return;
    (void)setfsgid(gid);
    (void)setfsuid(uid);
}

static int write_beside(const char *path, const char *tmp, const tw_setup_copy *c)
{
    TW_CLEANUP(tw_fd_closep) int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int rc = fd < 0 ? -errno : tw_fd_write_all(fd, c->text.data, c->text.len);
    tw_setup_act_as(0, 0); /* of what we have just made, and have open */
    if (rc == 0 && (fchown(fd, c->uid, c->gid) != 0 && geteuid() == 0))
        rc = -errno;
    if (rc == 0 && (fchmod(fd, c->mode) != 0 || fsync(fd) != 0))
        rc = -errno;
    tw_setup_act_as(c->as_uid, c->as_gid);
    if (rc == 0 && rename(tmp, path) != 0)
        rc = -errno;
    if (rc != 0 && fd >= 0)
        (void)unlink(tmp);
    return rc;
}

void tw_setup_copy_clean(const char *path)
{
    char at[TW_SETUP_PATH_BYTES], tmp[TW_SETUP_PATH_BYTES + 16];
    resolve(path, at);
    snprintf(tmp, sizeof tmp, "%s.tw-new", at);
    (void)unlink(tmp);
}

int tw_setup_copy_write(const char *path, const tw_setup_copy *c, tw_err *err)
{
    char at[TW_SETUP_PATH_BYTES], tmp[TW_SETUP_PATH_BYTES + 16];
    int rc = 0;
    tw_setup_act_as(c->as_uid, c->as_gid);
    resolve(path, at);
    if (!c->there) {
        rc = unlink(at) != 0 && errno != ENOENT ? -errno : 0;
    } else {
        /* No other program's glob (*.conf, *.yaml, *.network) may take the half-made one. */
        snprintf(tmp, sizeof tmp, "%s.tw-new", at);
        (void)unlink(tmp);
        rc = write_beside(at, tmp, c);
    }
    tw_setup_act_as(0, 0);
    if (rc == 0)
        (void)sync_folder_of(at);
    return rc == 0 ? 0 : tw_err_set(err, rc, "%s: cannot be written: %s", at, strerror(-rc));
}

/* ---- the lock ---- */

int tw_setup_site_lock(tw_setup_site *s, bool wait, tw_err *err)
{
    char path[TW_SETUP_PATH_BYTES];
    int rc = make_folders(s->dir, err);
    if (rc != 0)
        return rc;
    snprintf(path, sizeof path, "%s/lock", s->dir);
    uint64_t until = tw_clock_now_ns() + (wait ? LOCK_WAIT_S * TW_NS_PER_S : 0);
    for (;;) {
        TW_CLEANUP(tw_fd_closep)
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        struct stat ours, there;
        if (fd < 0)
            return tw_err_set(err, -errno, "%s: %s", path, strerror(errno));
        /* Who undid the last step has removed the folder, and with it the lock that we wait for. */
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &ours) == 0 && stat(path, &there) == 0 &&
            ours.st_ino == there.st_ino) {
            s->lock_fd = tw_fd_steal(&fd);
            break;
        }
        if (tw_clock_now_ns() >= until)
            return tw_err_set(err, -EAGAIN, "%s: another setup is at work on this node", path);
        usleep(LOCK_STEP_US);
        rc = make_folders(s->dir, err);
        if (rc != 0)
            return rc;
    }
    rc = tw_setup_journal_read(s, err);
    if (rc != 0)
        tw_setup_site_unlock(s);
    return rc;
}

static void empty_folder(const char *folder)
{
    char path[TW_SETUP_PATH_BYTES + 300];
    DIR *d = opendir(folder);
    for (const struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        (void)unlink(path); /* not "." nor ".." */
    }
    if (d != NULL)
        closedir(d);
}

static void remove_if_empty(const tw_setup_site *s)
{
    static const char *const names[] = {"saved", "lock"};
    char path[TW_SETUP_PATH_BYTES];
    /* A journal that could not be read is none that is empty. */
    if (s->journal == NULL || json_array_size(tw_setup_journal_entries(s)) > 0)
        return;
    snprintf(path, sizeof path, "%s/%s", s->dir, names[0]);
    empty_folder(path); /* of a step that was cut off before the journal knew of it */
    (void)rmdir(path);
    snprintf(path, sizeof path, "%s/journal.old", s->dir);
    (void)unlink(path);
    snprintf(path, sizeof path, "%s/journal.held", s->dir); /* a write was cut off */
    (void)unlink(path);
    snprintf(path, sizeof path, "%s/journal.json", s->dir);
    tw_setup_copy_clean(path);
    (void)unlink(path);
    snprintf(path, sizeof path, "%s/%s", s->dir, names[1]);
    (void)unlink(path);
    snprintf(path, sizeof path, "%s", s->dir);
    for (int i = 0; i < 2 && rmdir(path) == 0; i++) /* .../twinax too, when nothing else is there */
        *strrchr(path, '/') = '\0';
}

void tw_setup_site_unlock(tw_setup_site *s)
{
    if (s->lock_fd < 0)
        return;
    remove_if_empty(s);
    tw_fd_closep(&s->lock_fd);
}

/* ---- the journal ---- */

/* Nothing of it is thrown away: what it knew may be needed, and may still be told by hand. */
static int refuse_damaged(const char *path, const char *why, tw_err *err)
{
    return tw_err_set(err, -EBADMSG,
                      "%s is damaged: nothing is done nor undone before that is mended by hand: "
                      "journal.old beside it is the one before, saved/ has the files as they were "
                      "(%.50s)",
                      path, why);
}

static int parse_journal(const char *path, json_t **ret, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(JOURNAL_MAX);
    TW_CLEANUP(tw_json_freep) json_t *v = NULL;
    tw_err why = {0};
    int rc = tw_file_read(path, &text, err);
    if (rc != 0)
        return rc;
    rc = tw_json_parse("journal", text.data != NULL ? text.data : "", text.len, &v, &why);
    if (rc == -ENOMEM)
        return tw_err_set(err, rc, "%s", why.msg);
    if (rc != 0 || !json_is_array(json_object_get(v, "entries")))
        return refuse_damaged(path, rc != 0 ? why.msg : "no list of entries", err);
    *ret = v;
    v = NULL;
    return 0;
}

int tw_setup_journal_read(tw_setup_site *s, tw_err *err)
{
    char path[TW_SETUP_PATH_BYTES];
    json_t *v = NULL;
    struct stat st;
    snprintf(path, sizeof path, "%s/journal.json", s->dir);
    json_decref(s->journal);
    s->journal = NULL;
    int rc = 0;
    if (stat(path, &st) == 0)
        rc = parse_journal(path, &v, err);
    else if (errno != ENOENT && errno != ENOTDIR)
        rc = tw_err_set(err, -errno, "%s: %s", path, strerror(errno));
    else if ((v = json_pack("{s:i, s:[]}", "schema", 1, "entries")) == NULL)
        rc = tw_err_set(err, -ENOMEM, "no memory for the journal");
    s->journal = v;
    return rc;
}

json_t *tw_setup_journal_entries(const tw_setup_site *s)
{
    return json_object_get(s->journal, "entries");
}

json_t *tw_setup_journal_find(const tw_setup_site *s, json_int_t n)
{
    const json_t *entries = tw_setup_journal_entries(s);
    for (size_t i = 0; i < json_array_size(entries); i++) {
        json_t *e = json_array_get(entries, i);
        if (json_integer_value(json_object_get(e, "n")) == n)
            return e;
    }
    return NULL;
}

int tw_setup_journal_write(tw_setup_site *s, tw_err *err)
{
    char path[TW_SETUP_PATH_BYTES], old[TW_SETUP_PATH_BYTES], held[TW_SETUP_PATH_BYTES];
    char *text = json_dumps(s->journal, JSON_INDENT(1));
    if (text == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the journal");
    tw_setup_copy c = {.there = true,
                       .mode = 0600,
                       .uid = geteuid(),
                       .gid = getegid(),
                       .text = {.data = text, .len = strlen(text)}};
    /* The one before stays: a disk may lose what it has taken. */
    snprintf(path, sizeof path, "%s/journal.json", s->dir);
    snprintf(old, sizeof old, "%s/journal.old", s->dir);
    snprintf(held, sizeof held, "%s/journal.held", s->dir);
    (void)unlink(held);
    const bool has_old = link(path, held) == 0;
    int rc = tw_setup_copy_write(path, &c, err);
    if (has_old && (rc != 0 || rename(held, old) != 0))
        (void)unlink(held);
    tw_mem_free(text);
    return rc;
}
