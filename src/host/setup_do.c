/* SPDX-License-Identifier: Apache-2.0 */
#include "host/setup_do.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"
#include "host/setup_group.h"
#include "os/file.h"

enum { WORDS_MAX = 96 };
#define COMMAND_LIMIT_NS (1800 * TW_NS_PER_S) /* packages may come from far */

/* ---- commands ---- */

int tw_setup_words(tw_setup_site *s, const json_t *words, tw_err *err)
{
    const char *argv[WORDS_MAX + 1] = {NULL};
    size_t n = json_array_size(words);
    if (n == 0 || n > WORDS_MAX)
        return tw_err_set(err, -EINVAL, "a command of %zu words; wanted 1 to %d", n, WORDS_MAX);
    for (size_t i = 0; i < n; i++) {
        argv[i] = json_string_value(json_array_get(words, i));
        if (argv[i] == NULL)
            return tw_err_set(err, -EINVAL, "a command's word that is no text");
    }
    return tw_setup_exec(argv, COMMAND_LIMIT_NS, true, NULL, s->on_line, s->ctx, err);
}

/* ---- saving ---- */

void tw_setup_saved_path(const tw_setup_site *s, const json_t *entry, size_t k, const char *what,
                         char out[TW_SETUP_PATH_BYTES])
{
    snprintf(out, TW_SETUP_PATH_BYTES, "%s/saved/%04d-%zu.%s", s->dir,
             (int)json_integer_value(json_object_get(entry, "n")), k, what);
}

int tw_setup_keep_copy(const tw_setup_site *s, const json_t *entry, size_t k, const char *what,
                       const tw_setup_copy *c, tw_err *err)
{
    char path[TW_SETUP_PATH_BYTES], folder[TW_SETUP_PATH_BYTES];
    tw_setup_copy own = *c;
    own.mode = 0600;
    own.uid = geteuid();
    own.gid = getegid();
    snprintf(folder, sizeof folder, "%s/saved", s->dir);
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return tw_err_set(err, -errno, "%s: %s", folder, strerror(errno));
    tw_setup_saved_path(s, entry, k, what, path);
    return tw_setup_copy_write(path, &own, err);
}

void tw_setup_saved_drop(const tw_setup_site *s, const json_t *entry)
{
    static const char *const kinds[] = {"before", "after", "present"};
    const size_t n = json_array_size(json_object_get(entry, "saved"));
    char path[TW_SETUP_PATH_BYTES];
    for (size_t k = 0; k <= n; k++) /* one more: it may have been cut off there */
        for (size_t i = 0; i < TW_ARRAY_LEN(kinds); i++) {
            tw_setup_saved_path(s, entry, k, kinds[i], path);
            (void)unlink(path);
        }
}

void tw_setup_journal_drop(tw_setup_site *s, const json_t *entry)
{
    json_t *entries = tw_setup_journal_entries(s);
    for (size_t i = 0; i < json_array_size(entries); i++)
        if (json_array_get(entries, i) == entry) {
            json_array_remove(entries, i);
            return;
        }
}

