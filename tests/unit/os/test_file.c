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
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "os/file.h"
#include "os/sys.h"

static char g_dir[64];

static int make_dir(void **state)
{
    (void)state;
    strcpy(g_dir, "/tmp/twinax-file-XXXXXX");
    return mkdtemp(g_dir) == NULL;
}

static int remove_dir(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof(path), "%s/f", g_dir);
    unlink(path);
    return rmdir(g_dir);
}

static const char *file_path(void)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/f", g_dir);
    return path;
}

static void write_bytes(size_t n)
{
    char *p = malloc(n + 1);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(i * 7 + i / 256);
    assert_int_equal(tw_file_write(file_path(), p, n, NULL), 0);
    free(p);
}

static void test_write_then_read(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4095, 4096, 65536, 300000, 100};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t n = sizes[i];
        tw_err err = {0};
        write_bytes(n);
        tw_buf b = TW_BUF(n + 4); /* the ceiling is met exactly, behind what was there */
        assert_int_equal(tw_buf_puts(&b, "head"), 0);
        assert_int_equal(tw_file_read(file_path(), &b, &err), 0);
        assert_int_equal(b.len, n + 4);
        assert_memory_equal(b.data, "head", 4);
        for (size_t k = 0; k < n; k++)
            if (b.data[k + 4] != (char)(k * 7 + k / 256))
                fail_msg("byte %zu of %zu differs", k, n);
        assert_int_equal(b.data[b.len], 0);
        tw_buf_done(&b);
    }
}

static void check_read_fails(const char *path, size_t max, int code, const char *word)
{
    tw_err err = {0};
    tw_buf b = TW_BUF(max);
    assert_int_equal(tw_buf_puts(&b, "kept"), 0);
    assert_int_equal(tw_file_read(path, &b, &err), code);
    assert_int_equal(err.code, code);
    assert_non_null(strstr(err.msg, path));
    assert_non_null(strstr(err.msg, word));
    assert_string_equal(b.data, "kept");
    assert_int_equal(b.len, 4);
    tw_buf_done(&b);
}

static void test_read_refusals(void **state)
{
    (void)state;
    write_bytes(1000);
    check_read_fails(file_path(), 1003, -E2BIG, "1000");
    check_read_fails("/proc/self/status", 50, -E2BIG, "50"); /* its size is told as 0 */
    check_read_fails("/nowhere/at/all", 100, -ENOENT, "No such file");
    check_read_fails(g_dir, 100, -EISDIR, "folder");
    tw_mem_fail_at(2);
    check_read_fails(file_path(), 1 << 20, -ENOMEM, "memory");
    tw_mem_fail_at(0);
}

static void test_read_file_without_size(void **state)
{
    (void)state;
    tw_buf b = TW_BUF(1 << 20);
    assert_int_equal(tw_file_read("/proc/self/status", &b, NULL), 0);
    assert_non_null(strstr(b.data, "VmRSS"));
    tw_buf_done(&b);
}

static void test_write_refusals(void **state)
{
    (void)state;
    tw_err err = {0};
    assert_int_equal(tw_file_write("/nowhere/f", "x", 1, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "/nowhere/f"));
    if (tw_file_exists("/dev/full")) {
        assert_int_equal(tw_file_write("/dev/full", "x", 1, &err), -ENOSPC);
        assert_non_null(strstr(err.msg, "No space"));
    }
}

static void test_exists(void **state)
{
    (void)state;
    write_bytes(0);
    assert_true(tw_file_exists(file_path()));
    assert_false(tw_file_is_dir(file_path()));
    assert_true(tw_file_exists(g_dir) && tw_file_is_dir(g_dir));
    assert_false(tw_file_exists("/nowhere") || tw_file_is_dir("/nowhere"));
}

static void test_map(void **state)
{
    (void)state;
    tw_map m = {0};
    write_bytes(10000);
    assert_int_equal(tw_map_open(file_path(), &m, NULL), 0);
    assert_int_equal(m.size_bytes, 10000);
    for (size_t i = 0; i < 10000; i++)
        assert_int_equal(m.p[i], (uint8_t)(i * 7 + i / 256));
    tw_map_close(&m);
    assert_null(m.p);
    tw_map_close(&m);
    tw_map_close(NULL);

    write_bytes(0);
    assert_int_equal(tw_map_open(file_path(), &m, NULL), 0);
    assert_null(m.p);
    tw_map_drop(&m, 0, 100);
    tw_map_close(&m);
}

static void test_map_refusals(void **state)
{
    (void)state;
    tw_err err = {0};
    tw_map m = {.p = NULL, .size_bytes = 7};
    assert_int_equal(tw_map_open("/dev/null", &m, &err), -EINVAL);
    unlink(file_path());
    assert_int_equal(mkfifo(file_path(), 0600), 0);
    assert_int_equal(tw_map_open(file_path(), &m, &err), -EINVAL); /* waits for no writer */
    assert_int_equal(unlink(file_path()), 0);
    assert_int_equal(tw_map_open(g_dir, &m, &err), -EISDIR);
    assert_int_equal(tw_map_open("/nowhere", &m, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "/nowhere"));
    assert_int_equal(m.size_bytes, 7);
}

