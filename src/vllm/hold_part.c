/* SPDX-License-Identifier: Apache-2.0 */
#include "vllm/hold_part.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/scope.h"
#include "os/fd.h"

enum { VALUE_MAX = 4096, WALK_FDS = 16 };

static const char dir_prefix[] = "/tmp/twinax-";

static bool is_plain(const char *name)
{
    return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL;
}

/* twinax-node beside this program, where it is: it runs in any container. */
static const char *find_self(char out[VALUE_MAX])
{
    static const char node[] = "twinax-node";
    const ssize_t n = readlink("/proc/self/exe", out, VALUE_MAX - sizeof node);
    out[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(out, '/');
    if (slash == NULL || strcmp(slash + 1, node) == 0)
        return out;
    char name[VALUE_MAX];
    snprintf(name, sizeof name, "%s", slash + 1);
    memcpy(slash + 1, node, sizeof node);
    if (access(out, X_OK) != 0)
        memcpy(slash + 1, name, strlen(name) + 1);
    return out;
}

/* A directory of users may be far away: asked only where a text wants it. */
static const char *find_user(const char *text, char out[VALUE_MAX])
{
    const struct passwd *p = strstr(text, "@USER@") != NULL ? getpwuid(geteuid()) : NULL;
    if (p != NULL)
        snprintf(out, VALUE_MAX, "%s", p->pw_name);
    else
        snprintf(out, VALUE_MAX, "%u", (unsigned)geteuid());
    return out;
}

static const char *find_home(void)
{
    const char *home = getenv("HOME");
    return home != NULL && home[0] == '/' ? home : "/";
}

/* text with every mark replaced, new; NULL: no memory, or too long. */
static json_t *with_dir(const char *text, const char *dir)
{
    char out[VALUE_MAX], self[VALUE_MAX], user[VALUE_MAX];
    const struct {
        const char *mark, *means;
    } marks[] = {{"@DIR@", dir},
                 {"@SELF@", find_self(self)},
                 {"@USER@", find_user(text, user)},
                 {"@HOME@", find_home()}};
    size_t at = 0;
    for (const char *p = text; *p != '\0';) {
        const char *piece = p;
        size_t len = 1, used = 1;
        for (size_t i = 0; i < TW_ARRAY_LEN(marks); i++)
            if (strncmp(p, marks[i].mark, strlen(marks[i].mark)) == 0) {
                piece = marks[i].means;
                len = strlen(piece);
                used = strlen(marks[i].mark);
            }
        if (at + len >= sizeof out)
            return NULL;
        memcpy(out + at, piece, len);
        at += len;
        p += used;
    }
    return json_stringn(out, at);
}

static int refuse(const char *what, tw_err *err)
{
    return tw_err_set(err, -EPROTO, "hold: the part on stdin: %s", what);
}

/* ret: max + 1, NULL at the end. */
static int read_words(const tw_hold_part *p, const char *key, const char **ret, size_t max,
                      tw_err *err)
{
    json_t *words = json_object_get(p->json, key), *word;
    size_t i;
    if (!json_is_array(words) || json_array_size(words) == 0 || json_array_size(words) > max)
        return tw_err_set(err, -EPROTO, "hold: the part on stdin: %s is no list of 1 to %zu words",
                          key, max);
    json_array_foreach(words, i, word)
    {
        if (!json_is_string(word))
            return tw_err_set(err, -EPROTO, "hold: the part on stdin: a word of %s is no text",
                              key);
        json_t *made = with_dir(json_string_value(word), p->dir);
        if (made == NULL || json_array_set_new(words, i, made) != 0)
            return tw_err_set(err, -EPROTO, "hold: the part on stdin: a word of %s is too long",
                              key);
        ret[i] = json_string_value(made);
    }
    ret[json_array_size(words)] = NULL;
    return 0;
}

/* ret: NULL when absent; all values must be text. */
static int read_texts(const tw_hold_part *p, const char *key, const json_t **ret, tw_err *err)
{
    json_t *v = json_object_get(p->json, key), *text;
    const char *name;
    if (v == NULL)
        return 0;
    if (!json_is_object(v))
        return tw_err_set(err, -EPROTO, "hold: the part on stdin: %s is no object", key);
    json_object_foreach(
        v, name,
        text) if (!json_is_string(text) || name[0] == '\0' ||
                  strchr(name, '=') !=
                      NULL) return tw_err_set(err, -EPROTO,
                                              "hold: the part on stdin: %s.%.40s is no text", key,
                                              name);
    *ret = v;
    return 0;
}

static int read_dir(tw_hold_part *p, tw_err *err)
{
    const char *dir = json_string_value(json_object_get(p->json, "dir"));
    if (dir == NULL)
        return 0;
    if (strncmp(dir, dir_prefix, sizeof dir_prefix - 1) != 0 || strlen(dir) >= sizeof p->dir ||
        !is_plain(dir + sizeof dir_prefix - 1))
        return refuse("dir is no /tmp/twinax-NAME", err);
    snprintf(p->dir, sizeof p->dir, "%s", dir);
    return 0;
}

static int write_file(const char *path, const char *text, tw_err *err)
{
    TW_CLEANUP(tw_fd_closep)
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    const size_t n = strlen(text);
    if (fd < 0 || write(fd, text, n) != (ssize_t)n)
        return tw_err_set(err, errno > 0 ? -errno : -EIO, "hold: cannot write %s: %s", path,
                          strerror(errno));
    return 0;
}

static int make_dir(tw_hold_part *p, tw_err *err)
{
    const char *name;
    json_t *text;
    int rc = 0;
    if (p->dir[0] == '\0')
        return p->files == NULL ? 0 : refuse("files without a dir", err);
    if (mkdir(p->dir, 0700) != 0) {
        rc = tw_err_set(err, -errno, "hold: cannot make %s: %s", p->dir, strerror(errno));
        p->dir[0] = '\0'; /* another's: it stays */
        return rc;
    }
    json_object_foreach((json_t *)(uintptr_t)p->files, name, text)
    {
        char path[sizeof p->dir + 80];
        if (!is_plain(name) || strlen(name) > 64)
            return refuse("a file's name is no plain one", err);
        snprintf(path, sizeof path, "%s/%s", p->dir, name);
        rc = rc == 0 ? write_file(path, json_string_value(text), err) : rc;
    }
    return rc;
}

static int read_door(tw_hold_part *p, tw_err *err)
{
    const json_t *door = json_object_get(p->json, "door"), *ip;
    const json_int_t port = json_integer_value(json_object_get(door, "open"));
    size_t i;
    json_array_foreach(
        json_object_get(door, "peers"), i,
        ip) if (!json_is_string(ip) ||
                !tw_hold_door_add(&p->door, json_string_value(
                                                ip))) return refuse("door.peers are no addresses",
                                                                    err);
    p->door.open_port = port > 0 && port <= 65535 ? (uint16_t)port : 0;
    return 0;
}

static void read_report(tw_hold_part *p)
{
    const json_int_t ms = json_integer_value(json_object_get(p->json, "report_ms"));
    const json_t *count = json_object_get(p->json, "count");
    tw_hold_report *r = &p->report;
    r->ms = ms > 0 && ms <= 60000 ? (unsigned)ms : 0;
    snprintf(r->interface, sizeof r->interface, "%s", tw_json_text_at(count, "interface"));
    snprintf(r->hca, sizeof r->hca, "%s", tw_json_text_at(count, "hca"));
    if (strchr(r->hca, '/') != NULL || r->hca[0] == '.')
        r->hca[0] = '\0'; /* no card: a path */
}

/* A container that is not the user's own has this machine's files below /run/host. */
static bool is_seen(const char *path, char at[VALUE_MAX])
{
    if (snprintf(at, VALUE_MAX, "%s", path) < VALUE_MAX && access(at, R_OK) == 0)
        return true;
    return snprintf(at, VALUE_MAX, "/run/host%s", path) < VALUE_MAX && access(at, R_OK) == 0;
}

static bool in_container(void)
{
    return access("/run/.containerenv", F_OK) == 0 || access("/.dockerenv", F_OK) == 0;
}

static int link_model(const tw_hold_part *p, tw_err *err)
{
    const json_t *model = json_object_get(p->json, "model");
    const char *path = json_string_value(json_object_get(model, "path"));
    char at[VALUE_MAX], link[sizeof p->dir + 8];
    if (path == NULL || p->in != NULL) /* the holder inside looks */
        return 0;
    const bool links = json_is_true(json_object_get(model, "link"));
    const bool seen = is_seen(path, at);
    if (seen && !links && strcmp(at, path) != 0)
        return tw_err_set(err, -ENOENT,
                          "hold: the model %.80s is seen here only below /run/host, and what is up "
                          "already takes it by its path: `twinax down` first, or the model below "
                          "your home",
                          path);
    if (!seen)
        return tw_err_set(err, -ENOENT, "hold: the model %.150s is not seen here%s", path,
                          in_container() ? ", inside the container: it wants --volume /:/run/host:"
                                           "rslave, or the model below your home"
                                         : "");
    snprintf(link, sizeof link, "%s/model", p->dir);
    if (links && (p->dir[0] == '\0' || symlink(at, link) != 0))
        return tw_err_set(err, -EIO, "hold: cannot make %s: %s", link, strerror(errno));
    return 0;
}

int tw_hold_part_open(const char *line, size_t n, tw_hold_part *ret, tw_err *err)
{
    *ret = (tw_hold_part){0};
    int rc = tw_json_parse("hold: the part on stdin", line, n, &ret->json, err);
    if (rc == 0 && !json_is_object(ret->json))
        rc = refuse("is no object", err);
    if (rc == 0)
        rc = read_dir(ret, err);
    if (rc == 0)
        rc = read_words(ret, "argv", ret->argv, TW_HOLD_WORDS_MAX, err);
    if (rc == 0 && json_object_get(ret->json, "before") != NULL)
        rc = read_words(ret, "before", ret->before, TW_HOLD_BEFORE_MAX, err);
    if (rc == 0)
        rc = read_texts(ret, "env", &ret->env, err);
    if (rc == 0)
        rc = read_texts(ret, "files", &ret->files, err);
    ret->erase = json_is_true(json_object_get(ret->json, "erase"));
    read_report(ret);
    if (rc == 0)
        rc = read_door(ret, err);
    ret->in = rc == 0 ? json_object_get(ret->json, "stdin") : NULL;
    if (rc != 0)
        ret->dir[0] = '\0'; /* not made yet */
    else
        rc = make_dir(ret, err);
    if (rc == 0)
        rc = link_model(ret, err);
    if (rc != 0)
        tw_hold_part_close(ret);
    return rc;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    (void)remove(path); /* what stays makes its folder stay; there is nobody to tell */
    return 0;
}

/* By the program's own environment: vLLM looks at the same. */
static void erase_compiled(void)
{
    const char *own = getenv("VLLM_CACHE_ROOT"), *cache = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    char path[VALUE_MAX];
    int n;
    if (own != NULL && own[0] == '/')
        n = snprintf(path, sizeof path, "%s/torch_compile_cache", own);
    else if (cache != NULL && cache[0] == '/')
        n = snprintf(path, sizeof path, "%s/vllm/torch_compile_cache", cache);
    else if (home != NULL && home[0] == '/')
        n = snprintf(path, sizeof path, "%s/.cache/vllm/torch_compile_cache", home);
    else
        return;
    if (n > 0 && (size_t)n < sizeof path)
        (void)nftw(path, remove_one, WALK_FDS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* A place for models that this container does not see would be made inside it, and go with it. */
static void mend_place(const char *name)
{
    const char *path = getenv(name);
    char at[VALUE_MAX];
    if (path == NULL || path[0] != '/' || !in_container() || access(path, F_OK) == 0)
        return;
    if (is_seen(path, at)) {
        (void)setenv(name, at, 1);
        return;
    }
    static const char says[] = "hold: %s=%s is not seen inside the container: what vLLM fetches "
                               "itself goes to its own home\n";
    printf(says, name, path); /* budget: a line of the program's log */
    fflush(stdout);
    (void)unsetenv(name);
}

int tw_hold_part_export(const tw_hold_part *p, tw_err *err)
{
    const char *name;
    json_t *text;
    json_object_foreach((json_t *)(uintptr_t)p->env, name, text)
    {
        TW_CLEANUP(tw_json_freep) json_t *value = with_dir(json_string_value(text), p->dir);
        if (value == NULL || setenv(name, json_string_value(value), 1) != 0)
            return tw_err_set(err, -ENOMEM, "hold: env.%.40s is too long", name);
    }
    if (p->in == NULL) {
        mend_place("HF_HOME");
        mend_place("HF_HUB_CACHE");
    }
    if (p->erase)
        erase_compiled();
    return 0;
}

void tw_hold_part_close(tw_hold_part *p)
{
    if (p->dir[0] != '\0')
        (void)nftw(p->dir, remove_one, WALK_FDS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    json_decref(p->json);
    *p = (tw_hold_part){0};
}
