/* SPDX-License-Identifier: Apache-2.0 */
#include "vllm/versions.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "vllm/part.h"

#define MARK "twinax-versions "

/* $1: vllm, a path or a name on PATH. Its Python lies beside it in a virtual environment; else its
 * first line names it. */
static const char shell[] =
    "v=$(command -v \"$1\") && [ -x \"$v\" ] || { echo \"no $1\"; exit 3; }\n"
    "p=${v%/*}/python3\n"
    "export PYTHONDONTWRITEBYTECODE=1\n"
    "[ -x \"$p\" ] && exec \"$p\" -c \"$2\"\n"
    "IFS= read -r l <\"$v\"\n"
    "case $l in '#!'/*python*) p=${l#??};; *) p=python3;; esac\n"
    "exec $p -c \"$2\"\n";

/* torch's own version has what its build is for ("+rocm6.4"), its metadata has not. A librccl built by
 * hand has a short version: its size tells it from another. */
static const char python[] =
    "import glob, json, os, re, sys\n"
    "from importlib import metadata, util\n"
    "def has(name):\n"
    "    try: return metadata.version(name)\n"
    "    except Exception: return ''\n"
    "def read(path):\n"
    "    try: return open(path).read()\n"
    "    except OSError: return ''\n"
    "try: torch = list(util.find_spec('torch').submodule_search_locations)[0]\n"
    "except Exception: torch = '/nowhere/torch'\n"
    "text, site = read(torch + '/version.py'), os.path.dirname(torch)\n"
    "def said(name):\n"
    "    m = re.search(r'^' + name + r'\\b[^=\\n]*= *[\\'\"]([^\\'\"]*)', text, re.M)\n"
    "    return m.group(1) if m else ''\n"
    "def rccl():\n"
    "    for place in os.environ.get('LD_LIBRARY_PATH', '').split(':') + [torch + '/lib',\n"
    "            site + '/_rocm_sdk_*/lib', '/opt/rocm*/lib', '/opt/rocm*/lib64']:\n"
    "        for f in sorted(glob.glob(place + '/librccl.so*')) if place else []:\n"
    "            f = os.path.realpath(f)\n"
    "            v = os.path.basename(f).partition('.so.')[2]\n"
    "            return v if v.count('.') > 1 else '%s (%d bytes)' % (v, os.path.getsize(f))\n"
    "    return ''\n"
    "nccl = glob.glob(site + '/nvidia_nccl_cu*.dist-info')\n"
    "print('\\n" MARK "' + json.dumps({\n"
    "    'python': '%d.%d.%d' % sys.version_info[:3], 'ray': has('ray'), 'vllm': has('vllm'),\n"
    "    'torch': said('__version__') or has('torch'), 'hip': said('hip'), 'cuda': said('cuda'),\n"
    "    'rccl': rccl(), 'nccl': os.path.basename(nccl[0]).split('-')[1][:-5] if nccl else ''}))\n";

json_t *tw_vllm_versions_part(const tw_vllm_place *place)
{
    char vllm[300] = "vllm";
    if (place->where == TW_VLLM_IN_VENV)
        snprintf(vllm, sizeof vllm, "%s/bin/vllm", place->name);
    return tw_vllm_short_part(place, json_pack("{s:[s, s, s, s, s, s]}", "argv", "sh", "-c", shell,
                                               "sh", vllm, python));
}

/* ---- its answer ---- */

/* One table for reading, printing and comparing. */
static const struct field {
    const char *key, *name;
    size_t at;
    enum { SHOWN, MINOR, EXACT } must; /* agree between nodes */
} fields[] = {
    {"python", "Python", offsetof(tw_vllm_versions, python), MINOR},
    {"ray", "Ray", offsetof(tw_vllm_versions, ray), EXACT},
    {"vllm", "vLLM", offsetof(tw_vllm_versions, vllm), EXACT},
    {"torch", "torch", offsetof(tw_vllm_versions, torch), EXACT},
    {"hip", "HIP", offsetof(tw_vllm_versions, hip), SHOWN},
    {"cuda", "CUDA", offsetof(tw_vllm_versions, cuda), SHOWN},
    {"rccl", "RCCL", offsetof(tw_vllm_versions, rccl), SHOWN},
    {"nccl", "NCCL", offsetof(tw_vllm_versions, nccl), EXACT},
};

