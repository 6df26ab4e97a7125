/* SPDX-License-Identifier: Apache-2.0 */
#include "host/toolbox_manifest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/json.h"
#include "host/facts_field.h"
#include "host/toolbox_ref.h"

#define BYTES_MAX (UINT64_C(1) << 44) /* 16 TiB: no image is larger */

const char *tw_toolbox_arch_of(const char *machine)
{
    if (strcmp(machine, "x86_64") == 0)
        return "amd64";
    return strcmp(machine, "aarch64") == 0 ? "arm64" : machine;
}

static void read_list(const json_t *list, const char *arch, tw_toolbox_manifest *m)
{
    size_t i, n = 0;
    json_t *v;
    json_array_foreach(list, i, v)
    {
        const json_t *platform = json_object_get(v, "platform");
        const char *is = tw_json_text_at(platform, "architecture"),
                   *os = tw_json_text_at(platform, "os");
        char plain[24];
        /* Attestations of a build are listed as architecture "unknown". */
        if (strcmp(os, "linux") != 0 || strcmp(is, "unknown") == 0)
            continue;
        tw_field_text(is, plain, sizeof plain);
        if (n < sizeof m->has)
            n += (size_t)snprintf(m->has + n, sizeof m->has - n, "%s%s", n > 0 ? ", " : "", plain);
        if (strcmp(is, arch) == 0 && m->digest[0] == '\0' &&
            tw_toolbox_digest_is_good(tw_json_text_at(v, "digest")))
            snprintf(m->digest, sizeof m->digest, "%.79s", tw_json_text_at(v, "digest"));
    }
}

static int read_layers(const char *name, const json_t *layers, tw_toolbox_manifest *m, tw_err *err)
{
    size_t i;
    json_t *v;
    json_array_foreach(layers, i, v)
    {
        const json_int_t size = json_integer_value(json_object_get(v, "size"));
        if (size < 0 || (uint64_t)size > BYTES_MAX || m->bytes > BYTES_MAX)
            return tw_err_set(err, -EBADMSG, "%s: layer %zu has no size that can be", name, i);
        m->bytes += (uint64_t)size;
        m->n_layers++;
    }
    return 0;
}

int tw_toolbox_manifest_parse(const char *name, const char *p, size_t n, const char *arch,
                              tw_toolbox_manifest *ret, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *v = NULL;
    tw_toolbox_manifest m = {.is_list = false};
    int rc = tw_json_parse(name, p, n, &v, err);
    if (rc != 0)
        return rc;
    const json_t *list = json_object_get(v, "manifests"), *layers = json_object_get(v, "layers");
    m.is_list = json_is_array(list);
    if (m.is_list)
        read_list(list, arch, &m);
    else if (json_is_array(layers))
        rc = read_layers(name, layers, &m, err);
    else
        rc = tw_err_set(err, -EBADMSG,
                        "%s: neither a list of manifests nor the manifest of an image", name);
    if (rc == 0)
        *ret = m;
    return rc;
}

int tw_toolbox_config_arch(const char *name, const char *p, size_t n, char out[24], tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *v = NULL;
    int rc = tw_json_parse(name, p, n, &v, err);
    if (rc == 0)
        tw_field_text(tw_json_text_at(v, "architecture"), out, 24);
    return rc;
}
