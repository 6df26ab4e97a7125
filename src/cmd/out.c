/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/out.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"

int tw_out_failed(int cause, tw_err *err)
{
    if (cause == EPIPE)
        return tw_err_set(err, -cause, "stdout: who read it has gone");
    return tw_err_set(err, -cause, "stdout: cannot write: %s", strerror(cause));
}

int tw_out_flush(tw_err *err)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    if (errno != 0)
        return tw_out_failed(errno, err);
    return tw_err_set(err, -EIO,
                      "stdout: cannot write all of it (a full disk?)"); /* an earlier one's */
}

int tw_out_json(const json_t *v, tw_err *err)
{
    char *text = v != NULL ? json_dumps(v, JSON_INDENT(1)) : NULL;
    if (text == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for JSON");
    puts(text);
    tw_mem_free(text);
    return 0;
}

void tw_out_bytes(double bytes, char out[24])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    unsigned i = 0;
    while (bytes >= 1024 && i + 1 < TW_ARRAY_LEN(units)) {
        bytes /= 1024;
        i++;
    }
    snprintf(out, 24, i == 0 ? "%.0f %s" : "%.1f %s", bytes, units[i]);
}