static const char *value_of(const tw_vllm_versions *v, const struct field *f)
{
    return (const char *)v + f->at;
}

static void take_plain(const char *text, char out[TW_VLLM_VERSION_BYTES])
{
    size_t n = 0;
    for (; text[n] != '\0' && n + 1 < TW_VLLM_VERSION_BYTES; n++)
        out[n] = text[n] >= 0x20 && text[n] < 0x7f ? text[n] : '?';
    out[n] = '\0';
}

static bool take_json(const char *p, size_t n, tw_vllm_versions *ret)
{
    TW_CLEANUP(tw_json_freep) json_t *v = NULL;
    tw_err ignored;
    if (tw_json_parse("versions", p, n, &v, &ignored) != 0 || !json_is_object(v))
        return false;
    for (size_t i = 0; i < TW_ARRAY_LEN(fields); i++)
        take_plain(tw_json_text_at(v, fields[i].key), (char *)ret + fields[i].at);
    return ret->python[0] != '\0';
}

void tw_vllm_versions_parse(const char *p, size_t n, tw_vllm_versions *ret)
{
    static const size_t n_mark = sizeof MARK - 1;
    const char *last = "it said nothing";
    size_t n_last = strlen(last);
    *ret = (tw_vllm_versions){.is_known = false};
    for (const char *end = p + n, *next; p < end; p = next) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        const size_t len = (size_t)((stop != NULL ? stop : end) - p);
        next = p + len + 1;
        if (len > n_mark && memcmp(p, MARK, n_mark) == 0 &&
            take_json(p + n_mark, len - n_mark, ret)) {
            ret->is_known = true;
            return;
        }
        if (len > 0) {
            last = p;
            n_last = len;
        }
    }
    for (size_t i = 0; i < n_last && i + 1 < sizeof ret->why; i++)
        ret->why[i] = last[i] >= 0x20 && last[i] < 0x7f ? last[i] : '?';
}

json_t *tw_vllm_versions_print(const char *node, const tw_vllm_versions *v)
{
    json_t *o = json_pack("{s:s}", "node", node);
    int rc = o == NULL ? -1 : 0;
    for (size_t i = 0; i < TW_ARRAY_LEN(fields) && rc == 0; i++)
        if (value_of(v, &fields[i])[0] != '\0')
            rc = json_object_set_new(o, fields[i].key, json_string(value_of(v, &fields[i])));
    if (rc == 0 && !v->is_known)
        rc = json_object_set_new(o, "why", json_string(v->why));
    if (rc == 0)
        return o;
    json_decref(o);
    return NULL;
}

/* ---- whether they agree ---- */

/* "3.11" of "3.11.7" */
static size_t minor_len(const char *v)
{
    const size_t n = strcspn(v, ".");
    return v[n] == '.' ? n + 1 + strcspn(v + n + 1, ".") : n;
}

static bool agree(const struct field *f, const char *a, const char *b)
{
    if (f->must == SHOWN || a[0] == '\0' || b[0] == '\0' || strcmp(a, b) == 0)
        return true;
    const size_t n = minor_len(a);
    return f->must == MINOR && n == minor_len(b) && memcmp(a, b, n) == 0;
}

int tw_vllm_versions_agree(const char *const *names, const tw_vllm_versions *v, size_t n,
                           const tw_vllm_place *place, tw_err *err)
{
    const bool in_box = place->where == TW_VLLM_IN_CONTAINER;
    for (size_t k = 0; k < TW_ARRAY_LEN(fields); k++)
        for (size_t i = 1; i < n; i++) {
            const char *found = value_of(&v[i], &fields[k]), *wanted = value_of(&v[0], &fields[k]);
            if (!agree(&fields[k], found, wanted))
                return tw_err_set(err, -ELIBBAD,
                                  "%.40s: %s %s, wanted %s as on %.40s: %s; --any-versions starts "
                                  "it all the same",
                                  names[i], fields[k].name, found, wanted, names[0],
                                  in_box ? "twinax toolbox refresh gives all nodes one image"
                                         : "install the same on both");
        }
    return 0;
}

bool tw_vllm_versions_ray_has_door(const tw_vllm_versions *v)
{
    unsigned major = 0, minor = 0;
    if (sscanf(v->ray, "%4u.%4u", &major, &minor) != 2)
        return true;
    return major > 2 || (major == 2 && minor >= 52);
}