/* Folders above path that are not there yet, the outermost first. */
static void note_folders(const tw_setup_site *s, json_t *made, const char *path)
{
    char at[TW_SETUP_PATH_BYTES], full[TW_SETUP_PATH_BYTES];
    snprintf(at, sizeof at, "%s", path);
    for (char *p = strchr(at + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
        *p = '\0';
        bool known = false;
        for (size_t i = 0; i < json_array_size(made); i++)
            known = known || strcmp(json_string_value(json_array_get(made, i)), at) == 0;
        if (!known && tw_setup_site_path(s, at, full) && access(full, F_OK) != 0)
            json_array_append_new(made, json_string(at));
        *p = '/';
    }
}

static int save_one(const tw_setup_site *s, json_t *entry, const char *path, tw_err *err)
{
    json_t *saved = json_object_get(entry, "saved");
    char full[TW_SETUP_PATH_BYTES];
    size_t k = json_array_size(saved);
    for (size_t i = 0; i < k; i++)
        if (strcmp(tw_json_text_at(json_array_get(saved, i), "path"), path) == 0)
            return 0;
    if (path[0] != '/' || strstr(path, "/../") != NULL || !tw_setup_site_path(s, path, full))
        return tw_err_set(err, -EINVAL, "'%.100s': is no absolute path", path);
    TW_CLEANUP(tw_setup_copy_done) tw_setup_copy c = {0};
    int rc = tw_setup_copy_read(full, &c, err);
    if (rc == 0 && c.there)
        rc = tw_setup_keep_copy(s, entry, k, "before", &c, err);
    if (rc != 0)
        return rc;
    note_folders(s, json_object_get(entry, "made"), path);
    json_t *v =
        json_pack("{s:s, s:s, s:i, s:i, s:i}", "path", path, "was", c.there ? "file" : "absent",
                  "mode", (int)c.mode, "uid", (int)c.uid, "gid", (int)c.gid);
    return v != NULL && json_array_append_new(saved, v) == 0
               ? 0
               : tw_err_set(err, -ENOMEM, "no memory for the journal");
}

static int save_all(const tw_setup_site *s, json_t *entry, const json_t *step, tw_err *err)
{
    const json_t *actions = json_object_get(step, "do"), *touch = json_object_get(step, "touch");
    int rc = 0;
    for (size_t i = 0; i < json_array_size(actions) && rc == 0; i++) {
        const char *path = tw_json_text_at(json_array_get(actions, i), "file");
        rc = path[0] != '\0' ? save_one(s, entry, path, err) : 0;
    }
    for (size_t i = 0; i < json_array_size(touch) && rc == 0; i++)
        rc = save_one(s, entry, json_string_value(json_array_get(touch, i)), err);
    return rc;
}

/* Others have changed saved file k since the step; found when it was undone. */
static bool is_foreign(const json_t *entry, size_t k)
{
    return json_is_true(json_array_get(json_object_get(entry, "foreign"), k));
}

int tw_setup_keep_all(const tw_setup_site *s, json_t *entry, const char *what, tw_err *err)
{
    const bool is_after = strcmp(what, "after") == 0;
    const json_t *saved = json_object_get(entry, "saved");
    int rc = 0;
    for (size_t k = 0; k < json_array_size(saved) && rc == 0; k++) {
        json_t *v = json_array_get(saved, k);
        if (is_after && is_foreign(entry, k))
            continue;
        char full[TW_SETUP_PATH_BYTES];
        TW_CLEANUP(tw_setup_copy_done) tw_setup_copy c = {0};
        if (!tw_setup_site_path(s, tw_json_text_at(v, "path"), full))
            return tw_err_set(err, -ENAMETOOLONG, "%s: name too long", tw_json_text_at(v, "path"));
        rc = tw_setup_copy_read(full, &c, err);
        if (rc == 0 && c.there)
            rc = tw_setup_keep_copy(s, entry, k, what, &c, err);
        if (rc == 0)
            json_object_set_new(v, is_after ? "is" : what,
                                json_string(c.there ? "file" : "absent"));
    }
    return rc;
}

/* ---- actions ---- */

static int make_parents(const tw_setup_site *s, const json_t *entry, const char *path, uid_t uid,
                        gid_t gid, tw_err *err)
{
    const json_t *made = json_object_get(entry, "made");
    char full[TW_SETUP_PATH_BYTES];
    for (size_t i = 0; i < json_array_size(made); i++) {
        const char *folder = json_string_value(json_array_get(made, i));
        if (strncmp(folder, path, strlen(folder)) != 0 || !tw_setup_site_path(s, folder, full))
            continue;
        const char *last = strrchr(folder, '/');
        tw_setup_act_as(uid, gid);
        const int rc = mkdir(full, strcmp(last, "/.ssh") == 0 ? 0700 : 0755) == 0 ? 0 : -errno;
        tw_setup_act_as(0, 0);
        if (rc != 0 && rc != -EEXIST)
            return tw_err_set(err, rc, "%s: cannot be made: %s", full, strerror(-rc));
    }
    return 0;
}

static int do_file(const tw_setup_site *s, const json_t *entry, const json_t *a, tw_err *err)
{
    const char *path = tw_json_text_at(a, "file"), *user = tw_json_text_at(a, "user");
    const json_t *after = json_object_get(a, "after");
    char full[TW_SETUP_PATH_BYTES];
    if (!tw_setup_site_path(s, path, full))
        return tw_err_set(err, -ENAMETOOLONG, "%s: name too long", path);
    TW_CLEANUP(tw_setup_copy_done) tw_setup_copy now = {0};
    int rc = tw_setup_copy_read(full, &now, err);
    if (rc != 0)
        return rc;
    uid_t uid = now.there ? now.uid : geteuid();
    gid_t gid = now.there ? now.gid : getegid();
    const struct passwd *p = user[0] != '\0' ? getpwnam(user) : NULL;
    if (user[0] != '\0' && p == NULL)
        return tw_err_set(err, -ENOENT, "%s: no user %s", path, user);
    if (p != NULL && !now.there) {
        uid = p->pw_uid;
        gid = p->pw_gid;
    }
    rc = make_parents(s, entry, path, p != NULL ? p->pw_uid : 0, p != NULL ? p->pw_gid : 0, err);
    if (rc != 0)
        return rc;
    char none = '\0', *data = &none;
    const char *text = json_string_value(after);
    if (text != NULL)
        memcpy(&data, &text, sizeof data); /* tw_buf lacks the const; nothing writes to it */
    tw_setup_copy c = {.there = text != NULL,
                       .mode = now.there
                                   ? now.mode
                                   : (mode_t)json_integer_value(json_object_get(a, "mode")) & 0777,
                       .uid = uid,
                       .gid = gid,
                       .as_uid = p != NULL ? p->pw_uid : 0,
                       .as_gid = p != NULL ? p->pw_gid : 0,
                       .text = {.data = data, .len = json_string_length(after)}};
    return tw_setup_copy_write(full, &c, err);
}

/* a - b, both sorted, a name a line. */
static json_t *new_names(const char *a, const char *b)
{
    json_t *out = json_array();
    while (*a != '\0') {
        size_t na = strcspn(a, "\n"), nb = strcspn(b, "\n");
        int order = *b == '\0' ? -1 : memcmp(a, b, TW_MIN(na, nb));
        if (order == 0 && na != nb)
            order = na < nb ? -1 : 1;
        if (order < 0 && na > 0)
            json_array_append_new(out, json_stringn(a, na));
        if (order <= 0)
            a += na + (a[na] == '\n');
        if (order >= 0)
            b += nb + (b[nb] == '\n');
    }
    return out;
}

static int do_install(tw_setup_site *s, json_t *entry, const json_t *a, tw_err *err)
{
    static const char *const apt[] = {"apt-get", "install", "-y", "--no-install-recommends", NULL};
    static const char *const dnf[] = {"dnf", "install", "-y", NULL};
    static const char *const ostree[] = {"rpm-ostree", "install", "--idempotent", "-y", NULL};
    const char *with = tw_json_text_at(a, "with");
    const json_t *names = json_object_get(a, "install");
    const char *const *verb = strcmp(with, "apt") == 0   ? apt
                              : strcmp(with, "dnf") == 0 ? dnf
                                                         : ostree;
    const bool layered = verb == ostree; /* counts from the next boot on: no list to compare */
    TW_CLEANUP(tw_json_freep) json_t *argv = json_array();
    TW_CLEANUP(tw_buf_done) tw_buf before = TW_BUF(4 << 20), after = TW_BUF(4 << 20);
    for (; *verb != NULL; verb++)
        json_array_append_new(argv, json_string(*verb));
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (name == NULL || name[0] == '-')
            return tw_err_set(err, -EINVAL, "a package's name that is none");
        json_array_append_new(argv, json_string(name));
    }
    json_object_set_new(entry, "with", json_string(with));
    TW_CLEANUP(tw_json_freep) json_t *groups = tw_setup_groups_list(s);
    int rc = layered ? 0 : tw_setup_list_packages(with, &before, err);
    /* A cut in here: all that was asked for counts as installed by us. */
    json_t *asked = json_deep_copy(names);
    json_object_set_new(entry, "installed", asked);
    if (rc == 0)
        rc = tw_setup_journal_write(s, err);
    if (rc != 0)
        return rc;
    rc = tw_setup_words(s, argv, err);
    if (layered)
        return rc;
    /* Of what failed half of it may be there: that is what is removed again. */
    tw_err why = {0};
    int rc_list = tw_setup_list_packages(with, &after, &why);
    if (rc == 0 && rc_list != 0)
        rc = tw_err_set(err, rc_list, "%s", why.msg);
    TW_CLEANUP(tw_json_freep) json_t *now = tw_setup_groups_list(s);
    json_object_set_new(entry, "groups", tw_setup_groups_new(groups, now));
    if (rc_list == 0)
        json_object_set_new(entry, "installed",
                            new_names(after.data != NULL ? after.data : "",
                                      before.data != NULL ? before.data : ""));
    return rc;
}

