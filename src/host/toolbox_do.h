/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the steps of a plan on this node, one after the other; when one fails, or who asked has gone,
 * what was done is undone. Must not know: what the steps are for. */
#ifndef TWINAX_HOST_TOOLBOX_DO_H
#define TWINAX_HOST_TOOLBOX_DO_H

#include <stdbool.h>
#include <stdint.h>

#include "fmt/json.h"

typedef struct tw_toolbox_face {
    void *ctx;
    void (*begins)(void *ctx, const char *id, const char *title); /* NULL: nobody listens */
    void (*line)(void *ctx, const char *line);
    void (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes); /* every half second */
    bool (*should_stop)(void *ctx);
} tw_toolbox_face;

/* *ret: {"outs":{"check":"..."}} of the steps that report, and when one failed
 * {"failed":{"id":"pull","trouble":"disk full","says":"...","code":-28,"undone":true}}: that is an
 * answer, no error. Owns: the caller. Errors: a plan that is none, no memory. */
TW_MUST_CHECK int tw_toolbox_do(const json_t *steps, const tw_toolbox_face *face, json_t **ret,
                                tw_err *err);
/* Asks the registry, by skopeo or podman: {"digest":"sha256:..","bytes":N,"arch":"amd64"}, or
 * {"failed":{...}} as above. machine: "x86_64". */
TW_MUST_CHECK int tw_toolbox_resolve(const char *ref, const char *repo, const char *digest,
                                     const char *machine, bool has_skopeo,
                                     const tw_toolbox_face *face, json_t **ret, tw_err *err);

#endif
