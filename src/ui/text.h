/* SPDX-License-Identifier: Apache-2.0 */
/* Text made fit for a row of a terminal: cut by columns, without what would steer the terminal, in
 * ASCII where the locale has no more; and small bars.
 * Pure: must not know a screen. */
#ifndef TWINAX_UI_TEXT_H
#define TWINAX_UI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TW_UI_ROW_BYTES = 1600 }; /* a row of 400 columns, four bytes each */

/* Columns of well-formed UTF-8; every other byte, and a control character, counts one. */
size_t tw_ui_columns(const char *text);
/* text as it may be shown, at most `width` columns, with an ellipsis where it was cut; returns the
 * columns taken. out holds TW_UI_ROW_BYTES. ascii: what is beyond it becomes its like, or '?'. */
size_t tw_ui_clip(const char *text, size_t width, bool ascii, char *out);
/* Bytes of text that make the next row of at most `width` columns, broken at a space where there is
 * one; *ret_skip: spaces after them, which no row needs. 0: nothing is left. */
size_t tw_ui_wrap(const char *text, size_t width, size_t *ret_skip);

/* A bar of `width` columns, share in [0, 1] of it full. */
void tw_ui_bar(double share, size_t width, bool ascii, char *out);
/* One column for each of v [n], the highest for `most`; 0 stays empty. */
void tw_ui_spark(const double *v, size_t n, double most, bool ascii, char *out);

void tw_ui_bytes(double bytes, char out[16]);    /* "61.3 GiB" */
void tw_ui_disk(double bytes, char out[16]);     /* "16.1 GB": as hubs and disks count */
void tw_ui_span(uint64_t seconds, char out[24]); /* "3 min 12 s" */

#endif
