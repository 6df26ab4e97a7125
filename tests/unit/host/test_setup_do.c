/* SPDX-License-Identifier: Apache-2.0 */
/* Steps done and undone in a folder that stands for a host: the files are as before, byte by byte,
 * whatever cut in between (kill -9 at any moment), and what others changed since is kept. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "host/setup_do.h"
#include "os/file.h"

enum { TREE_MAX = 1 << 20, N_KILLS = 40, REVERT_S = 1, WAIT_S = 60 };
#define SH_LIMIT_NS (30 * TW_NS_PER_S)

static char root[256];

static void sh(const char *script, tw_buf *out)
{
    tw_err err = {0};
    char all[4000];
    snprintf(all, sizeof all, "cd '%s' && %s", root, script);
    const char *const argv[] = {"sh", "-ec", all, NULL};
    if (tw_setup_exec(argv, SH_LIMIT_NS, false, out, NULL, NULL, &err) != 0)
        fail_msg("%s: %s", script, err.msg);
}

/* Names, kinds, modes and bytes of all that is there. */
static char *tree(void)
{
    tw_buf out = TW_BUF(TREE_MAX);
    sh("find . -printf '%p %y %m\\n' | LC_ALL=C sort; "
       "find . -type f | LC_ALL=C sort | xargs -r cat",
       &out);
    return out.data;
}

static int setup(void **state)
{
    char text[] = "/tmp/twinax-setup-do-XXXXXX";
    (void)state;
    assert_non_null(mkdtemp(text));
    snprintf(root, sizeof root, "%s", text);
    sh("mkdir -p etc/default etc/ufw boot var/lib; umask 027; printf 'A=1\\nB=\"x\"\\n' > "
       "etc/default/grub; "
       "printf 'no line end' > etc/ufw/user.rules; chmod 600 etc/ufw/user.rules; "
       "printf 'generated from A=1' > boot/grub.cfg; ln -s ../boot/grub.cfg etc/grub.cfg; "
       "printf 'gone later\\n' > etc/old",
       NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    const char *const argv[] = {"rm", "-rf", root, NULL};
    tw_err err;
    assert_int_equal(tw_setup_exec(argv, SH_LIMIT_NS, false, NULL, NULL, NULL, &err), 0);
    return 0;
}

static tw_setup_site site_of(void)
{
    tw_setup_site s;
    tw_err err = {0};
    if (tw_setup_site_init(root, &s, &err) != 0)
        fail_msg("%s", err.msg);
    return s;
}

/* Edits, makes (in a folder that is not there), removes, and a command that changes a third file
 * through a link. middle: one more command, in the midst. */
static json_t *step_with(const char *middle, bool cuts)
{
    char make[400], undo[400];
    snprintf(make, sizeof make, "printf 'generated from A=2' > '%s/etc/grub.cfg'", root);
    snprintf(undo, sizeof undo, "printf 'about to be' > '%s/etc/grub.cfg'", root);
    return json_pack("{s:s, s:s, s:b, s:[{s:s, s:i, s:s, s:s}, {s:[s,s,s]}, {s:s, s:i, s:n, s:s}, "
                     "{s:[s,s,s]}, {s:s, s:i, s:s, s:n}], s:[s], s:[[s,s,s]], s:[[s,s]]}",
                     "id", "test", "title", "a test", "cuts", cuts, "do", "file",
                     "/etc/default/grub", "mode", 0644, "before", "A=1\nB=\"x\"\n", "after",
                     "A=2\nB=\"x\"\n", "run", "sh", "-c", make, "file",
                     "/etc/new.d/deep/90-twinax.conf", "mode", 0640, "before", "after", "new\n",
                     "run", "sh", "-c", middle, "file", "/etc/old", "mode", 0644, "before",
                     "gone later\n", "after", "touch", "/etc/grub.cfg", "undo", "sh", "-c", undo,
                     "settle", "sh", "-ctrue");
}

static int apply(json_t *step, json_int_t *ret_n, tw_err *err)
{
    tw_setup_site s = site_of();
    int rc = tw_setup_apply(&s, step, ret_n, err);
    tw_setup_site_done(&s);
    json_decref(step);
    return rc;
}

static unsigned mend(void)
{
    tw_setup_site s = site_of();
    tw_err err = {0};
    unsigned n = 0;
    if (tw_setup_mend(&s, &n, &err) != 0)
        fail_msg("%s", err.msg);
    tw_setup_site_done(&s);
    return n;
}

static json_t *undo(void)
{
    tw_setup_site s = site_of();
    tw_err err = {0};
    json_t *got = NULL;
    if (tw_setup_undo_last(&s, &got, &err) != 0)
        fail_msg("%s", err.msg);
    tw_setup_site_done(&s);
    return got;
}

static void good(json_t *step)
{
    tw_err err = {0};
    json_int_t n = 0;
    if (apply(step, &n, &err) != 0)
        fail_msg("%s", err.msg);
}

static void same(char *before)
{
    char *after = tree();
    if (strcmp(before, after) != 0)
        fail_msg("not as before:\n%s\n--- but\n%s", before, after);
    tw_mem_free(after);
}

static bool holds(const char *path, const char *text)
{
    char full[600];
    tw_err err;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TREE_MAX);
    snprintf(full, sizeof full, "%s%s", root, path);
    return tw_file_read(full, &b, &err) == 0 && strcmp(b.data != NULL ? b.data : "", text) == 0;
}

