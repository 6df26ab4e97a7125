/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/bus.h"
#include "os/file.h"

enum { N_BYTES = 100000, TEXT_BYTES = 4096 };

/* Who maps the file at path: a model's file, a pack, one that nobody was told of. */
typedef const uint8_t *map_it(const char *path);

static tw_map g_map;

static const uint8_t *map_file(const char *path)
{
    return tw_map_open(path, &g_map, NULL) == 0 ? g_map.p : NULL;
}

static const uint8_t *map_silently(const char *path)
{
    const int fd = open(path, O_RDONLY);
    void *p = mmap(NULL, N_BYTES, PROT_READ, MAP_PRIVATE, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

static const uint8_t *map_cache(const char *path)
{
    const uint8_t *p = map_silently(path);
    tw_bus_add(p, N_BYTES, path, true);
    return p;
}

static const uint8_t *map_and_forget(const char *path)
{
    const uint8_t *p = map_cache(path);
    tw_bus_remove(p);
    return p;
}

/* Nobody reads a map: the signal is sent. */
static const uint8_t *map_and_send(const char *path)
{
    (void)map_cache(path);
    (void)raise(SIGBUS);
    return NULL;
}

/* A child maps the file, which then is cut short, and reads its end. Its status, and what it told. */
static int read_cut(map_it *map, const char *path, char told[TEXT_BYTES])
{
    int ends[2], status;
    size_t n = 0;
    ssize_t now;
    assert_int_equal(pipe(ends), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        signal(SIGBUS, SIG_DFL); /* a sanitizer's own */
        tw_bus_init(_exit);
        const uint8_t *p = map(path);
        if (p == NULL || truncate(path, 10) != 0)
            _exit(70);
        const volatile uint8_t byte = p[N_BYTES - 1];
        _exit(byte == 0 ? 71 : 72);
    }
    assert_true(pid > 0);
    close(ends[1]);
    while ((now = read(ends[0], told + n, TEXT_BYTES - 1 - n)) > 0)
        n += (size_t)now;
    told[n] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void make_file(char path[32])
{
    static const uint8_t zeros[N_BYTES];
    strcpy(path, "/tmp/twinax-bus-XXXXXX");
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(tw_fd_write_all(fd, zeros, sizeof(zeros)), 0);
    close(fd);
}

static void a_file_is_named(void **state)
{
    (void)state;
    char path[32], told[TEXT_BYTES];
    make_file(path);
    const int status = read_cut(map_file, path, told);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_int_equal(strncmp(told, "twinax: ", 8), 0);
    assert_int_equal(strncmp(told + 8, path, strlen(path)), 0);
    assert_non_null(strstr(told, "cut short"));
    assert_non_null(strstr(told, "fetch the file anew\n"));
    assert_int_equal(unlink(path), 0); /* it is not ours to remove */
}

static void a_cache_is_removed(void **state)
{
    (void)state;
    char path[32], told[TEXT_BYTES];
    make_file(path);
    const int status = read_cut(map_cache, path, told);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_non_null(strstr(told, path));
    assert_non_null(strstr(told, "it was removed"));
    assert_false(tw_file_exists(path));
}

static void others_end_as_before(void **state)
{
    (void)state;
    static map_it *const maps[] = {map_silently, map_and_forget, map_and_send};
    char path[32], told[TEXT_BYTES];
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
        make_file(path);
        const int status = read_cut(maps[i], path, told);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
        assert_string_equal(told, "");
        assert_int_equal(unlink(path), 0);
    }
}

static void on_other(int sig)
{
    (void)sig;
    _exit(73);
}

static const uint8_t *map_after_another(const char *path)
{
    signal(SIGBUS, on_other);
    tw_bus_init(_exit);
    return map_silently(path);
}

/* As a sanitizer's, which would print where it was. */
static void who_was_first_has_the_rest(void **state)
{
    (void)state;
    char path[32], told[TEXT_BYTES];
    make_file(path);
    const int status = read_cut(map_after_another, path, told);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 73);
    assert_string_equal(told, "");
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_named),
        cmocka_unit_test(a_cache_is_removed),
        cmocka_unit_test(others_end_as_before),
        cmocka_unit_test(who_was_first_has_the_rest),
    };
    return cmocka_run_group_tests_name("os bus", tests, NULL, NULL);
}
