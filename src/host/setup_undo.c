/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "host/setup_do.h"
#include "host/setup_group.h"
#include "os/file.h"

#define LIST_LIMIT_NS (60 * TW_NS_PER_S)

static bool is_in(const json_t *entry, const char *state)
{
    return strcmp(tw_json_text_at(entry, "state"), state) == 0;
}

static bool is_done(const json_t *entry)
{
    return is_in(entry, "done");
}

static void say(tw_setup_site *s, json_t *said, const char *text)
{
    tw_setup_site_say(s, "%s", text);
    if (said != NULL)
        json_array_append_new(said, json_string(text));
}

/* ---- packages ---- */

int tw_setup_list_packages(const char *with, tw_buf *out, tw_err *err)
{
    static const char *const apt[] = {
        "sh", "-c",
        "dpkg-query -W -f '${db:Status-Status} ${binary:Package}\\n' | "
        "sed -n 's/^installed //p' | LC_ALL=C sort",
        NULL};
    static const char *const rpm[] = {"sh", "-c",
                                      "rpm -qa --qf '%{NAME}.%{ARCH}\\n' | LC_ALL=C sort -u", NULL};
    return tw_setup_exec(strcmp(with, "apt") == 0 ? apt : rpm, LIST_LIMIT_NS, false, out, NULL,
                         NULL, err);
}

int tw_setup_remove_packages(tw_setup_site *s, const char *with, const json_t *names, tw_err *err)
{
    static const char *const apt[] = {"apt-get", "purge", "-y", NULL};
    static const char *const dnf[] = {"dnf", "remove", "-y", "--noautoremove", NULL};
    static const char *const ostree[] = {"rpm-ostree", "uninstall", "-y", NULL};
    const char *const *verb = strcmp(with, "apt") == 0   ? apt
                              : strcmp(with, "dnf") == 0 ? dnf
                                                         : ostree;
    TW_CLEANUP(tw_json_freep) json_t *argv = json_array();
    if (json_array_size(names) == 0)
        return 0;
    for (; *verb != NULL; verb++)
        json_array_append_new(argv, json_string(*verb));
    for (size_t i = 0; i < json_array_size(names); i++)
        json_array_append(argv, json_array_get(names, i));
    return tw_setup_words(s, argv, err);
}

/* ---- files ---- */

/* What is to be restored, what is there, what the step left. */
typedef struct place {
    char full[TW_SETUP_PATH_BYTES];
    tw_setup_copy before, now;
} place;

static void place_done(place *p)
{
    tw_setup_copy_done(&p->before);
    tw_setup_copy_done(&p->now);
}

static int read_saved(const tw_setup_site *s, const json_t *entry, size_t k, const char *what,
                      bool there, tw_setup_copy *ret, tw_err *err)
{
    char path[TW_SETUP_PATH_BYTES];
    if (!there)
        return 0;
    tw_setup_saved_path(s, entry, k, what, path);
    int rc = tw_setup_copy_read(path, ret, err);
    if (rc == 0 && !ret->there)
        rc = tw_err_set(err, -ENOENT, "%s: is gone, so that cannot be restored", path);
    return rc;
}

/* The text that the step's own edit leaves at path; NULL: it does not edit that one. */
static const json_t *edit_of(const json_t *entry, const char *path)
{
    const json_t *actions = json_object_get(json_object_get(entry, "step"), "do");
    for (size_t i = 0; i < json_array_size(actions); i++)
        if (strcmp(tw_json_text_at(json_array_get(actions, i), "file"), path) == 0)
            return json_array_get(actions, i);
    return NULL;
}

