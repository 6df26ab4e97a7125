/* SPDX-License-Identifier: Apache-2.0 */
/* What one node has for the container: tools, devices, limits, room, images, the container itself.
 * The facts are host/facts' own; podman is asked for what they do not hold. As JSON it goes from the
 * agent to the head. Must not know: what is wanted. */
#ifndef TWINAX_HOST_TOOLBOX_LOOK_H
#define TWINAX_HOST_TOOLBOX_LOOK_H

#include "fmt/json.h"
#include "host/facts.h"
#include "host/toolbox_ref.h"

enum {
    TW_TOOLBOX_IMAGES_MAX = 48,
    TW_TOOLBOX_NAMES_MAX = 12,
    TW_TOOLBOX_DIGESTS_MAX = 4,
    TW_TOOLBOX_BOXES_MAX = 32,
    TW_TOOLBOX_DEVICES_MAX = 3
};

typedef struct tw_toolbox_image {
    char id[72];
    uint64_t bytes, created_s;
    size_t n_names, n_digests;
    char names[TW_TOOLBOX_NAMES_MAX][TW_TOOLBOX_REF_BYTES];
    char digests[TW_TOOLBOX_DIGESTS_MAX][80]; /* by any of which it was pulled */
} tw_toolbox_image;

typedef struct tw_toolbox_box {
    char name[TW_TOOLBOX_NAME_BYTES], image_id[72], image[TW_TOOLBOX_REF_BYTES];
    char state[16];   /* "running", "exited", "created" */
    char made_by[16]; /* "toolbox", "distrobox", "" */
    char flags[600];  /* as we made it; "" by others */
    char rccl[72];    /* SHA-256 of a librccl of its own; "" none */
    uint64_t created_s;
    uint32_t n_changes; /* files of its own beside the image's */
    char change[120];   /* one of them */
} tw_toolbox_box;

/* A device that the container is to have. */
typedef struct tw_toolbox_device {
    char path[24];  /* "/dev/kfd" */
    char group[32]; /* whose members alone may open it; "": everybody may */
    bool usable;    /* this user may open it */
} tw_toolbox_device;

typedef struct tw_toolbox_look {
    char os[24], os_like[48], machine[16], user[64];
    bool ostree;
    char podman[24], toolbox[24], distrobox[24], skopeo[24]; /* versions, "?"; "": not there */
    char runtime[16], graph_root[160];
    uint64_t free_bytes, shm_bytes;  /* of graph_root's disk; /dev/shm as a whole */
    bool root, no_subids, may_raise; /* may_raise: limits beyond the hard ones */
    tw_count memlock_hard;
    size_t n_devices, n_images, n_boxes;
    tw_toolbox_device devices[TW_TOOLBOX_DEVICES_MAX];
    tw_toolbox_image images[TW_TOOLBOX_IMAGES_MAX];
    tw_toolbox_box boxes[TW_TOOLBOX_BOXES_MAX]; /* of toolbox, distrobox, or one by the name */
    bool rccl_there;                            /* the file that was asked for */
    char rccl_sha256[72];
    char trouble[16], says[300]; /* podman is there but does not work */
} tw_toolbox_look;

/* What is asked of a node. */
typedef struct tw_toolbox_ask {
    const char *box;       /* listed whoever made it; NULL: those of the tools alone */
    bool changes;          /* box's changes are counted */
    bool again;            /* images and containers alone: the rest stays as it was in *ret */
    const char *rccl_path; /* NULL: none */
    bool (*should_stop)(void *ctx);
    void *ctx;
} tw_toolbox_ask;

/* Cost: three podman commands (changes: four, again: two), 0.1 to 0.5 s each. What podman cannot do is in trouble, no error.
 * Owns: nothing; *ret is ~150 KiB, never on a stack. */
TW_MUST_CHECK int tw_toolbox_look_read(const tw_toolbox_ask *ask, tw_toolbox_look *ret,
                                       tw_err *err);
json_t *tw_toolbox_look_print(const tw_toolbox_look *l);
TW_MUST_CHECK int tw_toolbox_look_parse(const json_t *v, tw_toolbox_look *ret, tw_err *err);

/* ---- toolbox_podman.c: podman's own JSON, bytes in, struct out ---- */

/* `podman info --format json` */
TW_MUST_CHECK int tw_toolbox_take_info(const char *p, size_t n, tw_toolbox_look *l, tw_err *err);
/* `podman images --format json` */
TW_MUST_CHECK int tw_toolbox_take_images(const char *p, size_t n, tw_toolbox_look *l, tw_err *err);
/* `podman ps -a --format json`; box: taken whoever made it (NULL: none). */
TW_MUST_CHECK int tw_toolbox_take_boxes(const char *p, size_t n, const char *box,
                                        tw_toolbox_look *l, tw_err *err);
/* Says in a toolbox's container which librccl was put in; its SHA-256 follows. */
#define TW_TOOLBOX_RCCL_MARK "/etc/twinax-rccl-"
/* `podman container diff`: what its user changed, without what toolbox and distrobox write at its start. */
void tw_toolbox_take_diff(const char *p, tw_toolbox_box *b);
/* The facts' part. */
void tw_toolbox_take_facts(const tw_facts *f, tw_toolbox_look *l);

/* ---- finding ---- */

const tw_toolbox_box *tw_toolbox_find_box(const tw_toolbox_look *l, const char *name);
const tw_toolbox_image *tw_toolbox_find_image(const tw_toolbox_look *l, const char *id);
/* By a digest, or by one of its names. */
const tw_toolbox_image *tw_toolbox_find_digest(const tw_toolbox_look *l, const char *digest);
const tw_toolbox_image *tw_toolbox_find_named(const tw_toolbox_look *l, const char *name);
bool tw_toolbox_image_has_name(const tw_toolbox_image *m, const char *name);
/* The newest stamp of an image for this container; NULL: none. */
const char *tw_toolbox_image_stamp(const tw_toolbox_image *m, const char *box, const char *repo);

#endif
