/* SPDX-License-Identifier: Apache-2.0 */
/* What is done on one node so that its container is the one that is wanted: a list of commands, as
 * JSON from the start, since it is shown, sent and run as it is:
 *
 *    {"schema":1,"node":"box2","with":"toolbox","image":"docker.io/...:latest","digest":"sha256:...",
 *     "fetch":[STEP,..], "swap":[STEP,..], "notes":["..."], "asks":["..."], "current":false}
 *    STEP: {"id":"pull","title":"...","argv":["podman",..],"undo":[..],"may_fail":true,"report":true,
 *           "progress":true,"judge":["/dev/kfd",..]}
 *    report: what it prints is in the answer; judge: that is a probe's answer, which must be good
 *
 * fetch can be broken off at any time. swap is done as a whole or undone: each step's undo, the last
 * first. asks: what is lost by it, to be consented to. No steps: all is as wanted.
 * Pure: looks and wishes in, JSON out. Must not know how steps are run. */
#ifndef TWINAX_HOST_TOOLBOX_PLAN_H
#define TWINAX_HOST_TOOLBOX_PLAN_H

#include "base/buf.h"
#include "host/toolbox_look.h"
#include "host/toolbox_manifest.h"

enum { TW_TOOLBOX_RCCL_MAX = 4 };

typedef struct tw_toolbox_want {
    const char *box;    /* the container's name */
    tw_toolbox_ref ref; /* refresh: the image; digest is set once it is known */
    const char *stamp;  /* now; rollback: that of the image to go back to */
    bool rollback;
    const char *with;      /* "toolbox", "distrobox"; NULL: what suits */
    uint64_t image_bytes;  /* as it travels; 0: unknown */
    char arch[24];         /* of the image; "": unknown */
    const char *rccl_path; /* of --rccl; NULL: the image's own */
    size_t n_rccl;         /* where the image has it; 0: not known yet */
    char rccl[TW_TOOLBOX_RCCL_MAX][160];
} tw_toolbox_want;

/* -EINVAL and others: this node cannot have it; err names what is wrong and the mend. Owns: the
 * caller, json_decref. */
TW_MUST_CHECK int tw_toolbox_plan(const char *node, const tw_toolbox_look *l,
                                  const tw_toolbox_want *w, json_t **ret, tw_err *err);
/* Only what makes the image tell what librccl it has: before a plan with --rccl. */
json_t *tw_toolbox_plan_inspect(const tw_toolbox_look *l, const tw_toolbox_want *w);
/* As a person reads it. */
TW_MUST_CHECK int tw_toolbox_plan_text(const json_t *plan, tw_buf *out, tw_err *err);

/* The images that this container had: stamps older than the newest `keep` of those that it does not
 * use now. */
typedef struct tw_toolbox_old {
    const tw_toolbox_image *image;
    const char *stamp;
    bool used; /* by a container */
} tw_toolbox_old;

/* All with a stamp, the newest first. */
size_t tw_toolbox_list_old(const tw_toolbox_look *l, const char *box, const char *repo,
                           tw_toolbox_old *ret, size_t max);
/* {"id":"remove","argv":["podman","rmi",..]}: its stamps are taken away, with the last name it goes. */
json_t *tw_toolbox_plan_remove(const tw_toolbox_image *m, const char *box, const char *repo);
/* Where rollback goes: stamp, or without one the newest that is older than what the container has.
 * NULL: none. */
const tw_toolbox_image *tw_toolbox_find_back(const tw_toolbox_look *l, const char *box,
                                             const char *repo, const char *stamp,
                                             const char **ret_stamp);

#endif
