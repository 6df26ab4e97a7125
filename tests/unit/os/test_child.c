/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "count_fds.h"
#include "os/child.h"
#include "os/file.h"

#define GRACE_NS (60 * TW_NS_PER_S)

static tw_child spawn(const char *const *argv, unsigned flags, int pass_fd)
{
    tw_child c = {.pid = 0};
    tw_err err = {0};
    if (tw_child_spawn(argv, flags, pass_fd, &c, &err) != 0)
        fail_msg("%s", err.msg);
    assert_true(c.pid > 0);
    assert_true((flags & TW_CHILD_PIPE_IN) ? c.in_fd > 2 : c.in_fd == -1);
    assert_true((flags & TW_CHILD_PIPE_OUT) ? c.out_fd > 2 : c.out_fd == -1);
    return c;
}

/* All that can be read, at most a minute long, as a string. */
static const char *read_all(int fd)
{
    static char text[16384];
    size_t n = 0;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 60000) != 1)
            fail_msg("no end of file after a minute, but '%s'", text);
        ssize_t n_now = read(fd, text + n, sizeof(text) - 1 - n);
        assert_true(n_now >= 0);
        n += (size_t)n_now;
        text[n] = '\0';
        if (n_now == 0)
            return text;
    }
}

static void read_line(int fd, const char *want)
{
    char line[64] = "";
    for (size_t n = 0; n < sizeof(line) - 1 && strchr(line, '\n') == NULL; n++) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 60000), 1);
        assert_int_equal(read(fd, line + n, 1), 1);
    }
    assert_string_equal(line, want);
}

/* What a shell script prints; it has to end with 0. */
static const char *run_shell(const char *script, unsigned flags, int pass_fd)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    tw_child c = spawn(argv, flags | TW_CHILD_PIPE_OUT, pass_fd);
    const char *text = read_all(c.out_fd);
    tw_child_stop(&c, GRACE_NS);
    if (c.status != 0)
        fail_msg("'%s' ends with status %#x", script, (unsigned)c.status);
    return text;
}

static void test_pipes(void **state)
{
    (void)state;
    const char *const argv[] = {"cat", NULL};
    tw_child c = spawn(argv, TW_CHILD_PIPE_IN | TW_CHILD_PIPE_OUT, -1);
    assert_false(tw_child_poll(&c, NULL));
    assert_int_equal(write(c.in_fd, "through\n", 8), 8);
    read_line(c.out_fd, "through\n");
    close(c.in_fd);
    c.in_fd = -1;
    assert_string_equal(read_all(c.out_fd), "");
    tw_child_stop(&c, GRACE_NS);
    assert_true(c.pid == 0 && c.in_fd == -1 && c.out_fd == -1);
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    assert_false(sigismember(&mask, SIGUSR1)); /* held during the fork alone */
}

static void test_poll(void **state)
{
    (void)state;
    const char *const argv[] = {"sh", "-c", "read x; exit 7", NULL};
    tw_child c = spawn(argv, TW_CHILD_PIPE_IN, -1);
    int status = -1;
    assert_false(tw_child_poll(&c, &status));
    assert_int_equal(status, -1);
    assert_int_equal(write(c.in_fd, "\n", 1), 1);
    uint64_t end = tw_clock_now_ns() + GRACE_NS;
    while (!tw_child_poll(&c, &status))
        assert_true(tw_clock_now_ns() < end);
    for (int i = 0; i < 2; i++) {
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
        status = -1;
        assert_true(tw_child_poll(&c, &status)); /* and it stays so */
    }
    tw_child_stop(&c, 0);
}

static void test_streams(void **state)
{
    (void)state;
    assert_string_equal(run_shell("echo out; echo err >&2", TW_CHILD_ERR_TO_OUT, -1), "out\nerr\n");
    assert_string_equal(run_shell("cat; readlink /proc/$$/fd/0", TW_CHILD_NULL_IN, -1),
                        "/dev/null\n");
}

static void test_pass_fd(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    (void)run_shell("echo passed >&3", 0, fds[1]);
    close(fds[1]);
    assert_string_equal(read_all(fds[0]), "passed\n");
    close(fds[0]);
}

