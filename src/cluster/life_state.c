/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/life_state.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/scope.h"
#include "fmt/json.h"
#include "os/fd.h"
#include "os/file.h"

enum { LOCK_TRIES = 30, LOCK_TRIES_MAX = 1000, LOCK_TRY_MS = 10 };

static const char *const phase_names[TW_LIFE_PHASES] = {"starting", "ready", "ended"};

/* ---- folders ---- */

static int join(char out[TW_LIFE_PATH_BYTES], const char *folder, const char *name, tw_err *err)
{
    int n = snprintf(out, TW_LIFE_PATH_BYTES, "%s/%s", folder, name);
    return n > 0 && n < TW_LIFE_PATH_BYTES
               ? 0
               : tw_err_set(err, -ENAMETOOLONG, "%.150s...: the folder's path is too long", folder);
}

/* path with all above it; what is made is our own alone. */
static int make_folders(const char *path, tw_err *err)
{
    char part[TW_LIFE_PATH_BYTES];
    for (size_t i = 1; i <= strlen(path); i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        snprintf(part, sizeof part, "%.*s", (int)i, path);
        if (mkdir(part, 0700) != 0 && errno != EEXIST && errno != EISDIR)
            return tw_err_set(err, -errno, "%s: cannot be made: %s", part, strerror(errno));
    }
    return 0;
}

/* In it are who serves what and a socket that talks: nobody else may put another in their place. */
static int check_private(const char *path, tw_err *err)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return tw_err_set(err, -errno, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return tw_err_set(err, -ENOTDIR, "%s is no folder: remove it", path);
    if (st.st_uid != geteuid())
        return tw_err_set(err, -EPERM,
                          "%s belongs to uid %u, wanted %u: remove it, or set "
                          "XDG_RUNTIME_DIR",
                          path, (unsigned)st.st_uid, (unsigned)geteuid());
    if ((st.st_mode & 077) != 0 && chmod(path, 0700) != 0)
        return tw_err_set(err, -errno, "%s: others may enter it, chmod 0700: %s", path,
                          strerror(errno));
    return 0;
}

static int make_private(const char *path, tw_err *err)
{
    int rc = make_folders(path, err);
    return rc == 0 ? check_private(path, err) : rc;
}

static int find_state(char out[TW_LIFE_PATH_BYTES], tw_err *err)
{
    const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char base[TW_LIFE_PATH_BYTES];
    if (xdg != NULL && xdg[0] == '/')
        return join(out, xdg, "twinax", err);
    if (home == NULL || home[0] != '/') {
        const struct passwd *pw = getpwuid(geteuid());
        home = pw != NULL ? pw->pw_dir : NULL;
    }
    if (home == NULL)
        return tw_err_set(err, -ENOENT, "no home folder: set HOME or XDG_STATE_HOME");
    int rc = join(base, home, ".local/state", err);
    return rc == 0 ? join(out, base, "twinax", err) : rc;
}

