/* SPDX-License-Identifier: Apache-2.0 */
#include "os/secret.h"

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

void tw_secret_guard(void)
{
    const struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

void tw_secret_env_wipe(const char *name)
{
    char *value = getenv(name);
    if (value != NULL)
        explicit_bzero(value, strlen(value));
    (void)unsetenv(name);
}