/* A crowd of others without close-on-exec at every number below 40. */
static void test_other_fds_are_closed(void **state)
{
    (void)state;
    int crowd[40], n_crowd = 0;
    while (n_crowd == 0 || crowd[n_crowd - 1] < 40)
        crowd[n_crowd++] = dup(STDIN_FILENO);
    const char *script = "for n in $(seq 0 99); do [ -e /proc/$$/fd/$n ] && echo $n; done; true";
    assert_string_equal(run_shell(script, 0, -1), "0\n1\n2\n");
    assert_string_equal(run_shell(script, 0, 3), "0\n1\n2\n3\n");
    assert_string_equal(run_shell(script, TW_CHILD_PIPE_IN, 17), "0\n1\n2\n3\n");
    while (n_crowd > 0)
        close(crowd[--n_crowd]);
}

static void test_signals_are_reset(void **state)
{
    (void)state;
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    sigset_t blocked, mask_before;
    sigfillset(&blocked);
    sigaction(SIGPIPE, &ignore, &before);
    sigprocmask(SIG_BLOCK, &blocked, &mask_before);
    const char *text = run_shell("grep -E '^Sig(Blk|Ign)' /proc/$$/status | tr -d '\\t\\n'", 0, -1);
    sigset_t mask_after;
    sigprocmask(SIG_SETMASK, &mask_before, &mask_after);
    sigaction(SIGPIPE, &before, NULL);
    unsigned long long blocked_in_child = 0, ignored = 0;
    assert_int_equal(sscanf(text, "SigBlk:%16llxSigIgn:%16llx", &blocked_in_child, &ignored), 2);
    assert_int_equal(blocked_in_child, 0);
    /* 32 and 33 are glibc's own: its posix_spawn, make's say, leaves them ignored for good */
    assert_int_equal(ignored & ~(3ull << 31), 0);
    assert_true(sigismember(&mask_after, SIGUSR1)); /* and ours are as they were */
}

static void check_refused(const char *program, int code, const char *word)
{
    const char *const argv[] = {program, "argument", NULL};
    tw_child c = {.pid = -7};
    tw_err err = {0};
    int rc = tw_child_spawn(argv, TW_CHILD_PIPE_IN | TW_CHILD_PIPE_OUT, -1, &c, &err);
    if (rc != code || err.code != code)
        fail_msg("%s: %d (%s), wanted %d", program, rc, err.msg, code);
    assert_non_null(strstr(err.msg, word));
    assert_non_null(strstr(err.msg, program));
    assert_int_equal(c.pid, -7);
}

static void test_exec_errors(void **state)
{
    (void)state;
    char text[] = "/tmp/twinax-child-XXXXXX";
    int fd = mkstemp(text);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "no program\n", 11), 11);
    assert_int_equal(fchmod(fd, 0755), 0);
    close(fd);
    unsigned n_fds = count_fds();
    check_refused("twinax-no-such-program", -ENOENT, "PATH");
    check_refused("/nowhere/program", -ENOENT, "No such file");
    check_refused("/etc/passwd", -EACCES, "cannot be executed");
    check_refused("/tmp", -EACCES, "cannot be executed");
    check_refused(text, -ENOEXEC, "cannot be executed");
    check_refused("", -ENOENT, "name");
    assert_int_equal(count_fds(), n_fds);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie is left */
    assert_int_equal(errno, ECHILD);
    unlink(text);
}

static void test_bad_pass_fd(void **state)
{
    (void)state;
    const char *const argv[] = {"true", NULL};
    tw_child c = {.pid = 0};
    tw_err err = {0};
    unsigned n_fds = count_fds();
    assert_int_equal(tw_child_spawn(argv, TW_CHILD_PIPE_IN, 99999, &c, &err), -EBADF);
    assert_int_equal(count_fds(), n_fds);
}

static void test_search_path(void **state)
{
    (void)state;
    char dir[] = "/tmp/twinax-path-XXXXXX", path[64], *before = strdup(getenv("PATH"));
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/twinax-hello", dir);
    assert_int_equal(tw_file_write(path, "#!/bin/sh\necho hello\n", 21, NULL), 0);
    assert_int_equal(chmod(path, 0755), 0);
    char dirs[256];
    snprintf(dirs, sizeof(dirs), "/nowhere:%s:/usr/bin:/bin", dir);
    setenv("PATH", dirs, 1);
    const char *const argv[] = {"twinax-hello", NULL};
    tw_child c = spawn(argv, TW_CHILD_PIPE_OUT, -1);
    setenv("PATH", before, 1);
    free(before);
    assert_string_equal(read_all(c.out_fd), "hello\n");
    tw_child_stop(&c, GRACE_NS);
    unlink(path);
    rmdir(dir);
}