static int open_place(const tw_setup_site *s, const json_t *entry, size_t k, place *ret,
                      tw_err *err)
{
    const json_t *v = json_array_get(json_object_get(entry, "saved"), k);
    if (!tw_setup_site_path(s, tw_json_text_at(v, "path"), ret->full))
        return tw_err_set(err, -ENAMETOOLONG, "%s: name too long", tw_json_text_at(v, "path"));
    int rc = read_saved(s, entry, k, "before", strcmp(tw_json_text_at(v, "was"), "file") == 0,
                        &ret->before, err);
    if (rc == 0)
        rc = tw_setup_copy_read(ret->full, &ret->now, err);
    if (rc != 0)
        return rc;
    ret->before.mode = (mode_t)json_integer_value(json_object_get(v, "mode"));
    ret->before.uid = (uid_t)json_integer_value(json_object_get(v, "uid"));
    ret->before.gid = (gid_t)json_integer_value(json_object_get(v, "gid"));
    const char *user = tw_json_text_at(edit_of(entry, tw_json_text_at(v, "path")), "user");
    const struct passwd *p = user[0] != '\0' ? getpwnam(user) : NULL;
    /* A user who is gone puts no links there. */
    ret->before.as_uid = p != NULL ? p->pw_uid : 0;
    ret->before.as_gid = p != NULL ? p->pw_gid : 0;
    return 0;
}

static bool equals_text(const tw_setup_copy *c, const char *text)
{
    return c->there == (text != NULL) &&
           (text == NULL || (c->text.len == strlen(text) &&
                             (c->text.len == 0 || memcmp(c->text.data, text, c->text.len) == 0)));
}

/* Done once: it is not as the step left it. Begun: it is neither as it was nor as the step's edit. */
static int find_foreign(const tw_setup_site *s, const json_t *entry, size_t k, bool *ret,
                        tw_err *err)
{
    const json_t *v = json_array_get(json_object_get(entry, "saved"), k);
    TW_CLEANUP(place_done) place p = {0};
    TW_CLEANUP(tw_setup_copy_done) tw_setup_copy left = {0};
    int rc = open_place(s, entry, k, &p, err);
    if (rc != 0)
        return rc;
    if (!is_in(entry, "begun")) {
        rc = read_saved(s, entry, k, "after", strcmp(tw_json_text_at(v, "is"), "file") == 0, &left,
                        err);
        *ret = rc == 0 && !tw_setup_copy_same(&p.now, &left);
        return rc;
    }
    const json_t *edit = edit_of(entry, tw_json_text_at(v, "path"));
    *ret = edit != NULL && !tw_setup_copy_same(&p.now, &p.before) &&
           !equals_text(&p.now, json_string_value(json_object_get(edit, "after")));
    return 0;
}

static bool has_owner(const tw_setup_copy *now, const tw_setup_copy *before)
{
    return !before->there ||
           (now->mode == before->mode &&
            (geteuid() != 0 || (now->uid == before->uid && now->gid == before->gid)));
}

/* Where others have changed the file too, and the step only put lines in: those lines go, the others'
 * stay. 1: they are not there as one piece, or the step did more than that. */
static int take_out(const place *p, const json_t *edit, tw_err *err)
{
    const char *after = json_string_value(json_object_get(edit, "after"));
    const char *before = json_string_value(json_object_get(edit, "before"));
    if (after == NULL || !p->now.there || p->now.text.len == 0)
        return 1;
    before = before != NULL ? before : "";
    size_t na = strlen(after), nb = strlen(before), head = 0, tail = 0;
    while (head < nb && head < na && after[head] == before[head])
        head++;
    while (head > 0 && after[head - 1] != '\n')
        head--;
    while (tail < nb - head && tail < na - head && after[na - 1 - tail] == before[nb - 1 - tail])
        tail++;
    const size_t n = na - head - tail;
    if (head + tail != nb || n == 0)
        return 1;
    const char *at = memmem(p->now.text.data, p->now.text.len, after + head, n);
    if (at == NULL || (at > p->now.text.data && at[-1] != '\n'))
        return 1;
    TW_CLEANUP(tw_setup_copy_done) tw_setup_copy rest = p->now;
    rest.text = TW_BUF(TW_SETUP_COPY_MAX);
    const size_t first = (size_t)(at - p->now.text.data);
    if (tw_buf_append(&rest.text, p->now.text.data, first) != 0 ||
        tw_buf_append(&rest.text, at + n, p->now.text.len - first - n) != 0)
        return tw_err_set(err, -ENOMEM, "no memory to undo");
    rest.as_uid = p->before.as_uid;
    rest.as_gid = p->before.as_gid;
    rest.there = rest.text.len > 0 || p->before.there;
    return tw_setup_copy_write(p->full, &rest, err);
}

