/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: 0 or a negative errno, and one line of text that names the exact cause.
 * The function that finds the cause fills the tw_err; callers pass it on untouched. */
#ifndef TWINAX_ERR_H
#define TWINAX_ERR_H

#ifdef __cplusplus
extern "C" {
#endif

#define TW_API                  __attribute__((visibility("default")))
#define TW_MUST_CHECK           __attribute__((warn_unused_result))
#define TW_PRINTF(i_fmt, i_arg) __attribute__((format(printf, i_fmt, i_arg)))

typedef struct tw_err {
    int code;      /* negative errno, 0 when nothing is wrong */
    char msg[240]; /* cause, thing, found, wanted, mend; one line, cut when longer */
} tw_err;

/* Fills *err (NULL is allowed) and returns code, which must be a negative errno. */
TW_API int tw_err_set(tw_err *err, int code, const char *fmt, ...) TW_PRINTF(3, 4);

#ifdef __cplusplus
}
#endif
#endif
