/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cluster/life_state.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    char run[96], home[96];
    snprintf(folder, sizeof folder, "/tmp/twinax-life-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(run, sizeof run, "%s/run", folder);
    snprintf(home, sizeof home, "%s/state", folder);
    assert_int_equal(mkdir(run, 0755), 0);
    setenv("XDG_RUNTIME_DIR", run, 1);
    setenv("XDG_STATE_HOME", home, 1);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    return 0;
}

static tw_life_record example(void)
{
    tw_life_record r = {.run = "0123456789abcdef0123456789abcdef",
                        .phase = TW_LIFE_READY,
                        .keeper = {.pid = getpid()},
                        .serve = {.pid = 77, .start = 88},
                        .model = "/models/\"odd\" \xc3\xa9",
                        .how = "session",
                        .url = "http://127.0.0.1:8000",
                        .since_s = 1000,
                        .ready_s = 1001,
                        .n_ranks = 2};
    assert_true(tw_life_proc_read(getpid(), &r.keeper));
    gethostname(r.host, sizeof r.host - 1);
    tw_life_boot_id(r.boot);
    snprintf(r.ranks[0].node, sizeof r.ranks[0].node, "box1");
    r.ranks[1] = (tw_life_rank){
        .rank = 1, .node = "box2", .ssh = "me@box2", .agent_path = "/opt/t", .proc = {5, 6}};
    return r;
}

