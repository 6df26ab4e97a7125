/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/measured.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/scope.h"
#include "os/fd.h"
#include "os/file.h"

enum { CACHE_MAX = 256 * 1024, PATH_BYTES = 1024 };

static bool find_path(char out[PATH_BYTES])
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = 0;
    if (xdg != NULL && xdg[0] == '/')
        n = snprintf(out, PATH_BYTES, "%s/twinax/measured.json", xdg);
    else if (home != NULL && home[0] == '/')
        n = snprintf(out, PATH_BYTES, "%s/.cache/twinax/measured.json", home);
    return n > 0 && n < PATH_BYTES;
}

json_t *tw_measured_load(void)
{
    char path[PATH_BYTES];
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(CACHE_MAX);
    json_t *v = NULL;
    tw_err ignored;
    if (find_path(path) && tw_file_exists(path) && tw_file_read(path, &b, &ignored) == 0 &&
        tw_json_parse(path, b.data, b.len, &v, &ignored) == 0 && json_is_object(v))
        return v;
    json_decref(v);
    return json_object();
}

const json_t *tw_measured_get(const json_t *v, const char *section, const char *key)
{
    return json_object_get(json_object_get(v, section), key);
}

/* Whole or not at all: two may write at a time. */
static void save(const json_t *v)
{
    char path[PATH_BYTES], fresh[PATH_BYTES + 24];
    if (!find_path(path))
        return;
    for (char *p = strchr(path + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
        *p = '\0';
        (void)mkdir(path, 0700);
        *p = '/';
    }
    snprintf(fresh, sizeof fresh, "%s.%d.new", path, (int)getpid());
    (void)unlink(fresh);
    TW_CLEANUP(tw_fd_closep)
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && (json_dumpfd(v, fd, JSON_INDENT(1)) != 0 || rename(fresh, path) != 0))
        (void)unlink(fresh);
}

void tw_measured_put(const char *section, const char *key, json_t *entry)
{
    TW_CLEANUP(tw_json_freep) json_t *v = tw_measured_load();
    json_t *s = json_object_get(v, section);
    if (!json_is_object(s)) {
        json_object_set_new(v, section, json_object());
        s = json_object_get(v, section);
    }
    json_object_set_new(s, key, entry);
    save(v);
}
