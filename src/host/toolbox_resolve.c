/* SPDX-License-Identifier: Apache-2.0 */
/* Which image a name means now, and how large it is: podman's own ways and logins to the registry. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/scope.h"
#include "host/setup_exec.h"
#include "host/toolbox_do.h"
#include "host/toolbox_manifest.h"
#include "host/toolbox_say.h"
#include "os/sha256.h"

enum { MANIFEST_MAX = 4 << 20, SAYS_MAX = 64 * 1024, NAME_BYTES = 400, SAID_BYTES = 300 };
#define ASK_LIMIT_NS (60 * TW_NS_PER_S)

typedef struct asker {
    const char *repo, *arch;
    bool has_skopeo;
    const tw_toolbox_face *face;
    tw_buf out, says;
} asker;

static bool stops(void *ctx)
{
    const asker *a = ctx;
    return a->face->should_stop != NULL && a->face->should_stop(a->face->ctx);
}

static int ask(asker *a, const char *const *argv, tw_err *err)
{
    const tw_exec_job j = {.argv = argv,
                           .limit_ns = ASK_LIMIT_NS,
                           .out = &a->out,
                           .says = &a->says,
                           .should_stop = stops,
                           .ctx = a};
    tw_buf_reset(&a->out);
    tw_buf_reset(&a->says);
    int rc = tw_exec_run(&j, err);
    return rc == 0 && a->out.data == NULL ? tw_buf_puts(&a->out, "") : rc;
}

static int ask_manifest(asker *a, const char *name, tw_toolbox_manifest *ret, tw_err *err)
{
    char full[NAME_BYTES];
    snprintf(full, sizeof full, "docker://%.389s", name);
    const char *const skopeo[] = {"skopeo", "inspect", "--raw", full, NULL};
    const char *const podman[] = {"podman", "manifest", "inspect", name, NULL};
    int rc = ask(a, a->has_skopeo ? skopeo : podman, err);
    return rc != 0 ? rc
                   : tw_toolbox_manifest_parse(name, a->out.data, a->out.len, a->arch, ret, err);
}

static int ask_arch(asker *a, const char *name, char out[24], tw_err *err)
{
    char full[NAME_BYTES];
    snprintf(full, sizeof full, "docker://%.389s", name);
    const char *const argv[] = {"skopeo", "inspect", "--config", full, NULL};
    out[0] = '\0';
    if (!a->has_skopeo)
        return 0; /* podman says it once the image is here */
    int rc = ask(a, argv, err);
    return rc != 0 ? rc : tw_toolbox_config_arch(name, a->out.data, a->out.len, out, err);
}

static void hash_of(const tw_buf *b, char out[80])
{
    uint8_t hash[TW_SHA256_BYTES];
    tw_sha256 s;
    memcpy(out, "sha256:", 7);
    tw_sha256_init(&s);
    tw_sha256_add(&s, b->data, b->len);
    tw_sha256_end(&s, hash);
    tw_sha256_print(hash, out + 7);
}

static int no_digest(asker *a, const char *ref, tw_err *err)
{
    tw_buf_reset(&a->says);
    return tw_err_set(err, -ENOENT,
                      "%.80s: which digest it has only skopeo can tell here: install skopeo", ref);
}

static int look(asker *a, const char *ref, tw_toolbox_manifest *m, char digest[80], char arch[24],
                tw_err *err)
{
    char name[NAME_BYTES];
    int rc = ask_manifest(a, ref, m, err);
    /* podman shows lists alone (4.x), or the text of a manifest without its very bytes (5.x). */
    if (rc != 0 && !a->has_skopeo && a->says.data != NULL &&
        strstr(a->says.data, "single image") != NULL)
        return no_digest(a, ref, err);
    if (rc != 0)
        return rc;
    const bool is_list = m->is_list;
    if (is_list && m->digest[0] == '\0')
        return tw_err_set(err, -ENOEXEC, "%.80s is made for %s, these machines are %s: see --image",
                          ref, m->has[0] != '\0' ? m->has : "no Linux", a->arch);
    if (is_list)
        snprintf(digest, 80, "%s", m->digest);
    else if (digest[0] == '\0' && a->has_skopeo)
        hash_of(&a->out, digest);
    else if (digest[0] == '\0')
        return no_digest(a, ref, err);
    snprintf(name, sizeof name, "%s@%s", a->repo, digest);
    if (is_list && a->has_skopeo)
        rc = ask_manifest(a, name, m, err);
    if (rc == 0 && !is_list)
        rc = ask_arch(a, name, arch, err);
    else if (rc == 0)
        snprintf(arch, 24, "%s", a->arch);
    return rc;
}

int tw_toolbox_resolve(const char *ref, const char *repo, const char *digest, const char *machine,
                       bool has_skopeo, const tw_toolbox_face *face, json_t **ret, tw_err *err)
{
    asker a = {.repo = repo,
               .arch = tw_toolbox_arch_of(machine),
               .has_skopeo = has_skopeo,
               .face = face,
               .out = TW_BUF(MANIFEST_MAX),
               .says = TW_BUF(SAYS_MAX)};
    tw_toolbox_manifest m = {.is_list = false};
    char found[80], arch[24] = "", line[SAID_BYTES];
    tw_err why = {0};
    snprintf(found, sizeof found, "%.79s", digest);
    int rc = look(&a, ref, &m, found, arch, &why);
    const char *says = rc == -EIO && a.says.len > 0 ? a.says.data : why.msg;
    tw_toolbox_pick_line(says, line, sizeof line);
    *ret = rc == 0 ? json_pack("{s:s, s:I, s:s}", "digest", found, "bytes", (json_int_t)m.bytes,
                               "arch", arch)
                   : json_pack("{s:{s:s, s:s, s:s, s:i}}", "failed", "id", "resolve", "trouble",
                               tw_toolbox_trouble_name(tw_toolbox_trouble_of(says)), "says", line,
                               "code", rc);
    tw_buf_done(&a.out);
    tw_buf_done(&a.says);
    return *ret != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory for an answer");
}