static void record_comes_back_as_it_was(void **state)
{
    (void)state;
    tw_life_paths p;
    tw_err err = {0};
    struct stat st;
    const tw_life_record want = example();
    tw_life_record got = {.run = ""};
    assert_int_equal(tw_life_paths_make(TW_LIFE_SERVICE, &p, &err), 0);
    assert_int_equal(tw_life_record_read(&p, &got, &err), -ENOENT);
    assert_int_equal(tw_life_record_write(&p, &want, &err), 0);
    assert_int_equal(tw_life_record_read(&p, &got, &err), 0);
    assert_memory_equal(&got, &want, sizeof got);
    assert_int_equal(stat(p.record, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(p.runtime, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

/* No room: the old record stays, and nothing half-written beside it. */
static void a_full_disk_keeps_the_old_record(void **state)
{
    (void)state;
    tw_life_paths p;
    tw_err err = {0};
    tw_life_record r = example(), back;
    char fresh[TW_LIFE_PATH_BYTES + 16];
    struct rlimit before;
    assert_int_equal(tw_life_paths_make(TW_LIFE_SERVICE, &p, &err), 0);
    assert_int_equal(tw_life_record_write(&p, &r, &err), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    const struct rlimit small = {.rlim_cur = 10, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    r.ready_s = 4711;
    const int rc = tw_life_record_write(&p, &r, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rc, -EFBIG);
    assert_non_null(strstr(err.msg, "cannot write"));
    assert_int_equal(tw_life_record_read(&p, &back, &err), 0);
    assert_int_equal(back.ready_s, 1001);
    snprintf(fresh, sizeof fresh, "%s.new", p.record);
    assert_int_equal(access(fresh, F_OK), -1);
}

static void damaged_records_are_refused(void **state)
{
    (void)state;
    static const char long_how[] = "{\"schema\":1,\"phase\":\"ready\",\"how\":\"much longer "
                                   "than any of the words it may be\"}";
    static const char *const bad[] = {"",
                                      "{",
                                      "[]",
                                      "{\"schema\":2}",
                                      "{\"schema\":1}",
                                      "{\"schema\":1,\"phase\":\"going\"}",
                                      "{\"schema\":1,\"phase\":\"ready\",\"keeper\":7}",
                                      "{\"schema\":1,\"phase\":\"ready\",\"ranks\":[1]}",
                                      "{\"schema\":1,\"phase\":\"ready\",\"ranks\":[{\"rank\":8}]}",
                                      long_how};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tw_err err = {0};
        tw_life_record r;
        assert_int_equal(tw_life_record_parse("f", bad[i], strlen(bad[i]), &r, &err), -EPROTO);
        assert_true(err.msg[0] != '\0');
    }
}

static enum tw_life_state look(const tw_life_paths *p)
{
    enum tw_life_state s = TW_LIFE_NONE;
    tw_life_record r;
    tw_err err = {0};
    assert_int_equal(tw_life_look(p, &s, &r, &err), 0);
    return s;
}

/* Who holds the lock lives; a record alone does not. */
static void lock_tells_life(void **state)
{
    (void)state;
    tw_life_paths p;
    tw_err err = {0};
    int lock = -1, second = -1;
    tw_life_record r = example();
    assert_int_equal(tw_life_paths_make(TW_LIFE_SERVICE, &p, &err), 0);
    assert_int_equal(look(&p), TW_LIFE_NONE);
    assert_int_equal(tw_life_lock(&p, &lock, &err), 0);
    assert_int_equal(tw_life_lock(&p, &second, &err), -EBUSY);
    assert_int_equal(look(&p), TW_LIFE_NONE);
    assert_int_equal(tw_life_record_write(&p, &r, &err), 0);
    assert_int_equal(look(&p), TW_LIFE_RUNS);
    r.keeper.start++; /* the pid is another's by now */
    assert_int_equal(tw_life_record_write(&p, &r, &err), 0);
    assert_int_equal(look(&p), TW_LIFE_CRASHED);
    r.keeper.start--;
    snprintf(r.host, sizeof r.host, "another");
    snprintf(r.boot, sizeof r.boot, "another");
    assert_int_equal(tw_life_record_write(&p, &r, &err), 0);
    assert_int_equal(look(&p), TW_LIFE_ELSEWHERE);
    close(lock);
    r = example();
    assert_int_equal(tw_life_record_write(&p, &r, &err), 0);
    assert_int_equal(look(&p), TW_LIFE_CRASHED);
    r.phase = TW_LIFE_ENDED;
    assert_int_equal(tw_life_record_write(&p, &r, &err), 0);
    assert_int_equal(look(&p), TW_LIFE_OVER);
}

static void a_process_is_its_pid_and_its_start(void **state)
{
    (void)state;
    tw_life_proc p, found[4];
    setenv("TWINAX_RUN", "feedfeedfeedfeed", 1);
    pid_t pid = fork();
    if (pid == 0) {
        execlp("sleep", "sleep", "100", (char *)NULL);
        _exit(1);
    }
    unsetenv("TWINAX_RUN");
    while (tw_life_proc_find("feedfeedfeedfeed", found, 4) == 0)
        usleep(1000); /* until it has begun sleep */
    assert_true(tw_life_proc_read(pid, &p));
    assert_true(tw_life_proc_alive(&p));
    assert_true(tw_life_proc_rss(pid) > 0);
    tw_life_proc other = {.pid = pid, .start = p.start + 1};
    assert_false(tw_life_proc_alive(&other));
    assert_int_equal(tw_life_proc_kill(&other, SIGKILL), -ESRCH);
    assert_false(tw_life_proc_await_gone(&p, 1, TW_NS_PER_MS));
    assert_int_equal(tw_life_proc_kill(&p, SIGKILL), 0);
    assert_true(tw_life_proc_await_gone(&p, 1, 10 * TW_NS_PER_S)); /* a zombie counts as gone */
    waitpid(pid, NULL, 0);
    assert_int_equal(tw_life_proc_kill(&p, SIGKILL), -ESRCH);
    assert_int_equal(tw_life_proc_find("feedfeedfeedfeed", found, 4), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(record_comes_back_as_it_was, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_full_disk_keeps_the_old_record, make_folder,
                                        remove_folder),
        cmocka_unit_test(damaged_records_are_refused),
        cmocka_unit_test_setup_teardown(lock_tells_life, make_folder, remove_folder),
        cmocka_unit_test(a_process_is_its_pid_and_its_start),
    };
    return cmocka_run_group_tests_name("cluster_life_state", tests, NULL, NULL);
}
