/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of packed weights, as loading sees it: a pack is found by a key made of everything that
 * decides its bytes (the model's identity; inode, size and times of each file; the shard; the plan of
 * pieces; the versions of arithmetic and of packing), mapped, and proven: every chunk by its sum, and
 * the smallest piece of each type by packing it anew. */
#ifndef TWINAX_MODEL_PACK_H
#define TWINAX_MODEL_PACK_H

#include "model/pack_keep.h"
#include "model/weights_inside.h"

/* Raised by whatever changes how weights lie in memory. */
enum { TW_PACK_LAYOUT = 2 };
enum { TW_PACK_MIN_BYTES = 64 << 20 }; /* less is packed faster than anybody notices */

/* 0: ret holds all of the shard. -ENOENT: there is none. Else why it was not taken; a damaged one
 * was removed. l->progress ends it, as it ends a load: ret_stopped. */
TW_MUST_CHECK int tw_pack_find(tw_loader *l, const tw_shard *s, const tw_pack_opts *o,
                               tw_team *team, tw_pack_map *ret, int *ret_stopped, tw_err *err);
/* Has what was loaded into l->base kept: once tw_pack_keep_go is called. -EAGAIN: files that were
 * changed a moment ago may change again without a trace. */
TW_MUST_CHECK int tw_pack_begin_keep(const tw_loader *l, const tw_shard *s, const tw_pack_opts *o,
                                     const tw_team *team, tw_pack_keep **ret, tw_err *err);

#endif