static int restore_one(tw_setup_site *s, const json_t *entry, size_t k, bool foreign, json_t *kept,
                       json_t *said, tw_err *err)
{
    const char *path = tw_json_text_at(json_array_get(json_object_get(entry, "saved"), k), "path");
    TW_CLEANUP(place_done) place p = {0};
    int rc = open_place(s, entry, k, &p, err);
    if (rc == 0)
        tw_setup_copy_clean(p.full);
    if (rc != 0 || (tw_setup_copy_same(&p.now, &p.before) && has_owner(&p.now, &p.before)))
        return rc;
    if (foreign) {
        rc = take_out(&p, edit_of(entry, path), err);
        if (rc == 1 && kept != NULL) {
            char text[400];
            snprintf(text, sizeof text, "%s was changed by others since: it is left as it is",
                     path);
            say(s, said, text);
            json_array_append_new(kept, json_string(path));
        }
        return rc < 0 ? rc : 0;
    }
    return tw_setup_copy_write(p.full, &p.before, err);
}

static void remove_folders(const tw_setup_site *s, const json_t *entry)
{
    const json_t *made = json_object_get(entry, "made");
    char full[TW_SETUP_PATH_BYTES];
    for (size_t i = json_array_size(made); i > 0; i--)
        if (tw_setup_site_path(s, json_string_value(json_array_get(made, i - 1)), full))
            (void)rmdir(full); /* unless something else is in it */
}

/* ---- an entry ---- */

static void run_list(tw_setup_site *s, const json_t *list, json_t *said)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        tw_err why = {0};
        if (tw_setup_words(s, json_array_get(list, i), &why) != 0)
            say(s, said, why.msg);
    }
}

/* The journal first: while it knows the entry, what that needs is there. */
static int forget(tw_setup_site *s, json_t *entry, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *own = json_incref(entry);
    tw_setup_journal_drop(s, own);
    int rc = tw_setup_journal_write(s, err);
    if (rc == 0)
        tw_setup_saved_drop(s, own);
    return rc;
}

static int undo_files(tw_setup_site *s, json_t *entry, const bool *foreign, json_t *kept,
                      json_t *said, tw_err *err)
{
    int first = 0;
    for (size_t k = 0; k < json_array_size(json_object_get(entry, "saved")); k++) {
        tw_err why = {0};
        int rc = restore_one(s, entry, k, foreign[k], kept, said, &why);
        if (rc != 0 && first == 0) {
            *err = why;
            first = rc;
        }
    }
    remove_folders(s, entry);
    return first;
}

/* Which files others have changed: found before the first change of the way back, and kept with the
 * entry, for what is cut off and tried again sees its own half-done work. */
static int judge_files(tw_setup_site *s, json_t *entry, bool *foreign, size_t n, tw_err *err)
{
    const json_t *known = json_object_get(entry, "foreign");
    int rc = 0;
    for (size_t k = 0; k < n && known != NULL; k++)
        foreign[k] = json_is_true(json_array_get(known, k));
    if (known != NULL)
        return 0;
    json_t *found = json_array();
    for (size_t k = 0; k < n && rc == 0; k++) {
        rc = find_foreign(s, entry, k, &foreign[k], err);
        json_array_append_new(found, json_boolean(foreign[k]));
    }
    if (json_object_set_new(entry, "foreign", found) != 0 && rc == 0)
        rc = tw_err_set(err, -ENOMEM, "no memory to undo");
    if (rc != 0)
        (void)json_object_del(entry, "foreign");
    tw_err ignored; /* a full disk: the files are restored all the same */
    if (rc == 0)
        (void)!tw_setup_journal_write(s, &ignored);
    return rc;
}