static int do_actions(tw_setup_site *s, json_t *entry, const json_t *step, tw_err *err)
{
    const json_t *actions = json_object_get(step, "do");
    int rc = 0;
    for (size_t i = 0; i < json_array_size(actions) && rc == 0; i++) {
        const json_t *a = json_array_get(actions, i);
        tw_err why = {0};
        if (json_object_get(a, "file") != NULL)
            rc = do_file(s, entry, a, err);
        else if (json_object_get(a, "install") != NULL)
            rc = do_install(s, entry, a, err);
        else if (json_is_true(json_object_get(a, "may_fail"))) {
            if (tw_setup_words(s, json_object_get(a, "run"), &why) != 0)
                tw_setup_site_say(s, "(goes on) %s", why.msg);
        } else
            rc = tw_setup_words(s, json_object_get(a, "run"), err);
    }
    return rc;
}

/* ---- a step ---- */

/* Each file is still what the plan was made from. */
static int check_before(const tw_setup_site *s, const json_t *step, tw_err *err)
{
    const json_t *actions = json_object_get(step, "do");
    for (size_t i = 0; i < json_array_size(actions); i++) {
        const json_t *a = json_array_get(actions, i);
        const char *path = tw_json_text_at(a, "file"),
                   *before = json_string_value(json_object_get(a, "before"));
        char full[TW_SETUP_PATH_BYTES];
        TW_CLEANUP(tw_setup_copy_done) tw_setup_copy now = {0};
        if (path[0] == '\0')
            continue;
        int rc =
            tw_setup_site_path(s, path, full) ? tw_setup_copy_read(full, &now, err) : -ENAMETOOLONG;
        if (rc != 0)
            return rc;
        if (json_is_true(json_object_get(a, "hidden")))
            return tw_err_set(err, -EINVAL, "%s: is no text (UTF-8) that setup can edit", path);
        if (now.there != (before != NULL) ||
            (now.there && (now.text.len != strlen(before) ||
                           (now.text.len > 0 && memcmp(now.text.data, before, now.text.len) != 0))))
            return tw_err_set(err, -ESTALE, "%s: changed since the plan was made: plan again",
                              path);
    }
    return 0;
}