static void test_round_trip(void **state)
{
    (void)state;
    char *before = tree();
    good(step_with("true", false));
    assert_true(holds("/etc/default/grub", "A=2\nB=\"x\"\n"));
    assert_true(holds("/boot/grub.cfg", "generated from A=2"));
    assert_true(holds("/etc/new.d/deep/90-twinax.conf", "new\n"));
    assert_false(holds("/etc/old", "gone later\n"));
    TW_CLEANUP(tw_json_freep) json_t *got = undo();
    assert_int_equal(json_integer_value(json_object_get(got, "left")), 0);
    assert_int_equal(json_array_size(json_object_get(got, "kept")), 0);
    same(before);
    TW_CLEANUP(tw_json_freep) json_t *none = undo();
    assert_null(json_string_value(json_object_get(none, "id")));
    same(before);
    tw_mem_free(before);
}

/* Two steps that change the same file come off in reverse. */
static void test_two_steps(void **state)
{
    (void)state;
    char *before = tree();
    good(step_with("true", false));
    good(json_pack("{s:s, s:s, s:[{s:s, s:i, s:s, s:s}]}", "id", "two", "title", "", "do", "file",
                   "/etc/default/grub", "mode", 0644, "before", "A=2\nB=\"x\"\n", "after",
                   "A=3\n"));
    json_decref(undo());
    assert_true(holds("/etc/default/grub", "A=2\nB=\"x\"\n"));
    json_decref(undo());
    same(before);
    tw_mem_free(before);
}

static void test_failure(void **state)
{
    (void)state;
    char *before = tree();
    tw_err err = {0};
    json_int_t n = 0;
    assert_int_equal(apply(step_with("echo no such card >&2; exit 3", false), &n, &err), -EIO);
    assert_non_null(strstr(err.msg, "no such card"));
    assert_non_null(strstr(err.msg, "undone"));
    same(before);
    sh("echo C=3 >> etc/default/grub", NULL);
    assert_int_equal(apply(step_with("true", false), &n, &err), -ESTALE);
    tw_mem_free(before);
}

static void test_foreign(void **state)
{
    (void)state;
    good(step_with("true", false));
    sh("echo C=3 >> etc/default/grub; echo other >> etc/new.d/deep/90-twinax.conf", NULL);
    TW_CLEANUP(tw_json_freep) json_t *got = undo();
    /* An edit within: kept and named. Lines of ours in a file that has others' now: taken out. */
    assert_int_equal(json_array_size(json_object_get(got, "kept")), 1);
    assert_string_equal(json_string_value(json_array_get(json_object_get(got, "kept"), 0)),
                        "/etc/default/grub");
    assert_true(holds("/etc/default/grub", "A=2\nB=\"x\"\nC=3\n"));
    assert_true(holds("/etc/new.d/deep/90-twinax.conf", "other\n"));
    assert_true(holds("/boot/grub.cfg", "generated from A=1"));
    assert_true(holds("/etc/old", "gone later\n"));
}

