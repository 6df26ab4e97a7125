/* SPDX-License-Identifier: Apache-2.0 */
/* Names: images as podman writes them, the channels, a container's name, date stamps.
 * Pure. Must not know podman. */
#ifndef TWINAX_HOST_TOOLBOX_REF_H
#define TWINAX_HOST_TOOLBOX_REF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "twinax/err.h"

enum { TW_TOOLBOX_NAME_BYTES = 64, TW_TOOLBOX_REF_BYTES = 200, TW_TOOLBOX_STAMP_BYTES = 16 };

#define TW_TOOLBOX_REPO "docker.io/kyuz0/vllm-therock-gfx1151"

/* "docker.io/kyuz0/vllm-therock-gfx1151:latest" */
typedef struct tw_toolbox_ref {
    char repo[TW_TOOLBOX_REF_BYTES]; /* with its registry */
    char tag[128];                   /* "": a digest alone */
    char digest[80];                 /* "sha256:..."; "": none was given */
} tw_toolbox_ref;

/* "NAME[:TAG][@sha256:HEX]". A name without a registry is docker.io's; without tag and digest the
 * tag is latest. -EINVAL says what is wrong with it. */
TW_MUST_CHECK int tw_toolbox_ref_parse(const char *text, tw_toolbox_ref *ret, tw_err *err);
/* REPO:TAG, or REPO@DIGEST without a tag. */
void tw_toolbox_ref_print(const tw_toolbox_ref *r, char *out, size_t out_bytes);
/* An image that only this machine's storage has: nobody can pull it. */
bool tw_toolbox_ref_is_local(const tw_toolbox_ref *r);
bool tw_toolbox_digest_is_good(const char *digest);

/* A channel of the default image: its tag, and the container's usual name. */
typedef struct tw_toolbox_channel {
    const char *name, *tag, *box;
} tw_toolbox_channel;

extern const tw_toolbox_channel
    tw_toolbox_channels[]; /* the first is the default; NULL at the end */
const tw_toolbox_channel *tw_toolbox_channel_find(const char *name); /* NULL: none */

/* What toolbox, distrobox and an image's name all take: a-z, 0-9, and single . _ - between. */
TW_MUST_CHECK int tw_toolbox_name_check(const char *name, tw_err *err);

/* "20261122-203005", UTC: when an image came into use. */
void tw_toolbox_stamp_print(int64_t unix_s, char out[TW_TOOLBOX_STAMP_BYTES]);
bool tw_toolbox_stamp_is_good(const char *text);
/* The stamp in an image's name, if it is one of box's: localhost/twinax/BOX:STAMP, or REPO:STAMP as
 * others keep them. NULL: none. Points into name. */
const char *tw_toolbox_stamp_of(const char *name, const char *box, const char *repo);
void tw_toolbox_stamp_name(const char *box, const char *stamp, char *out, size_t out_bytes);

#endif