static int find_runtime(char out[TW_LIFE_PATH_BYTES], tw_err *err)
{
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    char usual[48];
    struct stat st;
    snprintf(usual, sizeof usual, "/run/user/%u", (unsigned)geteuid());
    if (xdg != NULL && xdg[0] == '/' && tw_file_is_dir(xdg))
        return join(out, xdg, "twinax", err);
    if (stat(usual, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid())
        return join(out, usual, "twinax", err);
    snprintf(out, TW_LIFE_PATH_BYTES, "/tmp/twinax-%u", (unsigned)geteuid());
    return 0;
}

static int join_name(char out[TW_LIFE_PATH_BYTES], const char *folder, enum tw_life_which which,
                     const char *end, tw_err *err)
{
    char name[32];
    snprintf(name, sizeof name, "%s.%s", which == TW_LIFE_RAY ? "ray" : "service", end);
    return join(out, folder, name, err);
}

int tw_life_paths_make(enum tw_life_which which, tw_life_paths *ret, tw_err *err)
{
    tw_life_paths p = {.state = ""};
    int rc = find_state(p.state, err);
    if (rc == 0)
        rc = find_runtime(p.runtime, err);
    if (rc == 0)
        rc = make_private(p.state, err);
    if (rc == 0)
        rc = make_private(p.runtime, err);
    if (rc == 0)
        rc = join_name(p.record, p.state, which, "json", err);
    if (rc == 0)
        rc = join_name(p.lock, p.state, which, "lock", err);
    if (rc == 0)
        rc = join_name(p.log, p.state, which, "log", err);
    if (rc == 0)
        rc = join_name(p.socket, p.runtime, which, "sock", err);
    if (rc == 0)
        rc = join_name(p.token, p.runtime, which, "token", err);
    if (rc == 0)
        *ret = p;
    return rc;
}

void tw_life_boot_id(char out[40])
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    out[0] = '\0';
    if (tw_file_read("/proc/sys/kernel/random/boot_id", &b, NULL) == 0 && b.len > 0)
        snprintf(out, 40, "%.*s", (int)strcspn(b.data, "\n"), b.data);
}

/* ---- the record ---- */

static json_t *proc_json(const tw_life_proc *p)
{
    return json_pack("{s:i, s:I}", "pid", (int)p->pid, "start", (json_int_t)p->start);
}

static json_t *ranks_json(const tw_life_record *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->n_ranks; i++) {
        const tw_life_rank *k = &r->ranks[i];
        json_array_append_new(list, json_pack("{s:i, s:s, s:s, s:s, s:o}", "rank", (int)k->rank,
                                              "node", k->node, "ssh", k->ssh, "agent_path",
                                              k->agent_path, "process", proc_json(&k->proc)));
    }
    return list;
}

static json_t *record_json(const tw_life_record *r)
{
    return json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:o, s:o, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:s, s:o}",
        "schema", 1, "run", r->run, "host", r->host, "boot", r->boot, "phase",
        phase_names[r->phase], "keeper", proc_json(&r->keeper), "serve", proc_json(&r->serve),
        "model", r->model, "how", r->how, "url", r->url, "socket", r->socket, "since",
        (json_int_t)r->since_s, "ready", (json_int_t)r->ready_s, "ended", (json_int_t)r->ended_s,
        "status", r->status, "end", r->end, "ranks", ranks_json(r));
}

int tw_life_record_write(const tw_life_paths *p, const tw_life_record *r, tw_err *err)
{
    char fresh[TW_LIFE_PATH_BYTES + 16];
    TW_CLEANUP(tw_json_freep) json_t *v = record_json(r);
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_LIFE_RECORD_MAX);
    if (v == NULL || tw_json_dump(v, JSON_INDENT(1), &b) != 0 || tw_buf_puts(&b, "\n") != 0)
        return tw_err_set(err, -ENOMEM,
                          "%s: a record that cannot be written (text that is no "
                          "UTF-8?)",
                          p->record);
    snprintf(fresh, sizeof fresh, "%s.new", p->record);
    (void)unlink(fresh);
    TW_CLEANUP(tw_fd_closep)
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = fd >= 0 ? tw_fd_write_all(fd, b.data, b.len) : -errno;
    if (rc == 0 && rename(fresh, p->record) != 0)
        rc = -errno;
    if (rc != 0 && fd >= 0)
        (void)unlink(fresh);
    return rc == 0 ? 0 : tw_err_set(err, rc, "%s: cannot write: %s", p->record, strerror(-rc));
}

/* ---- reading it ---- */

static void copy_text(tw_json_obj *o, const char *key, char *out, size_t out_bytes)
{
    const char *text = tw_json_text(o, key, "");
    if (o->rc != 0)
        return;
    if (strlen(text) >= out_bytes)
        tw_json_refuse(o, key, "a shorter text");
    else
        snprintf(out, out_bytes, "%s", text);
}

