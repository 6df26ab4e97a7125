/* SPDX-License-Identifier: Apache-2.0 */
/* What a registry says of an image: a list of manifests for several architectures, or the manifest of
 * one. Pure: bytes in, struct out (OCI image spec 1.1, Docker image manifest v2). */
#ifndef TWINAX_HOST_TOOLBOX_MANIFEST_H
#define TWINAX_HOST_TOOLBOX_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "twinax/err.h"

typedef struct tw_toolbox_manifest {
    bool is_list;
    char digest[80];   /* list: of the manifest for the wanted architecture */
    uint64_t bytes;    /* one image: its layers, as they travel */
    uint32_t n_layers; /* one image */
    char has[120];     /* list: the architectures that there are, "amd64, arm64" */
} tw_toolbox_manifest;

/* arch: as images call it ("amd64"). A list without it is no error: digest is "" then. */
TW_MUST_CHECK int tw_toolbox_manifest_parse(const char *name, const char *p, size_t n,
                                            const char *arch, tw_toolbox_manifest *ret,
                                            tw_err *err);
/* The architecture of an image's configuration; "" when it does not say. */
TW_MUST_CHECK int tw_toolbox_config_arch(const char *name, const char *p, size_t n, char out[24],
                                         tw_err *err);
/* "x86_64" -> "amd64" */
const char *tw_toolbox_arch_of(const char *machine);

#endif