static json_t *new_entry(tw_setup_site *s, const json_t *step)
{
    json_t *entries = tw_setup_journal_entries(s);
    json_int_t n = 1;
    for (size_t i = 0; i < json_array_size(entries); i++) {
        json_int_t k = json_integer_value(json_object_get(json_array_get(entries, i), "n"));
        n = k >= n ? k + 1 : n;
    }
    json_t *copy = json_deep_copy(step);
    json_t *e =
        json_pack("{s:I, s:s, s:o, s:[], s:[], s:b}", "n", n, "state", "begun", "step", copy,
                  "saved", "made", "unconfirmed", json_is_true(json_object_get(step, "cuts")));
    if (e == NULL || json_array_append_new(entries, e) != 0)
        return NULL;
    return e;
}

static int roll_back(tw_setup_site *s, json_t *entry, const char *id, tw_err *err)
{
    tw_err cause = *err, worse = {0};
    if (tw_setup_entry_undo(s, entry, NULL, NULL, &worse) != 0)
        return tw_err_set(err, cause.code, "%s: %.120s; and it could not be undone: %.60s", id,
                          cause.msg, worse.msg);
    return tw_err_set(err, cause.code, "%s: %.180s (what it had done is undone)", id, cause.msg);
}

/* On disk before anything is changed; when that cannot be (a full disk), nothing is. */
static int note_begun(tw_setup_site *s, json_t *entry, const json_t *step, tw_err *err)
{
    tw_err why = {0};
    int rc = save_all(s, entry, step, &why);
    if (rc == 0)
        rc = tw_setup_journal_write(s, &why);
    if (rc == 0)
        return 0;
    tw_setup_saved_drop(s, entry);
    tw_setup_journal_drop(s, entry);
    return tw_err_set(err, rc, "%s: %.190s (nothing was changed)", tw_json_text_at(step, "id"),
                      why.msg);
}