/* ---- a user's own files ---- */

static json_t *user_step(const char *before, const char *after)
{
    return json_pack("{s:s, s:s, s:[{s:s, s:i, s:s, s:s?, s:s}]}", "id", "ssh-trust", "title", "",
                     "do", "file", "/srv/n/.ssh/known_hosts", "mode", 0600, "user", "nobody",
                     "before", before, "after", after);
}

/* As root in a user's folder: a link there that leads out of it leads nowhere. */
static void test_link_of_a_user(void **state)
{
    (void)state;
    tw_err err = {0};
    json_int_t n = 0;
    if (geteuid() != 0) {
        print_message("# skipped: not root\n");
        return;
    }
    sh("chmod 755 .; mkdir -p srv/n private; chmod 700 private; chown nobody: srv/n; "
       "printf 'of root\n' > private/known_hosts",
       NULL);
    char *before = tree();
    good(user_step(NULL, "a\n"));
    assert_true(holds("/srv/n/.ssh/known_hosts", "a\n"));
    sh("test \"$(stat -c %U:%a srv/n/.ssh srv/n/.ssh/known_hosts | tr '\\n' ' ')\" = "
       "'nobody:700 nobody:600 '",
       NULL);
    json_decref(undo());
    same(before);
    sh("ln -s ../../private srv/n/.ssh", NULL);
    assert_int_equal(apply(user_step("of root\n", "of root\na\n"), &n, &err), -EACCES);
    assert_true(holds("/private/known_hosts", "of root\n"));
    /* A file of root's in the user's folder stays root's. */
    sh("rm srv/n/.ssh; mkdir srv/n/.ssh; chown nobody: srv/n/.ssh; echo old > "
       "srv/n/.ssh/known_hosts",
       NULL);
    good(user_step("old\n", "old\na\n"));
    sh("test $(stat -c %U srv/n/.ssh/known_hosts) = root", NULL);
    /* The way back is no way out either. */
    sh("cp srv/n/.ssh/known_hosts private; rm -r srv/n/.ssh; ln -s ../../private srv/n/.ssh", NULL);
    tw_setup_site s = site_of();
    json_t *got = NULL;
    assert_int_equal(tw_setup_undo_last(&s, &got, &err), -EACCES);
    assert_true(holds("/private/known_hosts", "old\na\n"));
    tw_setup_site_done(&s);
    tw_mem_free(before);
}

/* ---- packages ---- */

/* apt that makes a group, as rdma-core's script does, and takes none away. */
static void make_tools(void)
{
    char path[2000];
    sh("mkdir bin var/packages; printf 'root:x:0:\nlp:x:7:me\n' > etc/group; "
       "printf 'me:x:1000:1000::/srv/me:/bin/sh\n' > etc/passwd; cd bin; "
       "printf '#!/bin/sh\ncase $1 in install) echo rdma:x:777: >> %s/etc/group; "
       "touch %s/var/packages/rdma-core;; purge) rm %s/var/packages/rdma-core;; esac\n' "
       "$OLDPWD $OLDPWD $OLDPWD > apt-get; "
       "printf '#!/bin/sh\nfor p in $(ls %s/var/packages); do echo \"installed $p\"; done\n' "
       "$OLDPWD > dpkg-query; "
       "printf '#!/bin/sh\nsed -i /^$1:/d %s/etc/group\n' $OLDPWD > groupdel; chmod 755 *",
       NULL);
    snprintf(path, sizeof path, "%s/bin:%s", root, getenv("PATH"));
    setenv("PATH", path, 1);
}

static json_t *install(void)
{
    return json_pack("{s:s, s:s, s:[{s:[s], s:s}]}", "id", "packages", "title", "", "do", "install",
                     "rdma-core", "with", "apt");
}

static bool said(const json_t *got, const char *what)
{
    const json_t *list = json_object_get(got, "said");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strstr(json_string_value(json_array_get(list, i)), what) != NULL)
            return true;
    return false;
}