static void read_proc(tw_json_obj *o, const char *key, tw_life_proc *ret)
{
    const json_t *v = tw_json_get(o, key);
    if (o->rc != 0 || v == NULL)
        return;
    if (!json_is_object(v)) {
        tw_json_refuse(o, key, "an object");
        return;
    }
    tw_json_obj sub = {.file = o->file, .prefix = "", .v = v, .err = o->err};
    ret->pid = (pid_t)tw_json_u64(&sub, "pid", 0, 0, INT32_MAX);
    ret->start = tw_json_u64(&sub, "start", 0, 0, INT64_MAX);
    o->rc = sub.rc;
}

static void read_ranks(tw_json_obj *o, tw_life_record *r)
{
    const json_t *list = tw_json_get(o, "ranks");
    if (o->rc != 0 || list == NULL)
        return;
    if (!json_is_array(list) || json_array_size(list) > TW_NODES_MAX) {
        tw_json_refuse(o, "ranks", "a list of at most 8");
        return;
    }
    for (size_t i = 0; i < json_array_size(list) && o->rc == 0; i++) {
        tw_json_obj sub = {.file = o->file,
                           .prefix = "ranks.",
                           .v = json_array_get(list, i),
                           .err = o->err};
        tw_life_rank *k = &r->ranks[r->n_ranks++];
        if (!json_is_object(sub.v)) {
            tw_json_refuse(o, "ranks", "a list of objects");
            return;
        }
        k->rank = (unsigned)tw_json_u64_needed(&sub, "rank", 0, TW_NODES_MAX - 1);
        copy_text(&sub, "node", k->node, sizeof k->node);
        copy_text(&sub, "ssh", k->ssh, sizeof k->ssh);
        copy_text(&sub, "agent_path", k->agent_path, sizeof k->agent_path);
        read_proc(&sub, "process", &k->proc);
        o->rc = sub.rc;
    }
}

static void read_phase(tw_json_obj *o, tw_life_record *r)
{
    const char *name = tw_json_text(o, "phase", "");
    for (unsigned i = 0; i < TW_LIFE_PHASES; i++)
        if (strcmp(name, phase_names[i]) == 0) {
            r->phase = (enum tw_life_phase)i;
            return;
        }
    if (o->rc == 0)
        tw_json_refuse(o, "phase", "starting, ready or ended");
}

int tw_life_record_parse(const char *name, const char *p, size_t n, tw_life_record *ret,
                         tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *v = NULL;
    tw_life_record r = {.run = ""};
    int rc = tw_json_parse(name, p, n, &v, err);
    if (rc == 0 && !json_is_object(v))
        rc = tw_err_set(err, -EPROTO, "%s: no object", name);
    if (rc != 0)
        return rc == -ENOMEM ? rc : -EPROTO;
    tw_json_obj o = {.file = name, .prefix = "", .v = v, .err = err};
    (void)tw_json_u64_needed(&o, "schema", 1, 1);
    copy_text(&o, "run", r.run, sizeof r.run);
    copy_text(&o, "host", r.host, sizeof r.host);
    copy_text(&o, "boot", r.boot, sizeof r.boot);
    copy_text(&o, "model", r.model, sizeof r.model);
    copy_text(&o, "how", r.how, sizeof r.how);
    copy_text(&o, "url", r.url, sizeof r.url);
    copy_text(&o, "socket", r.socket, sizeof r.socket);
    copy_text(&o, "end", r.end, sizeof r.end);
    read_phase(&o, &r);
    read_proc(&o, "keeper", &r.keeper);
    read_proc(&o, "serve", &r.serve);
    r.since_s = tw_json_u64(&o, "since", 0, 0, INT64_MAX);
    r.ready_s = tw_json_u64(&o, "ready", 0, 0, INT64_MAX);
    r.ended_s = tw_json_u64(&o, "ended", 0, 0, INT64_MAX);
    r.status = (int)tw_json_u64(&o, "status", 0, 0, INT32_MAX);
    read_ranks(&o, &r);
    if (o.rc == 0)
        *ret = r;
    return o.rc == 0 || o.rc == -ENOMEM ? o.rc : -EPROTO;
}

