/* SPDX-License-Identifier: Apache-2.0 */
#include "host/toolbox_say.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "host/facts_field.h"

/* A word that podman, or the kernel through it, uses; the first that is found decides. */
static const struct word {
    const char *text;
    enum tw_toolbox_trouble is;
} words[] = {
    {"no space left on device", TW_TOOLBOX_FULL},
    {"disk quota exceeded", TW_TOOLBOX_FULL},
    {"does not match the digest", TW_TOOLBOX_DIGEST},
    {"Digest did not match", TW_TOOLBOX_DIGEST},
    {"does not match provided manifest digest", TW_TOOLBOX_DIGEST},
    {"digest mismatch", TW_TOOLBOX_DIGEST},
    {"no image found in manifest list for architecture", TW_TOOLBOX_ARCH},
    {"no image found in image index for architecture", TW_TOOLBOX_ARCH},
    {"Exec format error", TW_TOOLBOX_ARCH},
    {"exec format error", TW_TOOLBOX_ARCH},
    {"toomanyrequests", TW_TOOLBOX_TOO_MANY},
    {"too many requests", TW_TOOLBOX_TOO_MANY},
    {"Too Many Requests", TW_TOOLBOX_TOO_MANY},
    {"unauthorized", TW_TOOLBOX_DENIED},
    {"authentication required", TW_TOOLBOX_DENIED},
    {"requested access to the resource is denied", TW_TOOLBOX_DENIED},
    {"403 (Forbidden)", TW_TOOLBOX_DENIED},
    {"manifest unknown", TW_TOOLBOX_UNKNOWN},
    {"name unknown", TW_TOOLBOX_UNKNOWN},
    {"repository name not known", TW_TOOLBOX_UNKNOWN},
    {"x509:", TW_TOOLBOX_UNTRUSTED},
    {"certificate", TW_TOOLBOX_UNTRUSTED},
    {"server gave HTTP response to HTTPS client", TW_TOOLBOX_UNTRUSTED},
    {"connection refused", TW_TOOLBOX_UNREACHABLE},
    {"no such host", TW_TOOLBOX_UNREACHABLE},
    {"network is unreachable", TW_TOOLBOX_UNREACHABLE},
    {"no route to host", TW_TOOLBOX_UNREACHABLE},
    {"i/o timeout", TW_TOOLBOX_UNREACHABLE},
    {"TLS handshake timeout", TW_TOOLBOX_UNREACHABLE},
    {"Client.Timeout", TW_TOOLBOX_UNREACHABLE},
    {"connection reset by peer", TW_TOOLBOX_UNREACHABLE},
    {"server misbehaving", TW_TOOLBOX_UNREACHABLE},
    {"Temporary failure in name resolution", TW_TOOLBOX_UNREACHABLE},
    {"unexpected EOF", TW_TOOLBOX_UNREACHABLE},
    {"subuid", TW_TOOLBOX_ROOTLESS},
    {"newuidmap", TW_TOOLBOX_ROOTLESS},
    {"insufficient UIDs or GIDs", TW_TOOLBOX_ROOTLESS},
    {"keep-groups", TW_TOOLBOX_GROUPS},
    {"RLIMIT_MEMLOCK", TW_TOOLBOX_MEMLOCK},
    {"setrlimit", TW_TOOLBOX_MEMLOCK},
    {"error setting rlimit", TW_TOOLBOX_MEMLOCK},
    {"stat /dev/", TW_TOOLBOX_DEVICE},
    {"not a device node", TW_TOOLBOX_DEVICE},
    {"D-Bus system", TW_TOOLBOX_BUS},
    {"system_bus_socket", TW_TOOLBOX_BUS},
};

enum tw_toolbox_trouble tw_toolbox_trouble_of(const char *says)
{
    for (size_t i = 0; i < TW_ARRAY_LEN(words); i++)
        if (strstr(says, words[i].text) != NULL)
            return words[i].is;
    return TW_TOOLBOX_OTHER;
}