static void test_group_of_a_package(void **state)
{
    (void)state;
    char *path = tw_mem_strdup(getenv("PATH"));
    make_tools();
    char *before = tree();
    good(install());
    assert_true(holds("/etc/group", "root:x:0:\nlp:x:7:me\nrdma:x:777:\n"));
    TW_CLEANUP(tw_json_freep) json_t *got = undo();
    assert_true(said(got, "group rdma, which the packages made, is removed"));
    same(before);
    /* Somebody is in it; it is somebody's first; a file has it. */
    good(install());
    sh("sed -i s/rdma:x:777:/rdma:x:777:me/ etc/group", NULL);
    TW_CLEANUP(tw_json_freep) json_t *member = undo();
    assert_true(said(member, "group rdma, which the packages made, stays: in it are: me"));
    sh("sed -i /rdma/d etc/group", NULL);
    good(install());
    sh("sed -i s/:1000::/:777::/ etc/passwd", NULL);
    TW_CLEANUP(tw_json_freep) json_t *first = undo();
    assert_true(said(first, "stays: it is me's own"));
    sh("sed -i s/:777::/:1000::/ etc/passwd; sed -i /rdma/d etc/group", NULL);
    if (geteuid() == 0) {
        good(install());
        sh("touch etc/theirs; chgrp 777 etc/theirs", NULL);
        TW_CLEANUP(tw_json_freep) json_t *file = undo();
        assert_true(said(file, "stays: a file belongs to it: "));
        assert_true(holds("/etc/group", "root:x:0:\nlp:x:7:me\nrdma:x:777:\n"));
        sh("rm etc/theirs", NULL);
        /* It is there already: not ours, whatever becomes of the packages. */
        good(install());
        TW_CLEANUP(tw_json_freep) json_t *theirs = undo();
        assert_false(said(theirs, "group"));
    }
    setenv("PATH", path, 1);
    tw_mem_free(path);
    tw_mem_free(before);
}

/* apt fails in the middle: what it had put there by then goes, not only what was asked for. */
static void test_half_installed(void **state)
{
    (void)state;
    char *path = tw_mem_strdup(getenv("PATH"));
    make_tools();
    sh("printf '#!/bin/sh\ncase $1 in install) touch %s/var/packages/libdep; exit 100;; purge) "
       "shift 2; "
       "for p; do rm -f %s/var/packages/$p; done;; esac\n' $PWD $PWD > bin/apt-get",
       NULL);
    char *before = tree();
    tw_err err = {0};
    json_int_t n = 0;
    assert_int_equal(apply(install(), &n, &err), -EIO);
    assert_non_null(strstr(err.msg, "what it had done is undone"));
    same(before);
    setenv("PATH", path, 1);
    tw_mem_free(path);
    tw_mem_free(before);
}

/* ---- kill -9 ---- */