static uint64_t touch(const tw_map *m)
{
    uint64_t sum = 0;
    const volatile uint8_t *p = m->p; /* read, whether the sum is wanted or not */
    for (size_t i = 0; i < m->size_bytes; i += 1024)
        sum += p[i];
    return sum;
}

static void test_map_drop_gives_memory_back(void **state)
{
    (void)state;
    enum { N = 32 << 20, SLACK = 8 << 20 };
    tw_map m = {0};
    write_bytes(N);
    assert_int_equal(tw_map_open(file_path(), &m, NULL), 0);
    uint64_t sum = touch(&m), full = tw_sys_rss_bytes();
    tw_map_drop(&m, 1, N - 2);
    uint64_t dropped = tw_sys_rss_bytes();
    if (dropped + N - SLACK > full)
        fail_msg("rss was %llu, is %llu", (unsigned long long)full, (unsigned long long)dropped);
    assert_int_equal(touch(&m), sum); /* it comes back from the file */
    tw_map_close(&m);
}

/* Which of the first 8 pages are in our tables: /proc/self/pagemap, bit 63. */
static unsigned find_present(const tw_map *m)
{
    uint64_t entry[8];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    FILE *f = fopen("/proc/self/pagemap", "rb");
    assert_non_null(f);
    assert_int_equal(fseeko(f, (off_t)((uintptr_t)m->p / page * sizeof(entry[0])), SEEK_SET), 0);
    assert_int_equal(fread(entry, sizeof(entry[0]), 8, f), 8);
    fclose(f);
    unsigned bits = 0;
    for (unsigned i = 0; i < 8; i++)
        bits |= (unsigned)(entry[i] >> 63) << i;
    return bits;
}

/* A page that is only partly inside the range stays. */
static void test_map_drop_borders(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const struct {
        size_t off, n;
        unsigned left;
    } cases[] = {
        {0, page, 0xFE},
        {1, page, 0xFF},
        {1, 2 * page - 1, 0xFD},
        {page - 1, 2 * page + 1, 0xF9},
        {0, SIZE_MAX, 0x00},
        {7 * page, 10, 0x7F}, /* up to the file's end: nothing else is on that page */
        {7 * page + 1, 9, 0xFF},
        {7 * page, 9, 0xFF},
        {8 * page, 1, 0xFF},
        {SIZE_MAX, SIZE_MAX, 0xFF},
        {page, 0, 0xFF},
    };
    write_bytes(7 * page + 10);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        tw_map m = {0};
        assert_int_equal(tw_map_open(file_path(), &m, NULL), 0);
        (void)touch(&m);
        assert_int_equal(find_present(&m), 0xFF);
        tw_map_drop(&m, cases[i].off, cases[i].n);
        unsigned left = find_present(&m);
        if (left != cases[i].left)
            fail_msg("case %zu: pages %#x are left, wanted %#x", i, left, cases[i].left);
        tw_map_close(&m);
    }
}

static void test_pages(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4096, 100000, 2 << 20, (2 << 20) + 1, 9 << 20};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t n = sizes[i];
        uint8_t *p = tw_pages_new(n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % (n >= 2 << 20 ? 2 << 20 : 4096), 0);
        for (size_t k = 0; k < n; k += 512)
            assert_int_equal(p[k], 0);
        memset(p, 0xA5, n);
        tw_pages_free(p, n);
        assert_int_equal(msync(p, 1, MS_ASYNC), -1); /* gone */
        assert_int_equal(errno, ENOMEM);
    }
    assert_null(tw_pages_new(SIZE_MAX));
    assert_null(tw_pages_new(SIZE_MAX / 2));
    tw_pages_free(NULL, 10);
    tw_mem_fail_at(1);
    void *p = tw_pages_new(4096);
    tw_mem_fail_at(0);
    assert_null(p);
}

/* A disk that is full, a pipe that takes a part at a time, an end that has gone. */
static void test_write_all(void **state)
{
    (void)state;
    enum { N = 300000 };
    static char sent[N], got[N + 1000];
    int fds[2], full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (full >= 0) {
        assert_int_equal(tw_fd_write_all(full, "x", 1), -ENOSPC);
        close(full);
    }
    assert_int_equal(tw_fd_write_all(-1, "x", 1), -EBADF);
    assert_int_equal(tw_fd_write_all(-1, "", 0), 0);
    for (size_t i = 0; i < N; i++)
        sent[i] = (char)(i * 31);
    assert_int_equal(pipe(fds), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        _exit(tw_fd_write_all(fds[1], sent, N) == 0 ? 0 : 1);
    }
    close(fds[1]);
    size_t n = 0;
    for (ssize_t k; (k = read(fds[0], got + n, 1000)) > 0; n += (size_t)k)
        assert_true(n + (size_t)k <= N);
    close(fds[0]);
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(n, N);
    assert_memory_equal(sent, got, N);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_then_read),
        cmocka_unit_test(test_read_refusals),
        cmocka_unit_test(test_read_file_without_size),
        cmocka_unit_test(test_write_refusals),
        cmocka_unit_test(test_write_all),
        cmocka_unit_test(test_exists),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_map_refusals),
        cmocka_unit_test(test_map_drop_gives_memory_back),
        cmocka_unit_test(test_map_drop_borders),
        cmocka_unit_test(test_pages),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