/* The whole way back; the entry stays in the journal. */
int tw_setup_entry_take_back(tw_setup_site *s, json_t *entry, json_t *kept, json_t *said,
                             tw_err *err)
{
    const json_t *step = json_object_get(entry, "step");
    const size_t n = json_array_size(json_object_get(entry, "saved"));
    TW_CLEANUP(tw_mem_freep) bool *foreign = tw_mem_calloc(n + 1, sizeof *foreign);
    tw_err why = {0};
    int rc = foreign == NULL ? tw_err_set(err, -ENOMEM, "no memory to undo") : 0;
    if (rc == 0)
        rc = judge_files(s, entry, foreign, n, err);
    if (rc != 0)
        return rc;
    run_list(s, json_object_get(step, "undo"), said);
    if (tw_setup_remove_packages(s, tw_json_text_at(entry, "with"),
                                 json_object_get(entry, "installed"), &why) != 0)
        say(s, said, why.msg);
    tw_setup_groups_remove(s, json_object_get(entry, "groups"), say, said);
    rc = undo_files(s, entry, foreign, kept, said, err);
    run_list(s, json_object_get(step, "settle"), said);
    /* Once more: what settles may have touched them. */
    return rc == 0 ? undo_files(s, entry, foreign, NULL, NULL, err) : rc;
}

int tw_setup_entry_undo(tw_setup_site *s, json_t *entry, json_t *kept, json_t *said, tw_err *err)
{
    int rc = tw_setup_entry_take_back(s, entry, kept, said, err);
    return rc == 0 ? forget(s, entry, err) : rc;
}

/* ---- an entry that may cut the network: taken back for good only when that is confirmed ---- */

static int begin_undo(tw_setup_site *s, json_t *entry, tw_err *err)
{
    int rc = tw_setup_keep_all(s, entry, "present", err);
    if (rc != 0)
        return rc;
    (void)json_object_del(entry, "redone");
    json_object_set_new(entry, "unconfirmed", json_true());
    json_object_set_new(entry, "state", json_string("undoing"));
    rc = tw_setup_journal_write(s, err);
    if (rc == 0)
        rc = tw_setup_timer_start(s, json_integer_value(json_object_get(entry, "n")), err);
    if (rc == 0)
        return 0;
    tw_err ignored;
    json_object_set_new(entry, "unconfirmed", json_false());
    json_object_set_new(entry, "state", json_string("done"));
    (void)!tw_setup_journal_write(s, &ignored);
    return rc;
}

static int undo_cutting(tw_setup_site *s, json_t *entry, json_t *kept, json_t *said, tw_err *err)
{
    tw_err why = {0};
    int rc = is_done(entry) ? begin_undo(s, entry, err) : 0;
    if (rc != 0)
        return rc;
    rc = tw_setup_entry_take_back(s, entry, kept, said, &why);
    if (rc == 0) {
        json_object_set(entry, "kept", kept);
        json_object_set_new(entry, "state", json_string("undone"));
        rc = tw_setup_journal_write(s, &why);
    }
    return rc == 0
               ? 0
               : tw_err_set(err, rc, "%.150s: this node does the step again by itself", why.msg);
}

int tw_setup_confirm_undo(tw_setup_site *s, json_int_t n, tw_err *err)
{
    int rc = tw_setup_site_lock(s, true, err);
    if (rc != 0)
        return rc;
    json_t *entry = tw_setup_journal_find(s, n);
    if (entry != NULL && !is_in(entry, "undone"))
        rc = tw_err_set(err, -ETIMEDOUT, "the step was done again before its end was confirmed");
    else if (entry != NULL)
        rc = forget(s, entry, err);
    tw_setup_site_unlock(s);
    return rc;
}

