/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/ssh.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/scope.h"

#define NOT_FOUND_WORDS "twinax: looked in"

enum { SSH_FAILED = 255, NOT_FOUND = 127, NOT_EXECUTABLE = 126, USAGE = 2, NAME_MAX_BYTES = 255 };

int tw_ssh_name_check(const char *name, tw_err *err)
{
    if (name[0] == '-')
        return tw_err_set(err, -EINVAL, "node '%.60s': a name that begins with '-' is refused",
                          name);
    if (name[0] == '\0' || strlen(name) > NAME_MAX_BYTES)
        return tw_err_set(err, -EINVAL, "node: an ssh name of 1 to %d characters is wanted",
                          NAME_MAX_BYTES);
    for (const char *c = name; *c != '\0'; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f)
            return tw_err_set(err, -EINVAL,
                              "node: an ssh name has no spaces nor control characters");
    return 0;
}

/* 'it'\''s': the far shell gets the very same text. */
static int quote(const char *text, char *out, size_t out_bytes)
{
    size_t n = 0;
    for (const char *c = text; *c != '\0' && n + 6 < out_bytes; c++)
        n += (size_t)snprintf(out + n, out_bytes - n, *c == '\'' ? "'\\''" : "%c", *c);
    out[n] = '\0';
    return n + 6 < out_bytes ? 0 : -ENAMETOOLONG;
}

/* Without a path: PATH, then where people and --push put programs. No single quotes in it. */
#define LOOK_FOR_IT                                                                                \
    "exec sh -c 'for t in twinax twinax-node /usr/local/bin/twinax /usr/local/bin/twinax-node "    \
    "\"$HOME/.local/bin/twinax\" \"$HOME/.local/bin/twinax-node\"; do p=$(command -v \"$t\") && "  \
    "[ -x \"$p\" ] && exec \"$p\" agent; done; echo \"" NOT_FOUND_WORDS                            \
    " PATH ($PATH), /usr/local/bin, $HOME/.local/bin\" >&2; exit 127'"

/* "~/" is the node's own home. */
static int make_remote(const char *path, tw_ssh_command *ret, tw_err *err)
{
    char quoted[1024];
    if (path == NULL) {
        _Static_assert(sizeof LOOK_FOR_IT <= sizeof ret->remote, "the script fits");
        snprintf(ret->remote, sizeof ret->remote, "%s", LOOK_FOR_IT);
        return 0;
    }
    const bool home = strncmp(path, "~/", 2) == 0;
    if (quote(path + (home ? 2 : 0), quoted, sizeof quoted) != 0)
        return tw_err_set(err, -ENAMETOOLONG, "the agent's path is too long");
    snprintf(ret->remote, sizeof ret->remote, "exec %s'%s' agent", home ? "\"$HOME\"/" : "",
             quoted);
    return 0;
}

int tw_ssh_words_make(const char *name, const char *words, tw_ssh_command *ret, tw_err *err)
{
    static const char *const fixed[] = {"ssh", "-T",
                                        "-o",  "BatchMode=yes",
                                        "-o",  "ConnectTimeout=10",
                                        "-o",  "ServerAliveInterval=5",
                                        "-o",  "ServerAliveCountMax=2",
                                        "-o",  "ClearAllForwardings=yes",
                                        "--"};
    _Static_assert(TW_SSH_CONNECT_S == 10, "ConnectTimeout says the same");
    int rc = tw_ssh_name_check(name, err);
    if (rc != 0)
        return rc;
    if (strlen(words) >= sizeof ret->remote)
        return tw_err_set(err, -ENAMETOOLONG, "%s: too long a command", name);
    size_t n = TW_ARRAY_LEN(fixed);
    memcpy(ret->argv, fixed, sizeof fixed);
    ret->argv[n++] = name;
    ret->argv[n++] = ret->remote;
    ret->argv[n] = NULL;
    if (words != ret->remote)
        memcpy(ret->remote, words, strlen(words) + 1);
    return 0;
}

int tw_ssh_command_make(const char *name, const char *agent_path, tw_ssh_command *ret, tw_err *err)
{
    int rc = make_remote(agent_path, ret, err);
    return rc != 0 ? rc : tw_ssh_words_make(name, ret->remote, ret, err);
}

/* The last line with something on it, without control characters. */
static void last_line(const char *says, char *out, size_t out_bytes)
{
    const char *begin = says, *found = "";
    size_t n_found = 0;
    while (*begin != '\0') {
        size_t n = strcspn(begin, "\r\n");
        if (n > 0) {
            found = begin;
            n_found = n;
        }
        begin += n + strspn(begin + n, "\r\n");
    }
    size_t n = TW_MIN(n_found, out_bytes - 1);
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)found[i] < 0x20 ? ' ' : found[i];
    out[n] = '\0';
}

static const char *after(const char *line, const char *words)
{
    const char *at = strstr(line, words);
    return at != NULL ? at + strlen(words) : line;
}