static int apply_locked(tw_setup_site *s, const json_t *step, json_int_t *ret_n, tw_err *err)
{
    const char *id = tw_json_text_at(step, "id");
    int rc = check_before(s, step, err);
    json_t *entry = rc == 0 ? new_entry(s, step) : NULL;
    if (rc == 0 && entry == NULL)
        rc = tw_err_set(err, -ENOMEM, "no memory for the journal");
    if (rc != 0)
        return rc;
    const json_int_t n = json_integer_value(json_object_get(entry, "n"));
    rc = note_begun(s, entry, step, err);
    if (rc != 0)
        return rc;
    if (json_is_true(json_object_get(entry, "unconfirmed")))
        rc = tw_setup_timer_start(s, n, err);
    if (rc == 0)
        rc = do_actions(s, entry, step, err);
    if (rc == 0)
        rc = tw_setup_keep_all(s, entry, "after", err);
    if (rc == 0) {
        json_object_set_new(entry, "state", json_string("done"));
        rc = tw_setup_journal_write(s, err);
        if (rc != 0) /* as on disk */
            json_object_set_new(entry, "state", json_string("begun"));
    }
    if (rc != 0)
        return roll_back(s, entry, id, err);
    *ret_n = n;
    return 0;
}

/* ---- a step once more: its undoing was never confirmed ---- */

/* A file that others had changed is again as it was before the way back. */
static int restore_present(const tw_setup_site *s, const json_t *entry, tw_err *err)
{
    const json_t *saved = json_object_get(entry, "saved");
    int rc = 0;
    for (size_t k = 0; k < json_array_size(saved) && rc == 0; k++) {
        const json_t *v = json_array_get(saved, k);
        char full[TW_SETUP_PATH_BYTES], copy[TW_SETUP_PATH_BYTES];
        TW_CLEANUP(tw_setup_copy_done) tw_setup_copy now = {0}, was = {0};
        if (!is_foreign(entry, k) || strcmp(tw_json_text_at(v, "present"), "file") != 0 ||
            !tw_setup_site_path(s, tw_json_text_at(v, "path"), full))
            continue;
        tw_setup_saved_path(s, entry, k, "present", copy);
        rc = tw_setup_copy_read(copy, &was, err);
        if (rc == 0)
            rc = tw_setup_copy_read(full, &now, err);
        if (rc != 0 || !was.there || tw_setup_copy_same(&now, &was))
            continue;
        was.mode = now.there ? now.mode : (mode_t)json_integer_value(json_object_get(v, "mode"));
        was.uid = now.there ? now.uid : (uid_t)json_integer_value(json_object_get(v, "uid"));
        was.gid = now.there ? now.gid : (gid_t)json_integer_value(json_object_get(v, "gid"));
        rc = tw_setup_copy_write(full, &was, err);
    }
    return rc;
}

int tw_setup_entry_redo(tw_setup_site *s, json_t *entry, tw_err *err)
{
    /* All of the way back first: it may have been cut off, or this may have failed before. */
    int rc = tw_setup_entry_take_back(s, entry, NULL, NULL, err);
    if (rc == 0)
        rc = do_actions(s, entry, json_object_get(entry, "step"), err);
    if (rc == 0)
        rc = restore_present(s, entry, err);
    if (rc == 0)
        rc = tw_setup_keep_all(s, entry, "after", err);
    if (rc != 0)
        return rc;
    (void)json_object_del(entry, "foreign");
    (void)json_object_del(entry, "kept");
    json_object_set_new(entry, "state", json_string("done"));
    json_object_set_new(entry, "unconfirmed", json_false());
    json_object_set_new(entry, "redone", json_true());
    rc = tw_setup_journal_write(s, err);
    if (rc != 0) /* as on disk, for the next try */
        json_object_set_new(entry, "unconfirmed", json_true());
    return rc;
}

int tw_setup_apply(tw_setup_site *s, const json_t *step, json_int_t *ret_n, tw_err *err)
{
    if (!json_is_object(step) || tw_json_text_at(step, "id")[0] == '\0' ||
        !json_is_array(json_object_get(step, "do")))
        return tw_err_set(err, -EINVAL, "setup: a step without id or actions");
    int rc = tw_setup_site_lock(s, true, err);
    if (rc != 0)
        return rc;
    rc = apply_locked(s, step, ret_n, err);
    tw_setup_site_unlock(s);
    return rc;
}

int tw_setup_confirm(tw_setup_site *s, json_int_t n, tw_err *err)
{
    int rc = tw_setup_site_lock(s, true, err);
    if (rc != 0)
        return rc;
    json_t *entry = tw_setup_journal_find(s, n);
    if (entry == NULL)
        rc = tw_err_set(err, -ETIMEDOUT, "the step was reverted before it was confirmed");
    else {
        json_object_set_new(entry, "unconfirmed", json_false());
        rc = tw_setup_journal_write(s, err);
    }
    tw_setup_site_unlock(s);
    return rc;
}