int tw_setup_mend(tw_setup_site *s, unsigned *ret_n, tw_err *err)
{
    int rc = tw_setup_site_lock(s, true, err);
    unsigned n = 0;
    if (rc != 0)
        return rc;
    const json_t *entries = tw_setup_journal_entries(s);
    for (size_t i = json_array_size(entries); i > 0 && rc == 0; i--) {
        json_t *e = json_array_get(entries, i - 1);
        if (is_done(e) && !json_is_true(json_object_get(e, "unconfirmed")))
            continue;
        if (is_in(e, "undone")) { /* who mends has come in */
            rc = forget(s, e, err);
            continue;
        }
        tw_setup_site_say(s, "step %s was %s: it is undone",
                          tw_json_text_at(json_object_get(e, "step"), "id"),
                          is_done(e) ? "never confirmed" : "cut off");
        rc = tw_setup_entry_undo(s, e, NULL, NULL, err);
        n += rc == 0;
    }
    tw_setup_site_unlock(s);
    if (rc == 0)
        *ret_n = n;
    return rc;
}

static int undo_locked(tw_setup_site *s, json_t **ret, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *kept = json_array();
    TW_CLEANUP(tw_json_freep) json_t *said = json_array();
    const json_t *entries = tw_setup_journal_entries(s);
    TW_CLEANUP(tw_json_freep)
    json_t *e = json_incref(json_array_get(entries, json_array_size(entries) - 1));
    const json_t *step = json_object_get(e, "step");
    const bool cuts =
        json_is_true(json_object_get(step, "cuts")) && (is_done(e) || is_in(e, "undoing"));
    const size_t left = e != NULL ? json_array_size(entries) - 1 : 0;
    int rc = 0;
    if (e != NULL && is_in(e, "undone")) /* who asks has come in */
        rc = forget(s, e, err);
    else if (cuts)
        rc = undo_cutting(s, e, kept, said, err);
    else if (e != NULL)
        rc = tw_setup_entry_undo(s, e, kept, said, err);
    if (rc != 0)
        return rc;
    *ret = json_pack("{s:i, s:O, s:O, s:O*, s:O*, s:b}", "left", (int)left, "kept", kept, "said",
                     said, "id", json_object_get(step, "id"), "n", json_object_get(e, "n"),
                     "unconfirmed", cuts);
    return *ret != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory for a reply");
}

int tw_setup_undo_last(tw_setup_site *s, json_t **ret, tw_err *err)
{
    int rc = tw_setup_site_lock(s, true, err);
    if (rc != 0)
        return rc;
    rc = undo_locked(s, ret, err);
    tw_setup_site_unlock(s);
    return rc;
}

/* What root's setup did, and we may not look at. */
static bool find_unseen(const tw_setup_site *s, char out[TW_SETUP_PATH_BYTES])
{
    return geteuid() != 0 && tw_setup_site_path(s, "/var/lib/twinax/setup", out) &&
           tw_file_is_dir(out) && access(out, R_OK | X_OK) != 0;
}

int tw_setup_status(tw_setup_site *s, json_t **ret, tw_err *err)
{
    char unseen[TW_SETUP_PATH_BYTES];
    TW_CLEANUP(tw_json_freep) json_t *steps = json_array();
    const bool has_unseen = find_unseen(s, unseen);
    int rc = has_unseen && strcmp(unseen, s->dir) == 0 ? 0 : tw_setup_journal_read(s, err);
    if (rc != 0)
        return rc;
    const json_t *entries = tw_setup_journal_entries(s);
    for (size_t i = 0; i < json_array_size(entries); i++) {
        const json_t *e = json_array_get(entries, i), *step = json_object_get(e, "step");
        json_array_append_new(
            steps,
            json_pack("{s:O, s:O, s:O, s:O, s:O, s:O?, s:O?, s:O?, s:O?, s:O?}", "n",
                      json_object_get(e, "n"), "id", json_object_get(step, "id"), "title",
                      json_object_get(step, "title"), "state", json_object_get(e, "state"),
                      "unconfirmed", json_object_get(e, "unconfirmed"), "undo",
                      json_object_get(step, "undo"), "settle", json_object_get(step, "settle"),
                      "saved", json_object_get(e, "saved"), "kept", json_object_get(e, "kept"),
                      "redone", json_object_get(e, "redone")));
    }
    *ret = json_pack("{s:O, s:s*}", "steps", steps, "unseen", has_unseen ? unseen : NULL);
    return *ret != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory for a reply");
}
