/* SPDX-License-Identifier: Apache-2.0 */
/* The few things that a page says of this machine before any child was asked. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/scope.h"
#include "os/file.h"
#include "ui/app.h"

enum { TABLE_MAX_BYTES = 4 << 20, SSH_PORT = 22 };

void tw_ui_machine_host(char *out, size_t out_bytes)
{
    if (gethostname(out, out_bytes - 1) != 0 || out[0] == '\0')
        snprintf(out, out_bytes, "head");
    out[out_bytes - 1] = '\0';
    out[strcspn(out, ".")] = '\0';
}

char *tw_ui_machine_path(const char *name, char *out, size_t out_bytes)
{
    const char *home = getenv("HOME");
    if (strncmp(name, "~/", 2) == 0 && home != NULL)
        snprintf(out, out_bytes, "%s%s", home, name + 1);
    else
        snprintf(out, out_bytes, "%s", name);
    return out;
}

bool tw_ui_machine_has_ip(const char *ip)
{
    struct ifaddrs *all = NULL;
    bool found = false;
    char bare[64];
    snprintf(bare, sizeof bare, "%.*s", (int)strcspn(ip, "%"), ip);
    if (ip[0] == '\0' || getifaddrs(&all) != 0)
        return false;
    for (struct ifaddrs *i = all; i != NULL && !found; i = i->ifa_next) {
        char text[64] = "";
        if (i->ifa_addr == NULL)
            continue;
        /* Copied: a sockaddr is no sockaddr_in for a compiler that minds aliasing. */
        if (i->ifa_addr->sa_family == AF_INET) {
            struct sockaddr_in a;
            memcpy(&a, i->ifa_addr, sizeof a);
            (void)inet_ntop(AF_INET, &a.sin_addr, text, sizeof text);
        } else if (i->ifa_addr->sa_family == AF_INET6) {
            struct sockaddr_in6 a;
            memcpy(&a, i->ifa_addr, sizeof a);
            (void)inet_ntop(AF_INET6, &a.sin6_addr, text, sizeof text);
        }
        found = strcmp(text, bare) == 0;
    }
    freeifaddrs(all);
    return found;
}

/* As the head's ssh looks (docs/nodes.md): the shell's PATH, then two places of ours. */
void tw_ui_machine_twinax(char *out, size_t out_bytes)
{
    static const char *const names[] = {"twinax", "twinax-node"};
    char places[4096];
    const char *path = getenv("PATH"), *home = getenv("HOME");
    snprintf(places, sizeof places, "%s:/usr/local/bin:%s/.local/bin", path != NULL ? path : "",
             home != NULL ? home : "");
    for (char *p = places; *p != '\0';) {
        const size_t n = strcspn(p, ":");
        for (size_t i = 0; i < TW_ARRAY_LEN(names) && n > 0 && p[0] == '/'; i++) {
            snprintf(out, out_bytes, "%.*s/%s", (int)n, p, names[i]);
            if (access(out, X_OK) == 0)
                return;
        }
        p += n + (p[n] == ':');
    }
    out[0] = '\0';
}

/* The kernel's table of sockets: "sl: ADDRESS:PORT PEER STATE ..." in hex; 0A: it listens. */
static bool listens_in(const char *table, unsigned port)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TABLE_MAX_BYTES);
    tw_err ignored;
    char want[8];
    snprintf(want, sizeof want, ":%04X ", port);
    if (tw_file_read(table, &b, &ignored) != 0 || b.data == NULL)
        return false;
    for (const char *line = strchr(b.data, '\n'); line != NULL; line = strchr(line + 1, '\n')) {
        const char *colon = strstr(line, ": "); /* behind its number */
        const char *at = colon != NULL ? strchr(colon + 2, ':') : NULL;
        const char *peer = at != NULL ? strchr(at, ' ') : NULL;
        const char *state = peer != NULL ? strchr(peer + 1, ' ') : NULL;
        if (state != NULL && strncmp(at, want, 6) == 0 && strncmp(state, " 0A", 3) == 0)
            return true;
    }
    return false;
}

bool tw_ui_machine_has_sshd(void)
{
    return listens_in("/proc/net/tcp", SSH_PORT) || listens_in("/proc/net/tcp6", SSH_PORT);
}

bool tw_ui_machine_has_token(void)
{
    char path[1024];
    const char *token = getenv("HF_TOKEN"), *hf = getenv("HF_HOME"), *home = getenv("HOME");
    if (token != NULL && token[0] != '\0')
        return true;
    if (hf != NULL && hf[0] != '\0')
        snprintf(path, sizeof path, "%s/token", hf);
    else
        snprintf(path, sizeof path, "%s/.cache/huggingface/token", home != NULL ? home : "");
    return tw_file_exists(path);
}
