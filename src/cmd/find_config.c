/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/find_config.h"

#include <string.h>

#include "base/log.h"

int tw_find_config(tw_config_found *ret, tw_err *err)
{
    static char told[sizeof ret->warning]; /* some commands read it twice */
    int rc = tw_config_find(ret, err);
    if (ret->warning[0] != '\0' && strcmp(ret->warning, told) != 0)
        tw_log(TW_LOG_WARN, "config", "%s", ret->warning);
    memcpy(told, ret->warning, sizeof told);
    return rc;
}
