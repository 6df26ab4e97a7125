/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/scope.h"
#include "os/file.h"

static void make_parents(char *path)
{
    for (char *c = path + 1; *c != '\0'; c++)
        if (*c == '/') {
            *c = '\0';
            (void)mkdir(path, 0755);
            *c = '/';
        }
}

static void make_path(const tree *t, const char *where, char out[1024])
{
    int n = snprintf(out, 1024, "%s/%s", t->root, where);
    assert_true(n > 0 && n < 1024);
    make_parents(out);
}

/* In place; a zero byte may stand in it. */
static size_t unescape(char *p)
{
    char *to = p;
    const char *from = p;
    while (*from != '\0') {
        unsigned byte;
        if (from[0] == '\\' && from[1] == 'n') {
            *to++ = '\n';
            from += 2;
        } else if (from[0] == '\\' && from[1] == 't') {
            *to++ = '\t';
            from += 2;
        } else if (from[0] == '\\' && from[1] == 'x' && sscanf(from + 2, "%2x", &byte) == 1) {
            *to++ = (char)byte;
            from += 4;
        } else {
            *to++ = *from++;
        }
    }
    return (size_t)(to - p);
}

static void put_bytes(const tree *t, const char *where, const char *p, size_t n)
{
    char path[1024];
    tw_err err = {0};
    make_path(t, where, path);
    if (tw_file_write(path, p, n, &err) != 0)
        fail_msg("%s", err.msg);
}

void tree_put(const tree *t, const char *path, const char *text)
{
    put_bytes(t, path, text, strlen(text));
}

static void take_line(const tree *t, char *line)
{
    char path[1024];
    char *link = strstr(line, " -> "), *text = strstr(line, " =");
    if (line[0] == '\0' || line[0] == '#')
        return;
    if (link != NULL && (text == NULL || link < text)) {
        *link = '\0';
        make_path(t, line, path);
        assert_int_equal(symlink(link + 4, path), 0);
        return;
    }
    if (text == NULL)
        fail_msg("no line of a tree: %s", line);
    *text = '\0';
    text += 2;
    bool program = *text == '*';
    text += *text == ' ' || program;
    size_t n = unescape(text);
    /* Raw bytes and arguments stand alone; a text has a last line end, as sysfs gives it. */
    bool raw = memchr(text, '\0', n) != NULL;
    if (!raw)
        text[n] = '\n';
    put_bytes(t, line, text, raw || n == 0 ? n : n + 1);
    make_path(t, line, path);
    if (program)
        assert_int_equal(chmod(path, 0755), 0);
}

void tree_make(tree *t, const char *file)
{
    char path[1024];
    tw_err err = {0};
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(1 << 20);
    snprintf(t->root, sizeof t->root, "/tmp/twinax-tree-XXXXXX");
    assert_non_null(mkdtemp(t->root));
    const char *data = getenv("TW_TEST_DATA"); /* else: from the source root by hand */
    snprintf(path, sizeof path, "%s/host/%s", data != NULL ? data : "tests/data", file);
    if (tw_file_read(path, &b, &err) != 0)
        fail_msg("%s", err.msg);
    char *rest = b.data, *line;
    while ((line = strsep(&rest, "\n")) != NULL)
        take_line(t, line);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

void tree_remove(tree *t)
{
    if (t->root[0] != '\0')
        (void)nftw(t->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    t->root[0] = '\0';
}
