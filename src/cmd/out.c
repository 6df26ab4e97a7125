/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/out.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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