static void test_stop_asks_first(void **state)
{
    (void)state;
    const char *const argv[] = {"sh", "-c",
                                "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done",
                                NULL};
    tw_child c = spawn(argv, TW_CHILD_PIPE_OUT, -1);
    read_line(c.out_fd, "ready\n");
    tw_child_stop(&c, GRACE_NS);
    assert_true(WIFEXITED(c.status) && WEXITSTATUS(c.status) == 7);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void test_stop_insists(void **state)
{
    (void)state;
    const char *const argv[] = {"sh", "-c", "trap '' TERM; echo ready; exec sleep 1000", NULL};
    tw_child c = spawn(argv, TW_CHILD_PIPE_OUT, -1);
    read_line(c.out_fd, "ready\n");
    tw_child_stop(&c, 10 * TW_NS_PER_MS);
    assert_true(WIFSIGNALED(c.status) && WTERMSIG(c.status) == SIGKILL);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    tw_child_stop(&c, GRACE_NS); /* twice is once */
}

static void test_stop_of_nothing(void **state)
{
    (void)state;
    tw_child c = {0};
    unsigned n_fds = count_fds();
    assert_true(tw_child_poll(&c, NULL));
    tw_child_stop(&c, GRACE_NS);
    tw_child_stop(NULL, 0);
    assert_int_equal(count_fds(), n_fds); /* fd 0 is not the child's */
}

/* A parent that is killed takes its child along: the pipe whose last writer is the child ends. */
static void test_dies_with_parent(void **state)
{
    (void)state;
    int life[2], word[2];
    assert_int_equal(pipe2(life, O_CLOEXEC), 0);
    assert_int_equal(pipe2(word, O_CLOEXEC), 0);
    fflush(NULL);
    pid_t parent = fork();
    if (parent == 0) {
        const char *const argv[] = {"sleep", "1000", NULL};
        tw_child c = {.pid = 0};
        int rc = tw_child_spawn(argv, 0, life[1], &c, NULL);
        ssize_t n = write(word[1], &c.pid, sizeof(c.pid));
        while (rc == 0 && n > 0)
            pause();
        _exit(1);
    }
    close(life[1]);
    close(word[1]);
    pid_t child = 0;
    assert_int_equal(read(word[0], &child, sizeof(child)), sizeof(child));
    assert_true(child > 0);
    kill(parent, SIGKILL);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    struct pollfd p = {.fd = life[0], .events = POLLIN};
    int n = poll(&p, 1, 60000);
    if (n != 1)
        kill(child, SIGKILL);
    assert_int_equal(n, 1);
    close(life[0]);
    close(word[0]);
}

static void test_namespaces(void **state)
{
    (void)state;
    const char *const argv[] = {"sh", "-c", "id -u; id -g; cat /proc/net/dev | tail -n +3 | wc -l",
                                NULL};
    tw_child c = {.pid = 0};
    tw_err err = {0};
    unsigned n_fds = count_fds();
    int rc = tw_child_spawn(argv, TW_CHILD_NEW_USER_NET | TW_CHILD_PIPE_OUT, -1, &c, &err);
    if (rc < 0) {
        print_message("# skipped: %s\n", err.msg);
        assert_non_null(strstr(err.msg, "namespace"));
        assert_int_equal(count_fds(), n_fds);
        return;
    }
    const char *text = read_all(c.out_fd);
    assert_int_equal(strncmp(text, "0\n0\n", 4), 0);
    tw_child_stop(&c, GRACE_NS);
    assert_int_equal(c.status, 0);
}

/* Root in a user namespace of its own still dies with its parent: the change of credentials has
 * not cleared the wish. */
static void test_namespace_child_dies_too(void **state)
{
    (void)state;
    int life[2];
    assert_int_equal(pipe2(life, O_CLOEXEC), 0);
    fflush(NULL);
    pid_t parent = fork();
    if (parent == 0) {
        const char *const argv[] = {"sleep", "1000", NULL};
        tw_child c = {.pid = 0};
        int rc = tw_child_spawn(argv, TW_CHILD_NEW_USER_NET, life[1], &c, NULL);
        _exit(rc == 0 ? 0 : 77); /* ends at once; the child runs already */
    }
    close(life[1]);
    int status = 0;
    assert_int_equal(waitpid(parent, &status, 0), parent);
    if (WEXITSTATUS(status) == 77)
        print_message("# skipped: no user namespaces here\n");
    assert_string_equal(read_all(life[0]), "");
    close(life[0]);
}

/* Without the right to it, the refusal names the namespace. */
static void test_namespace_refused(void **state)
{
    (void)state;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0)
            _exit(77);
        const char *const argv[] = {"/bin/true", NULL};
        tw_child c = {.pid = 0};
        tw_err err = {0};
        int rc = tw_child_spawn(argv, TW_CHILD_NEW_NET, -1, &c, &err);
        _exit(rc == -EPERM && strstr(err.msg, "network namespace") != NULL ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        print_message("# skipped: cannot become nobody\n");
    else
        assert_int_equal(status, 0);
}

static void check_run(const char *script, int code, const char *want)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    tw_err err = {0};
    int rc = tw_child_run(argv, &err);
    if (rc != code)
        fail_msg("'%s': %d (%s), wanted %d", script, rc, err.msg, code);
    assert_string_equal(err.msg, want);
}

