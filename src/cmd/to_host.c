/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/to_host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/scope.h"
#include "os/file.h"

enum { PATH_BYTES = 512, WORDS_MAX = 1000, ENV_MAX = 16, ENV_BYTES = 400 };

/* What a command of ours minds; the host's session lacks it. */
static const char *const kept[] = {"HF_HOME",        "HF_HUB_CACHE", "HF_ENDPOINT",
                                   "HF_HUB_OFFLINE", "TERM",         "XDG_CONFIG_HOME"};

static bool can_run(const char *name)
{
    const char *dirs = getenv("PATH");
    char path[PATH_BYTES];
    for (const char *d = dirs != NULL ? dirs : "/usr/bin:/bin"; *d != '\0';) {
        const size_t n = strcspn(d, ":");
        snprintf(path, sizeof path, "%.*s/%s", (int)n, d, name);
        if (n > 0 && access(path, X_OK) == 0)
            return true;
        d += n + (d[n] == ':');
    }
    return false;
}

/* https://user:password@host: no word for a command line that everybody may read. */
static bool has_login(const char *name)
{
    const char *value = getenv(name);
    const char *from = value != NULL ? strstr(value, "://") : NULL;
    return from != NULL && memchr(from + 3, '@', strcspn(from + 3, "/")) != NULL;
}

typedef struct words {
    const char *v[WORDS_MAX + 1];
    size_t n;
} words;

static void add(words *w, const char *word)
{
    if (w->n < WORDS_MAX)
        w->v[w->n++] = word;
}

/* flatpak-spawn starts in the host's session: folder and environment are said. Everybody may read
 * argv, so a secret is not among them: HF_TOKEN is exported on the host, or in hf's own file. */
static void add_flatpak(words *w, char env[ENV_MAX][ENV_BYTES], const char *folder)
{
    static char directory[PATH_BYTES + 16];
    size_t n = 0;
    add(w, "flatpak-spawn");
    add(w, "--host");
    add(w, "--watch-bus");
    snprintf(directory, sizeof directory, "--directory=%.500s", folder);
    add(w, directory);
    for (size_t i = 0; i < TW_ARRAY_LEN(kept) && n < ENV_MAX; i++) {
        const char *value = getenv(kept[i]);
        if (value == NULL)
            continue;
        snprintf(env[n], ENV_BYTES, "--env=%s=%.300s", kept[i], value);
        add(w, env[n++]);
    }
    add(w, "--env=TWINAX_FROM_CONTAINER=1");
}

/* The host's own twinax: what lies in the container may not run there. A path below the home, or
 * /run/host, is the same file on both sides. */
static const char *find_self(char *argv0, char out[PATH_BYTES])
{
    const char *home = getenv("HOME");
    char self[PATH_BYTES];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = '\0';
    if (strncmp(self, "/run/host/", 10) == 0)
        snprintf(out, PATH_BYTES, "%s", self + 9);
    else if (home != NULL && home[0] == '/' && home[1] != '\0' &&
             strncmp(self, home, strlen(home)) == 0)
        snprintf(out, PATH_BYTES, "%s", self);
    else {
        const char *slash = strrchr(argv0, '/');
        snprintf(out, PATH_BYTES, "%.500s", slash != NULL ? slash + 1 : argv0);
    }
    return out;
}

/* Agents, ranks and the like are started by others where they belong. */
static bool is_child(const char *word)
{
    static const char *const names[] = {"agent",     "rank", "setup-hand", "keep", "version",
                                        "--version", "help", "--help",     "-h"};
    for (size_t i = 0; i < TW_ARRAY_LEN(names); i++)
        if (word != NULL && strcmp(word, names[i]) == 0)
            return true;
    return false;
}

int tw_to_host(char **argv, tw_err *err)
{
    static words w;
    static char env[ENV_MAX][ENV_BYTES], self[PATH_BYTES], folder[PATH_BYTES];
    const bool toolbox = tw_file_exists("/run/.containerenv") && getenv("TOOLBOX_PATH") != NULL;
    const bool distrobox = getenv("CONTAINER_ID") != NULL && getenv("DISTROBOX_ENTER_PATH") != NULL;
    if ((!toolbox && !distrobox) || argv[0] == NULL || is_child(argv[1]))
        return 0;
    if (getenv("TWINAX_FROM_CONTAINER") != NULL)
        return tw_err_set(err, -ELOOP,
                          "inside a container even after going to the host: start "
                          "twinax on the host");
    if (getcwd(folder, sizeof folder) == NULL)
        snprintf(folder, sizeof folder, "/");
    if (distrobox && can_run("distrobox-host-exec"))
        add(&w, "distrobox-host-exec");
    else if (can_run("flatpak-spawn") && has_login("HF_ENDPOINT"))
        return tw_err_set(
            err, -EPERM,
            "HF_ENDPOINT has a login in it, and the way to the host is a command line "
            "that everybody may read: unset it in the container, export it on the "
            "host");
    else if (can_run("flatpak-spawn"))
        add_flatpak(&w, env, folder);
    else
        return tw_err_set(
            err, -ENOENT,
            "inside a %s, and twinax runs on the host: neither %s is here to get "
            "there. Start it on the host, or install flatpak-spawn (flatpak-xdg-utils) "
            "in the container",
            toolbox ? "toolbox" : "distrobox",
            toolbox ? "flatpak-spawn" : "distrobox-host-exec nor flatpak-spawn");
    add(&w, find_self(argv[0], self));
    for (size_t i = 1; argv[i] != NULL; i++)
        add(&w, argv[i]);
    if (w.n == WORDS_MAX)
        return tw_err_set(err, -E2BIG, "more than %d words: start twinax on the host", WORDS_MAX);
    w.v[w.n] = NULL;
    if (setenv("TWINAX_FROM_CONTAINER", "1", 1) != 0)
        return tw_err_set(err, -errno, "setenv: %s", strerror(errno));
    char *const *as_exec_wants;
    memcpy(&as_exec_wants, &(const char *const *){w.v}, sizeof as_exec_wants);
    (void)execvp(w.v[0], as_exec_wants);
    return tw_err_set(err, -errno, "inside a %s; %s, the way to the host: %s",
                      toolbox ? "toolbox" : "distrobox", w.v[0], strerror(errno));
}