static int in_child(const char *middle, unsigned kill_after_us)
{
    pid_t pid = fork();
    if (pid == 0) {
        tw_err err;
        json_int_t n;
        _exit(apply(step_with(middle, false), &n, &err) == 0 ? 0 : 1);
    }
    if (kill_after_us > 0) {
        usleep(kill_after_us);
        kill(pid, SIGKILL);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_kill_in_step(void **state)
{
    (void)state;
    char *before = tree();
    int status = in_child("kill -9 $PPID; sleep 5", 0);
    assert_true(WIFSIGNALED(status));
    assert_true(holds("/etc/default/grub", "A=2\nB=\"x\"\n"));
    assert_int_equal(mend(), 1);
    same(before);
    good(step_with("true", false)); /* and may be done again */
    json_decref(undo());
    same(before);
    tw_mem_free(before);
}

static void test_kill_anywhere(void **state)
{
    const char *text = getenv("TW_SEED");
    unsigned seed = text != NULL ? (unsigned)strtoul(text, NULL, 10) : (unsigned)time(NULL);
    (void)state;
    print_message("# TW_SEED=%u\n", seed);
    char *before = tree();
    unsigned n_cut = 0;
    for (int i = 0; i < N_KILLS; i++) {
        seed = seed * 1103515245u + 12345u;
        int status = in_child("true", 200 + (seed >> 8) % 40000);
        n_cut += WIFSIGNALED(status);
        /* A command that outlived us for a moment. */
        usleep(20000);
        (void)mend();
        json_decref(undo()); /* when it was done in time */
        same(before);
    }
    print_message("# %u of %d cut off\n", n_cut, N_KILLS);
    assert_true(n_cut > 0);
    tw_mem_free(before);
}

/* ---- a disk that is full, a journal that is damaged ---- */

enum { ROOM = 200 }; /* for a step's files; a journal with an entry is larger */

static void set_room(rlim_t bytes)
{
    struct rlimit l;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
    l.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void test_full_before(void **state)
{
    (void)state;
    char *before = tree();
    tw_err err = {0};
    json_int_t n = 0;
    for (unsigned room = 0; room <= ROOM; room += ROOM) { /* not even a saved file; no journal */
        set_room(room);
        const int rc = apply(step_with("true", false), &n, &err);
        set_room(RLIM_INFINITY);
        assert_int_equal(rc, -EFBIG);
        assert_non_null(strstr(err.msg, "nothing was changed"));
        same(before);
    }
    good(step_with("true", false));
    char *one = tree();
    set_room(ROOM);
    const int rc = apply(json_pack("{s:s, s:s, s:[{s:s, s:i, s:s, s:s}]}", "id", "two", "title", "",
                                   "do", "file", "/etc/default/grub", "mode", 0644, "before",
                                   "A=2\nB=\"x\"\n", "after", "A=3\n"),
                         &n, &err);
    set_room(RLIM_INFINITY);
    assert_int_equal(rc, -EFBIG);
    same(one); /* the first step's journal too */
    json_decref(undo());
    same(before);
    tw_mem_free(one);
    tw_mem_free(before);
}

/* It fills while the step is done, so that neither `done` nor the way back can be noted. */
static void test_full_within(void **state)
{
    (void)state;
    char *before = tree(), fill[100];
    snprintf(fill, sizeof fill, "prlimit --pid $PPID --fsize=%d", ROOM);
    const pid_t pid = fork();
    if (pid == 0) {
        tw_err err = {0};
        json_int_t n;
        signal(SIGXFSZ, SIG_IGN);
        if (apply(json_pack("{s:s, s:s, s:[{s:s, s:i, s:n, s:s}]}", "id", "first", "title", "",
                            "do", "file", "/etc/first", "mode", 0644, "before", "after", "1\n"),
                  &n, &err) != 0)
            _exit(2);
        _exit(apply(step_with(fill, false), &n, &err) == -EFBIG ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(holds("/etc/default/grub", "A=1\nB=\"x\"\n"));
    assert_true(holds("/etc/old", "gone later\n"));
    assert_int_equal(mend(), 1); /* its entry is still there, with all that it needs */
    assert_true(holds("/etc/first", "1\n"));
    json_decref(undo());
    same(before);
    tw_mem_free(before);
}

static void refused(int rc, const tw_err *err)
{
    assert_int_equal(rc, -EBADMSG);
    assert_non_null(strstr(err->msg, "journal.json is damaged"));
    assert_non_null(strstr(err->msg, "journal.old"));
}

static void test_damaged_journal(void **state)
{
    (void)state;
    static const char *const spoil[] = {
        "j=var/lib/twinax/setup/journal.json; truncate -s 100 $j", /* cut */
        ": > var/lib/twinax/setup/journal.json",                   /* empty */
        "printf '{\"schema\":1}' > var/lib/twinax/setup/journal.json",
        "head -c 500 /dev/zero > var/lib/twinax/setup/journal.json",
    };
    char *before = tree();
    good(step_with("true", false));
    sh("cp var/lib/twinax/setup/journal.json ../$(basename $PWD).keep", NULL);
    for (size_t i = 0; i < TW_ARRAY_LEN(spoil); i++) {
        sh(spoil[i], NULL);
        char *spoilt = tree();
        tw_setup_site s = site_of();
        tw_err err = {0};
        unsigned n;
        json_int_t k;
        json_t *got = NULL;
        refused(tw_setup_undo_last(&s, &got, &err), &err);
        refused(tw_setup_mend(&s, &n, &err), &err);
        refused(tw_setup_status(&s, &got, &err), &err);
        refused(tw_setup_confirm(&s, 1, &err), &err);
        tw_setup_site_done(&s);
        refused(apply(step_with("true", false), &k, &err), &err);
        same(spoilt); /* nothing of it was thrown away */
        tw_mem_free(spoilt);
    }
    sh("mv ../$(basename $PWD).keep var/lib/twinax/setup/journal.json", NULL);
    json_decref(undo());
    same(before);
    /* With the one before, which knows the step as begun. */
    good(step_with("true", false));
    sh(spoil[0], NULL);
    sh("cd var/lib/twinax/setup; mv journal.old journal.json", NULL);
    assert_int_equal(mend(), 1);
    same(before);
    tw_mem_free(before);
}

/* ---- confirm or revert ---- */

static bool wait_for(const char *path, const char *text)
{
    uint64_t until = tw_clock_now_ns() + WAIT_S * TW_NS_PER_S;
    while (!holds(path, text) && tw_clock_now_ns() < until)
        usleep(20000);
    return holds(path, text);
}

static void test_revert(void **state)
{
    (void)state;
    char *before = tree();
    good(step_with("true", true));
    assert_true(holds("/etc/default/grub", "A=2\nB=\"x\"\n"));
    assert_true(wait_for("/etc/default/grub", "A=1\nB=\"x\"\n"));
    tw_setup_site s = site_of();
    tw_err err = {0};
    assert_int_equal(tw_setup_confirm(&s, 1, &err), -ETIMEDOUT); /* waits for who undoes */
    tw_setup_site_done(&s);
    same(before);
    tw_mem_free(before);
}

/* The way back fails at first: something is where a file's new text is put. */
static void test_revert_again(void **state)
{
    (void)state;
    char *before = tree();
    good(step_with("true", true));
    sh("mkdir -p etc/default/grub.tw-new/x", NULL);
    usleep((REVERT_S + 1) * 1000000);
    assert_true(holds("/etc/default/grub", "A=2\nB=\"x\"\n"));
    sh("rm -r etc/default/grub.tw-new", NULL);
    assert_true(wait_for("/etc/default/grub", "A=1\nB=\"x\"\n"));
    tw_setup_site s = site_of();
    tw_err err = {0};
    assert_int_equal(tw_setup_confirm(&s, 1, &err), -ETIMEDOUT); /* waits for who undoes */
    tw_setup_site_done(&s);
    same(before);
    tw_mem_free(before);
}

static void test_confirm(void **state)
{
    (void)state;
    tw_setup_site s = site_of();
    tw_err err = {0};
    char *before = tree();
    good(step_with("true", true));
    assert_int_equal(tw_setup_confirm(&s, 1, &err), 0);
    tw_setup_site_done(&s);
    usleep((REVERT_S + 1) * 1000000);
    assert_true(holds("/etc/default/grub", "A=2\nB=\"x\"\n"));
    assert_int_equal(mend(), 0);
    json_decref(undo());
    json_decref(undo()); /* who comes again has come in: that confirms it */
    same(before);
    tw_mem_free(before);
}

/* ---- undoing what may cut ---- */

static void confirm(json_int_t n, bool undone, int want)
{
    tw_setup_site s = site_of();
    tw_err err = {0};
    const int rc = undone ? tw_setup_confirm_undo(&s, n, &err) : tw_setup_confirm(&s, n, &err);
    if (rc != want)
        fail_msg("%d: %s", rc, err.msg);
    tw_setup_site_done(&s);
}

static bool wait_state(const char *state, bool unconfirmed)
{
    uint64_t until = tw_clock_now_ns() + WAIT_S * TW_NS_PER_S;
    for (bool so = false; tw_clock_now_ns() < until; usleep(20000)) {
        tw_setup_site s = site_of();
        tw_err err = {0};
        assert_int_equal(tw_setup_journal_read(&s, &err), 0);
        const json_t *e = tw_setup_journal_find(&s, 1);
        so = strcmp(tw_json_text_at(e, "state"), state) == 0 &&
             json_is_true(json_object_get(e, "unconfirmed")) == unconfirmed;
        tw_setup_site_done(&s);
        if (so)
            return true;
    }
    return false;
}

static void test_undo_confirmed(void **state)
{
    (void)state;
    char *before = tree();
    good(step_with("true", true));
    confirm(1, false, 0);
    TW_CLEANUP(tw_json_freep) json_t *got = undo();
    assert_true(json_is_true(json_object_get(got, "unconfirmed")));
    assert_int_equal(json_integer_value(json_object_get(got, "left")), 0);
    assert_true(holds("/etc/default/grub", "A=1\nB=\"x\"\n"));
    assert_true(wait_state("undone", true));
    confirm(1, true, 0);
    same(before);
    usleep((REVERT_S + 1) * 1000000);
    same(before);
    tw_mem_free(before);
}

/* Nobody comes in: the step is done again, and what others had put into its files is there again. */
static void test_undo_reverts(void **state)
{
    (void)state;
    char *before = tree();
    good(step_with("true", true));
    confirm(1, false, 0);
    sh("echo C=3 >> etc/default/grub; echo other >> etc/new.d/deep/90-twinax.conf", NULL);
    TW_CLEANUP(tw_json_freep) json_t *got = undo();
    assert_int_equal(json_array_size(json_object_get(got, "kept")), 1);
    assert_true(holds("/etc/new.d/deep/90-twinax.conf", "other\n"));
    assert_true(wait_state("done", false));
    confirm(1, true, -ETIMEDOUT);
    assert_true(holds("/etc/default/grub", "A=2\nB=\"x\"\nC=3\n"));
    assert_true(holds("/boot/grub.cfg", "generated from A=2"));
    assert_true(holds("/etc/new.d/deep/90-twinax.conf", "new\nother\n"));
    assert_false(holds("/etc/old", "gone later\n"));
    /* What others changed is known as theirs still. */
    TW_CLEANUP(tw_json_freep) json_t *again = undo();
    assert_int_equal(json_array_size(json_object_get(again, "kept")), 1);
    confirm(1, true, 0);
    sh("printf 'A=1\nB=\"x\"\n' > etc/default/grub; rm -r etc/new.d", NULL);
    same(before);
    tw_mem_free(before);
}

/* kill -9 in the midst of the way back: its timer does the step again; then the way back is free. */
static void test_undo_killed(void **state)
{
    (void)state;
    char script[700], *before = tree();
    json_t *step = step_with("true", true);
    snprintf(script, sizeof script, "[ -e '%s.mark' ] || { touch '%s.mark'; kill -9 $PPID; }", root,
             root);
    json_object_set_new(step, "undo", json_pack("[[s, s, s]]", "sh", "-c", script));
    good(step);
    confirm(1, false, 0);
    const pid_t pid = fork();
    if (pid == 0) {
        json_decref(undo());
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_true(wait_state("done", false));
    assert_true(holds("/etc/default/grub", "A=2\nB=\"x\"\n"));
    json_decref(undo());
    assert_int_equal(mend(), 0); /* who mends has come in */
    same(before);
    sh("rm ../$(basename $PWD).mark", NULL);
    tw_mem_free(before);
}

/* The timer's process: what `twinax setup-hand --timer N --after S --root R` does. */
static int be_timer(char **argv)
{
    tw_setup_site s;
    tw_err err;
    if (tw_setup_site_init(argv[7], &s, &err) != 0)
        return 1;
    s.revert_s = (unsigned)strtoul(argv[5], NULL, 10);
    return tw_setup_timer(&s, strtol(argv[3], NULL, 10), &err) == 0 ? 0 : 1;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    if (argc > 7 && strcmp(argv[1], "setup-hand") == 0)
        return be_timer(argv);
    setenv("TW_SETUP_REVERT_S", "1", 1);
    const struct CMUnitTest tests[] = {TEST(test_round_trip),     TEST(test_two_steps),
                                       TEST(test_failure),        TEST(test_foreign),
                                       TEST(test_link_of_a_user), TEST(test_group_of_a_package),
                                       TEST(test_half_installed), TEST(test_full_before),
                                       TEST(test_full_within),    TEST(test_damaged_journal),
                                       TEST(test_kill_in_step),   TEST(test_kill_anywhere),
                                       TEST(test_revert),         TEST(test_revert_again),
                                       TEST(test_confirm),        TEST(test_undo_confirmed),
                                       TEST(test_undo_reverts),   TEST(test_undo_killed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