int tw_life_record_read(const tw_life_paths *p, tw_life_record *ret, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_LIFE_RECORD_MAX + 4096);
    if (!tw_file_exists(p->record))
        return tw_err_set(err, -ENOENT, "%s: there is none", p->record);
    int rc = tw_file_read(p->record, &b, err);
    return rc == 0 ? tw_life_record_parse(p->record, b.data, b.len, ret, err) : rc;
}

/* ---- the lock ---- */

static int try_lock(const tw_life_paths *p, int how, int *ret_fd, tw_err *err)
{
    TW_CLEANUP(tw_fd_closep)
    int fd = open(p->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return tw_err_set(err, -errno, "%s: cannot open: %s", p->lock, strerror(errno));
    if (flock(fd, how | LOCK_NB) != 0)
        return errno == EWOULDBLOCK
                   ? tw_err_set(err, -EBUSY, "%s: held by a running service", p->lock)
                   : tw_err_set(err, -errno, "%s: cannot lock: %s", p->lock, strerror(errno));
    *ret_fd = tw_fd_steal(&fd);
    return 0;
}

/* Whoever has it has said its last word, and lets go in a moment: on a busy machine a long one. */
static bool is_ending(const tw_life_paths *p)
{
    tw_life_record r;
    tw_err ignored;
    return tw_life_record_read(p, &r, &ignored) == 0 && r.phase == TW_LIFE_ENDED;
}

/* Who only looks holds it too, for a moment. */
int tw_life_lock(const tw_life_paths *p, int *ret_fd, tw_err *err)
{
    int rc = try_lock(p, LOCK_EX, ret_fd, err);
    for (unsigned i = 1; rc == -EBUSY && i < LOCK_TRIES_MAX; i++) {
        if (i >= LOCK_TRIES && !is_ending(p))
            break;
        nanosleep(&(struct timespec){.tv_nsec = LOCK_TRY_MS * 1000 * 1000}, NULL);
        rc = try_lock(p, LOCK_EX, ret_fd, err);
    }
    return rc;
}

int tw_life_look(const tw_life_paths *p, enum tw_life_state *ret_state, tw_life_record *ret,
                 tw_err *err)
{
    TW_CLEANUP(tw_fd_closep) int lock = -1;
    char host[64] = "", boot[40];
    tw_err why = {0};
    if (!tw_file_exists(p->lock) && !tw_file_exists(p->record)) {
        *ret_state = TW_LIFE_NONE; /* who looks leaves nothing */
        return 0;
    }
    int rc = try_lock(p, LOCK_SH, &lock, &why);
    const bool held = rc == -EBUSY;
    if (rc == 0 || held)
        rc = tw_life_record_read(p, ret, &why);
    if (rc == -ENOENT || (rc == -EPROTO && !held)) {
        *ret_state = TW_LIFE_NONE; /* held: it is about to write its first */
        return 0;
    }
    if (rc != 0)
        return tw_err_set(err, rc, "%s", why.msg);
    (void)gethostname(host, sizeof host - 1);
    tw_life_boot_id(boot);
    const bool here = strcmp(host, ret->host) == 0 || strcmp(boot, ret->boot) == 0;
    if (ret->phase == TW_LIFE_ENDED)
        *ret_state = TW_LIFE_OVER;
    else if (!here)
        *ret_state = TW_LIFE_ELSEWHERE;
    else if (held && strcmp(boot, ret->boot) == 0 && tw_life_proc_alive(&ret->keeper))
        *ret_state = TW_LIFE_RUNS;
    else
        *ret_state = TW_LIFE_CRASHED;
    return 0;
}