/* Words of OpenSSH's messages, the more telling first. */
static const struct cause {
    const char *words;
    int code;
    const char *text; /* one %s: the node */
} causes[] = {
    {"REMOTE HOST IDENTIFICATION HAS CHANGED", -EKEYREJECTED,
     "%s: its host key is another than the known one: somebody else answers, or it was "
     "reinstalled (then: ssh-keygen -R %s)"},
    {"Host key verification failed", -EKEYREJECTED,
     "%s: its host key is not known yet: connect once by hand and check it: ssh %s"},
    {"UNPROTECTED PRIVATE KEY FILE", -EACCES,
     "%s: ssh does not use your private key, which others may read: chmod 600 it; then: ssh %s "
     "true"},
    {"Permission denied (publickey,password", -EACCES,
     "%s: ssh permission denied: it asks for a password, and your key is not known there: "
     "ssh-copy-id %s"},
    {"password)", -EACCES, "%s: ssh permission denied: it asks for a password: ssh-copy-id %s"},
    {"keyboard-interactive", -EACCES,
     "%s: ssh permission denied: it asks for a password or code: ssh-copy-id %s"},
    {"Permission denied", -EACCES,
     "%s: ssh permission denied: your key is not known there: ssh-copy-id %s"},
    {"Too many authentication failures", -EACCES,
     "%s: ssh offered too many keys: name the right one in ~/.ssh/config (IdentityFile) for %s"},
    {"Could not resolve hostname", -EHOSTUNREACH,
     "%s: name not found: neither DNS nor ~/.ssh/config knows %s"},
    {"Connection refused", -ECONNREFUSED,
     "%s: ssh refused: no sshd listens there: on %s: "
     "systemctl enable --now sshd (or ssh)"},
    {"timed out", -ETIMEDOUT,
     "%s: ssh timed out: switched off, another address, or a firewall; "
     "try: ssh %s true"},
    {"No route to host", -EHOSTUNREACH,
     "%s: no route to it: a cable, or another subnet; "
     "try: ping %s"},
    {"kex_exchange_identification", -ECONNRESET,
     "%s: what listens there closed the connection before it spoke: no sshd, too many connections "
     "(MaxStartups), or refused by it; try: ssh %s true"},
    {"Bad owner or permissions", -EACCES,
     "%s: ssh refuses its own config, which others may write: chmod 600 ~/.ssh/config; then: ssh "
     "%s "
     "true"},
    {"Network is unreachable", -ENETUNREACH, "%s: network unreachable from here; try: ping %s"},
};

static int explain_ssh(const tw_ssh_end *e, const char *line, tw_err *err)
{
    for (size_t i = 0; i < TW_ARRAY_LEN(causes); i++) {
        if (strstr(e->says, causes[i].words) == NULL)
            continue;
        char text[240];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(text, sizeof text, causes[i].text, e->name, e->name);
#pragma GCC diagnostic pop
        return tw_err_set(err, causes[i].code, "%s", text);
    }
    return tw_err_set(err, -EIO, "%s: ssh failed: %s", e->name,
                      line[0] != '\0' ? line : "without a word");
}

int tw_ssh_explain(const tw_ssh_end *e, tw_err *err)
{
    char line[160];
    last_line(e->says, line, sizeof line);
    const char *path = e->agent_path != NULL ? e->agent_path : "twinax";
    int status = e->status;
    if (status < 0)
        return tw_err_set(err, -ETIMEDOUT, "%s: %s%s%s", e->name,
                          e->greeted ? "its agent does not answer"
                                     : "no answer in time: ssh, its shell or twinax there hangs",
                          line[0] != '\0' ? ": " : "", line);
    if (WIFSIGNALED(status))
        return tw_err_set(err, -EPIPE, "%s: %s was ended by signal %d", e->name,
                          e->is_local ? "its agent" : "ssh", WTERMSIG(status));
    int code = WEXITSTATUS(status);
    if (code == SSH_FAILED && !e->is_local && !e->greeted)
        return explain_ssh(e, line, err);
    if (code == SSH_FAILED && !e->is_local)
        return tw_err_set(err, -ECONNRESET, "%s: the ssh connection broke: %s", e->name, line);
    if (e->greeted)
        return tw_err_set(err, -ECONNRESET, "%s: its agent ended (status %d): %s", e->name, code,
                          line[0] != '\0' ? line : "without a word");
    if (strstr(e->says, "No space left on device") != NULL)
        return tw_err_set(err, -ENOSPC, "%s: its disk is full: %s; see there: df -h", e->name,
                          line);
    if (strstr(e->says, "error while loading shared libraries") != NULL ||
        strstr(e->says, "' not found (required by") != NULL)
        return tw_err_set(
            err, -ELIBACC,
            "%s: twinax there lacks a library: install it, or --push a twinax-node: %s", e->name,
            after(line, "libraries: "));
    const char *looked = strstr(e->says, NOT_FOUND_WORDS);
    if (code == NOT_FOUND && looked != NULL)
        return tw_err_set(err, -ENOENT,
                          "%s: no twinax there (%.140s): install it, name it by --agent-path, or "
                          "copy ours there by --push",
                          e->name, after(line, "twinax: "));
    if (code == NOT_FOUND)
        return tw_err_set(err, -ENOENT,
                          "%s: no twinax there ('%.80s' is not found): install it, name another by "
                          "--agent-path, or copy ours there by --push",
                          e->name, path);
    if (code == NOT_EXECUTABLE)
        return tw_err_set(err, -ENOEXEC, "%s: '%.80s' cannot be executed there: %s", e->name, path,
                          line);
    if (strstr(e->says, "no such command") != NULL || code == USAGE)
        return tw_err_set(err, -EPROTO,
                          "%s: another version of twinax is there, without an agent: install the "
                          "same version on both, or copy ours there by --push",
                          e->name);
    return tw_err_set(err, -EIO, "%s: twinax did not start there (status %d): %s", e->name, code,
                      line[0] != '\0' ? line : "without a word");
}
