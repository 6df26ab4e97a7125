/* SPDX-License-Identifier: Apache-2.0 */
#include "host/toolbox_probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"
#include "host/facts_field.h"

/* No __pycache__: that would be a change of the container. A python3 on PATH may be the host's, in
 * the home that both share (pyenv): it comes last. */
const char tw_toolbox_probe[] =
    "export PYTHONDONTWRITEBYTECODE=1\n"
    "say() { echo \"twinax $*\"; }\n"
    "say machine $(uname -m)\n"
    "say memlock $(ulimit -l)\n"
    "for d in /dev/kfd /dev/dri/renderD* /dev/infiniband/uverbs*; do\n"
    "  [ -e \"$d\" ] || continue\n"
    "  if [ -r \"$d\" ] && [ -w \"$d\" ]; then say open $d; else say shut $d; fi\n"
    "done\n"
    "for p in /opt/venv/bin/python /usr/bin/python3 \"$(command -v python3)\"; do\n"
    "  [ -x \"$p\" ] && break; p=; done\n"
    "if [ -n \"$p\" ]; then\n"
    "  out=$(\"$p\" -c 'import torch; print(torch.__version__)' 2>&1); rc=$?\n"
    "  last=$(printf '%s\\n' \"$out\" | tail -n 1)\n"
    "  case $last in *\"No module named 'torch'\"*) say torch none;; *) say torch $rc $last;; "
    "esac\n"
    "else say torch none; fi\n"
    "for r in /opt/rocm*/.info/version; do [ -r \"$r\" ] && say rocm $(cat \"$r\"); done\n"
    "find /opt /usr -xdev -name 'rocm-*.dist-info' 2>/dev/null | head -n 1 | while read -r r; do\n"
    "  r=${r##*/rocm-}; say rocm ${r%.dist-info}; done\n"
    "find /opt /usr -xdev -type f -name 'librccl.so*' 2>/dev/null | head -n 8 | while read -r l; "
    "do\n"
    "  if grep -q gfx1151 \"$l\"; then say rccl yes $l; else say rccl no $l; fi; done\n"
    "say end\n";

/* ---- reading ---- */

static void take_torch(const char *v, tw_toolbox_probed *p)
{
    char plain[200];
    tw_field_text(v, plain, sizeof plain);
    if (strcmp(v, "none") == 0)
        return;
    const bool good = plain[0] == '0' && plain[1] == ' ';
    p->torch_is = good ? TW_TORCH_GOOD : TW_TORCH_BROKEN;
    if (good)
        snprintf(p->torch, sizeof p->torch, "%.39s", plain + 2);
    else
        snprintf(p->torch_says, sizeof p->torch_says, "%.159s",
                 strchr(plain, ' ') != NULL ? strchr(plain, ' ') + 1 : plain);
}

static void take_rccl(const char *v, tw_toolbox_probed *p)
{
    const bool has = strncmp(v, "yes ", 4) == 0;
    const char *path = has ? v + 4 : strncmp(v, "no ", 3) == 0 ? v + 3 : "";
    /* A path that is passed on to podman: nothing but what libraries are called. */
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "/._-+";
    if (path[0] != '/' || strspn(path, plain) != strlen(path) || strlen(path) >= 160 ||
        p->n_rccl == TW_TOOLBOX_PROBE_RCCL_MAX)
        return;
    p->rccl_has[p->n_rccl] = has;
    snprintf(p->rccl[p->n_rccl++], sizeof p->rccl[0], "%s", path);
}

static void take(const char *key, const char *v, tw_toolbox_probed *p)
{
    if (strcmp(key, "machine") == 0)
        tw_field_text(v, p->machine, sizeof p->machine);
    else if (strcmp(key, "memlock") == 0) {
        p->memlock_unlimited = strcmp(v, "unlimited") == 0;
        if (!p->memlock_unlimited && tw_str_to_u64(v, &p->memlock_kib) != 0)
            p->memlock_kib = 0;
    } else if (strcmp(key, "open") == 0)
        p->n_open++;
    else if (strcmp(key, "shut") == 0 && p->n_shut < TW_FACTS_DEVS_MAX)
        tw_field_text(v, p->shut[p->n_shut++], sizeof p->shut[0]);
    else if (strcmp(key, "torch") == 0)
        take_torch(v, p);
    else if (strcmp(key, "rocm") == 0 && p->rocm[0] == '\0')
        tw_field_text(v, p->rocm, sizeof p->rocm);
    else if (strcmp(key, "rccl") == 0)
        take_rccl(v, p);
    else if (strcmp(key, "end") == 0)
        p->answered = true;
}

void tw_toolbox_probe_parse(const char *text, tw_toolbox_probed *ret)
{
    *ret = (tw_toolbox_probed){.answered = false};
    while (*text != '\0') {
        const size_t n = strcspn(text, "\r\n");
        char line[400];
        snprintf(line, sizeof line, "%.*s", (int)TW_MIN(n, sizeof line - 1), text);
        if (strncmp(line, "twinax ", 7) == 0) {
            char *value = strchr(line + 7, ' ');
            if (value != NULL)
                *value++ = '\0';
            take(line + 7, value != NULL ? value : "", ret);
        }
        text += n + (text[n] != '\0');
    }
}

/* ---- judging ---- */

tw_tri tw_toolbox_rccl_supports(const tw_toolbox_probed *p)
{
    unsigned major = 0, minor = 0;
    for (size_t i = 0; i < p->n_rccl; i++)
        if (p->rccl_has[i])
            return TW_YES;
    if (sscanf(p->rocm, "%u.%u", &major, &minor) != 2)
        return TW_UNKNOWN;
    /* Its code may be packed, and not to be found by a search: the version tells then. */
    return tw_tri_of(major > 7 || (major == 7 && minor >= 14));
}

int tw_toolbox_probe_judge(const tw_toolbox_probed *p, const json_t *devices, tw_err *err)
{
    size_t k;
    json_t *v;
    if (!p->answered)
        return tw_err_set(err, -EIO,
                          "the container starts, but its shell did not answer to the end");
    if (p->torch_is == TW_TORCH_BROKEN)
        return tw_err_set(err, -EIO, "in the container `import torch` fails: %.150s",
                          p->torch_says);
    for (size_t i = 0; i < p->n_shut; i++)
        json_array_foreach(devices, k, v)
        {
            const char *path = json_string_value(v);
            if (path != NULL && strncmp(p->shut[i], path, strlen(path)) == 0)
                return tw_err_set(err, -EACCES,
                                  "in the container %s cannot be opened, though this user may: "
                                  "try --with distrobox",
                                  p->shut[i]);
        }
    return 0;
}

void tw_toolbox_probe_print(const tw_toolbox_probed *p, char *out, size_t out_bytes)
{
    char memlock[40] = "unlimited";
    const tw_tri rccl = tw_toolbox_rccl_supports(p);
    if (!p->memlock_unlimited)
        snprintf(memlock, sizeof memlock, "%llu KiB", (unsigned long long)p->memlock_kib);
    snprintf(out, out_bytes, "%s%s%s%s, %s, memlock %s, %zu device%s",
             p->torch_is == TW_TORCH_GOOD ? "torch " : "no torch", p->torch,
             p->rocm[0] != '\0' ? ", ROCm " : "", p->rocm,
             p->n_rccl == 0   ? "no RCCL"
             : rccl == TW_YES ? "RCCL runs on gfx1151"
             : rccl == TW_NO  ? "RCCL lacks gfx1151"
                              : "RCCL perhaps without gfx1151",
             memlock, p->n_open, p->n_open == 1 ? "" : "s");
}