static const struct trouble {
    const char *name, *is, *mend;
    int code;
} troubles[] = {
    [TW_TOOLBOX_OTHER] = {"other", "failed", "", -EIO},
    [TW_TOOLBOX_UNREACHABLE] = {"unreachable", "its registry cannot be reached",
                                "see that this node is on the net (curl -I https://REGISTRY/v2/)",
                                -EHOSTUNREACH},
    [TW_TOOLBOX_UNTRUSTED] = {"untrusted", "its registry is not trusted",
                              "see registries.conf (insecure) and /etc/containers/certs.d",
                              -EKEYREJECTED},
    [TW_TOOLBOX_UNKNOWN] = {"unknown", "the registry has no such image",
                            "see --image and the channel", -ENOENT},
    [TW_TOOLBOX_DENIED] = {"denied", "the registry refuses",
                           "podman login REGISTRY, if the name is right", -EACCES},
    [TW_TOOLBOX_TOO_MANY] = {"too many", "the registry wants fewer requests",
                             "wait, or podman login docker.io", -EDQUOT},
    [TW_TOOLBOX_FULL] = {"disk full", "no room on the disk",
                         "twinax toolbox list shows old images; refresh --remove-old removes them",
                         -ENOSPC},
    [TW_TOOLBOX_ARCH] = {"arch", "made for another processor", "see --image", -ENOEXEC},
    [TW_TOOLBOX_DIGEST] = {"digest", "what came is not what was asked for",
                           "try again; if it stays, the registry or a proxy is broken", -EBADMSG},
    [TW_TOOLBOX_ROOTLESS] = {"rootless", "no user ids for rootless containers",
                             "sudo usermod --add-subuids 100000-165535 --add-subgids "
                             "100000-165535 $USER; podman system migrate",
                             -EPERM},
    [TW_TOOLBOX_MEMLOCK] = {"memlock", "a limit may not be raised here",
                            "twinax setup --only memlock, then log in anew", -EPERM},
    [TW_TOOLBOX_DEVICE] = {"device", "a device is not there", "twinax doctor", -ENODEV},
    [TW_TOOLBOX_GROUPS] = {"groups", "the runtime cannot keep groups", "install crun", -EOPNOTSUPP},
    [TW_TOOLBOX_BUS] = {"bus", "toolbox wants the system's D-Bus",
                        "start dbus, or --with distrobox", -ECONNREFUSED},
};
_Static_assert(sizeof troubles / sizeof troubles[0] == TW_TOOLBOX_TROUBLES, "a line each");

const char *tw_toolbox_trouble_name(enum tw_toolbox_trouble t)
{
    return troubles[t].name;
}

enum tw_toolbox_trouble tw_toolbox_trouble_find(const char *name)
{
    for (unsigned t = 0; t < TW_TOOLBOX_TROUBLES; t++)
        if (strcmp(troubles[t].name, name) == 0)
            return (enum tw_toolbox_trouble)t;
    return TW_TOOLBOX_OTHER;
}

static void drop_colours(char *text)
{
    char *to = text;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '\033' && p[1] == '[') {
            p += 2 + strcspn(p + 2, "ABCDEFGHJKSTfmnsulh");
            if (*p == '\0')
                break;
        } else {
            *to++ = *p;
        }
    }
    *to = '\0';
}

static bool tells(const char *line, enum tw_toolbox_trouble t)
{
    return t != TW_TOOLBOX_OTHER ? tw_toolbox_trouble_of(line) == t : strstr(line, "rror") != NULL;
}

void tw_toolbox_pick_line(const char *says, char *out, size_t out_bytes)
{
    const enum tw_toolbox_trouble t = tw_toolbox_trouble_of(says);
    char line[2000], best[2000] = "", last[2000] = "";
    for (const char *p = says; *p != '\0';) {
        const size_t n = strcspn(p, "\r\n");
        snprintf(line, sizeof line, "%.*s", (int)TW_MIN(n, sizeof line - 1), p);
        if (n > 0)
            memcpy(last, line, sizeof last);
        if (n > 0 && tells(line, t))
            memcpy(best, line, sizeof best);
        p += n + (p[n] != '\0');
    }
    /* podman says first what it was doing: the cause is at the end. */
    drop_colours(best);
    drop_colours(last);
    tw_field_text(best[0] != '\0' ? best : last, line, sizeof line);
    const size_t n = strlen(line), room = out_bytes - 4;
    const char *end = line + (n > room ? n - room : 0);
    while (((unsigned char)*end & 0xc0) == 0x80) /* not from within a character */
        end++;
    snprintf(out, out_bytes, "%s%s", n > room ? "..." : "", end);
}

int tw_toolbox_explain(const char *what, enum tw_toolbox_trouble t, const char *line, tw_err *err)
{
    const struct trouble *w = &troubles[t];
    if (t == TW_TOOLBOX_OTHER)
        return tw_err_set(err, w->code, "%.60s: %.170s", what, line[0] != '\0' ? line : "failed");
    /* Neither the cause nor the mend may be what is cut. */
    const size_t used = TW_MIN(strlen(what), 50u) + strlen(w->is) + strlen(w->mend) + 8;
    const size_t left = used + 20 < sizeof err->msg ? sizeof err->msg - used : 0, n = strlen(line);
    if (left == 0 || n == 0)
        return tw_err_set(err, w->code, "%.50s: %s: %s", what, w->is, w->mend);
    return tw_err_set(err, w->code, "%.50s: %s (%s): %s", what, w->is,
                      line + (n > left ? n - left : 0), w->mend);
}