static void test_run(void **state)
{
    (void)state;
    unsigned n_fds = count_fds();
    check_run("cat; echo fine", 0, "");
    check_run("exit 3", -EIO, "sh -c exit 3: exit status 3");
    check_run("echo a; echo b >&2; echo; exit 1", -EIO,
              "sh -c echo a; echo b >&2; echo; exit 1: exit status 1: b");
    check_run("printf 'a\\nno line feed'; exit 2", -EIO,
              "sh -c printf 'a\\nno line feed'; exit 2: exit status 2: no line feed");
    check_run("kill -9 $$", -EIO, "sh -c kill -9 $$: ended by signal 9");
    check_run("head -c 300000 /dev/zero | tr '\\0' x; echo; echo end; exit 9", -EIO,
              "sh -c head -c 300000 /dev/zero | tr '\\0' x; echo; echo end; exit 9: exit status 9: "
              "end");
    const char *const none[] = {"twinax-no-such-program", NULL};
    assert_int_equal(tw_child_run(none, NULL), -ENOENT);
    assert_int_equal(count_fds(), n_fds);
}

/* A daemon that keeps the pipe open does not hold us up. */
static void test_run_leaves_daemons(void **state)
{
    (void)state;
    char dir[] = "/tmp/twinax-fifo-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/fifo", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    const char *const argv[] = {"sh", "-c", "cat \"$0\" & echo started; exit 4", path, NULL};
    tw_err err = {0};
    int rc = tw_child_run(argv, &err); /* would hang: the cat waits for us */
    int fd = open(path, O_WRONLY);
    close(fd);
    assert_int_equal(rc, -EIO);
    assert_non_null(strstr(err.msg, "exit status 4: started"));
    unlink(path);
    rmdir(dir);
}

/* What does not end is ended, also when it has closed its output, or keeps printing. */
static void test_run_is_bounded(void **state)
{
    static const char *const scripts[] = {"echo last words; exec sleep 1000",
                                          "exec >&- 2>&-; exec sleep 1000",
                                          "trap '' TERM; while :; do echo more; done"};
    (void)state;
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        const char *argv[] = {"sh", "-c", scripts[i], NULL};
        tw_err err = {0};
        const uint64_t begin = tw_clock_now_ns();
        assert_int_equal(tw_child_run_for(argv, 200 * TW_NS_PER_MS, &err), -ETIMEDOUT);
        assert_non_null(strstr(err.msg, "still ran after 0.2 s"));
        assert_true(i != 0 || strstr(err.msg, "last words") != NULL);
        assert_true(tw_clock_now_ns() - begin < 20 * TW_NS_PER_S);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_is_bounded),
        cmocka_unit_test(test_pipes),
        cmocka_unit_test(test_poll),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_pass_fd),
        cmocka_unit_test(test_other_fds_are_closed),
        cmocka_unit_test(test_signals_are_reset),
        cmocka_unit_test(test_exec_errors),
        cmocka_unit_test(test_bad_pass_fd),
        cmocka_unit_test(test_search_path),
        cmocka_unit_test(test_stop_asks_first),
        cmocka_unit_test(test_stop_insists),
        cmocka_unit_test(test_stop_of_nothing),
        cmocka_unit_test(test_dies_with_parent),
        cmocka_unit_test(test_namespaces),
        cmocka_unit_test(test_namespace_child_dies_too),
        cmocka_unit_test(test_namespace_refused),
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_run_leaves_daemons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
