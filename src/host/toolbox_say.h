/* SPDX-License-Identifier: Apache-2.0 */
/* What podman, skopeo, toolbox and distrobox complain of, told apart. Pure. */
#ifndef TWINAX_HOST_TOOLBOX_SAY_H
#define TWINAX_HOST_TOOLBOX_SAY_H

#include <stddef.h>

#include "twinax/err.h"

enum tw_toolbox_trouble {
    TW_TOOLBOX_OTHER,
    TW_TOOLBOX_UNREACHABLE, /* no way to the registry */
    TW_TOOLBOX_UNTRUSTED,   /* its certificate, or plain HTTP where TLS is wanted */
    TW_TOOLBOX_UNKNOWN,     /* it has no such image or tag */
    TW_TOOLBOX_DENIED,      /* it wants a login, or another */
    TW_TOOLBOX_TOO_MANY,    /* it wants us to wait */
    TW_TOOLBOX_FULL,        /* the disk */
    TW_TOOLBOX_ARCH,
    TW_TOOLBOX_DIGEST,   /* what came is not what was asked for */
    TW_TOOLBOX_ROOTLESS, /* no ranges of user ids, or no program to use them */
    TW_TOOLBOX_MEMLOCK,  /* a limit that may not be raised */
    TW_TOOLBOX_DEVICE,   /* one that the container wants is not there */
    TW_TOOLBOX_GROUPS,   /* keep-groups without crun */
    TW_TOOLBOX_BUS,      /* toolbox wants a system bus */
    TW_TOOLBOX_TROUBLES
};

/* says: all that the program wrote to stderr. */
enum tw_toolbox_trouble tw_toolbox_trouble_of(const char *says);
/* "unreachable" */
const char *tw_toolbox_trouble_name(enum tw_toolbox_trouble t);
enum tw_toolbox_trouble tw_toolbox_trouble_find(const char *name);
/* The line that tells the cause, its end when it is longer. */
void tw_toolbox_pick_line(const char *says, char *out, size_t out_bytes);
/* Fills err with what (node, step), the cause, podman's line, and the mend. Returns a code that each
 * trouble has of its own. */
int tw_toolbox_explain(const char *what, enum tw_toolbox_trouble t, const char *line, tw_err *err);

#endif
