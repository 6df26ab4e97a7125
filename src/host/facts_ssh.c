/* SPDX-License-Identifier: Apache-2.0 */
/* The ssh server here, and the keys by which this user goes elsewhere: counted and named, never
 * read but for the few bytes that say whether one is encrypted. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/scope.h"
#include "host/facts_reader.h"
#include "os/fd.h"

enum { AGENT_REQUEST_IDENTITIES = 11, AGENT_IDENTITIES = 12, AGENT_LIMIT_US = 300000 };

/* ---- server ---- */

static uint16_t configured_port(tw_facts_reader *r)
{
    char *rest = r->work, *line;
    unsigned port = 0;
    if (tw_reader_text(r, "etc/ssh/sshd_config"))
        while (port == 0 && (line = tw_text_line(&rest)) != NULL)
            if (sscanf(line, " Port %u", &port) != 1)
                port = 0;
    return (uint16_t)(port > 0 && port < 65536 ? port : 22);
}

static void find_server(tw_facts_reader *r, tw_facts_ssh *s)
{
    uint16_t port = configured_port(r);
    const tw_facts_routes *t = &r->f->routes;
    s->server = TW_NO;
    for (size_t i = 0; i < t->n_listen; i++)
        if (t->listen[i].port == port) {
            s->server = TW_YES;
            s->port = port;
        }
}

/* ---- files ---- */

static tw_count count_lines(tw_facts_reader *r, const char *below)
{
    char path[256], *rest = r->work, *line;
    uint64_t n = 0;
    if (!tw_reader_home(r, below, path, sizeof path) || !tw_reader_text(r, path))
        return (tw_count){0};
    while ((line = tw_text_line(&rest)) != NULL)
        n += line[0] != '\0' && line[0] != '#';
    return tw_count_of(n);
}

/* "openssh-key-v1\0", then the name of the cipher: "none". In base64 the first 24 characters hold
 * the magic and the length of a name that is 4 long, 6 more the name. */
static tw_tri is_encrypted(const char *text)
{
    static const char begin[] = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
    static const char none[] = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU";
    if (strncmp(text, begin, sizeof begin - 1) == 0)
        return tw_tri_of(strncmp(text + sizeof begin - 1, none, sizeof none - 1) != 0);
    return tw_tri_of(strstr(text, "ENCRYPTED") != NULL);
}

static void take_key(tw_facts_reader *r, const char *name, tw_facts_ssh *s)
{
    char path[256], text[256], public_path[264];
    tw_facts_key k = {0};
    tw_text_set(public_path, sizeof public_path, ".ssh/%s", name);
    if (!tw_reader_home(r, public_path, path, sizeof path) ||
        !tw_facts_text(r->root, path, text, sizeof text))
        return; /* another user's, or a broken link */
    bool private_key = strstr(text, "PRIVATE KEY-----") != NULL;
    k.encrypted = is_encrypted(text);
    explicit_bzero(text, sizeof text);
    if (!private_key || s->n_keys == TW_FACTS_KEYS_MAX)
        return;
    tw_text_set(k.path, sizeof k.path, "%.159s", path);
    tw_text_set(public_path, sizeof public_path, "%.255s.pub", path);
    k.has_public = tw_tri_of(tw_facts_text(r->root, public_path, text, sizeof text));
    if (k.has_public == TW_YES)
        tw_text_set(k.type, sizeof k.type, "%.*s", (int)TW_MIN(strcspn(text, " "), 23u), text);
    s->keys[s->n_keys++] = k;
}

static void find_keys(tw_facts_reader *r, tw_facts_ssh *s)
{
    char path[256];
    tw_names names = {0};
    if (tw_reader_home(r, ".ssh", path, sizeof path))
        tw_facts_names(r->root, path, "id_", &names);
    for (size_t i = 0; i < names.n; i++)
        if (strstr(names.v[i], ".pub") == NULL)
            take_key(r, names.v[i], s);
}

/* ---- agent ---- */

static bool send_and_receive(int fd, uint8_t answer[9])
{
    static const uint8_t question[5] = {0, 0, 0, 1, AGENT_REQUEST_IDENTITIES};
    size_t n = 0;
    if (send(fd, question, sizeof question, MSG_NOSIGNAL) != (ssize_t)sizeof question)
        return false;
    while (n < 9) {
        ssize_t got = recv(fd, answer + n, 9 - n, 0);
        if (got <= 0)
            return false;
        n += (size_t)got;
    }
    return answer[4] == AGENT_IDENTITIES;
}

/* Only how many it holds. */
static tw_count ask_agent(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_usec = AGENT_LIMIT_US};
    uint8_t answer[9];
    if (strlen(path) >= sizeof to.sun_path)
        return (tw_count){0};
    memcpy(to.sun_path, path, strlen(path));
    TW_CLEANUP(tw_fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return (tw_count){0};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit); /* of connect too */
    if (connect(fd, (void *)&to, sizeof to) != 0 || !send_and_receive(fd, answer))
        return (tw_count){0};
    return tw_count_of((uint64_t)answer[5] << 24 | (uint64_t)answer[6] << 16 |
                       (uint64_t)answer[7] << 8 | answer[8]);
}

void tw_reader_ssh(tw_facts_reader *r)
{
    tw_facts_ssh *s = &r->f->ssh;
    char path[128];
    find_server(r, s);
    s->client = tw_tri_of(tw_facts_has_tool(r->f, "ssh"));
    s->n_authorized = count_lines(r, ".ssh/authorized_keys");
    s->n_known_hosts = count_lines(r, ".ssh/known_hosts");
    find_keys(r, s);
    if (r->root == NULL && tw_reader_env(r, "SSH_AUTH_SOCK", path, sizeof path) && path[0] == '/')
        s->agent_keys = ask_agent(path);
    bool usable = false;
    for (size_t i = 0; i < s->n_keys; i++)
        usable = usable || s->keys[i].encrypted == TW_NO;
    s->agent_only = tw_tri_of(s->agent_keys.v > 0 && !usable);
}
