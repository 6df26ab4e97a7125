/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/curl_lib.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "base/scope.h"

static tw_curl_lib lib;
static bool is_good;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool load(void *so, const char *name, void *ret_function)
{
    void *f = dlsym(so, name);
    memcpy(ret_function, &f, sizeof f); /* no cast between object and function pointers in C */
    return f != NULL;
}

static bool load_all(void *so)
{
    return load(so, "curl_global_init", &lib.global_init) &&
           load(so, "curl_easy_init", &lib.easy_init) &&
           load(so, "curl_easy_cleanup", &lib.easy_cleanup) &&
           load(so, "curl_easy_reset", &lib.easy_reset) &&
           load(so, "curl_easy_setopt", &lib.setopt) &&
           load(so, "curl_easy_getinfo", &lib.getinfo) &&
           load(so, "curl_easy_perform", &lib.perform) &&
           load(so, "curl_easy_strerror", &lib.easy_text) &&
           load(so, "curl_easy_escape", &lib.escape) && load(so, "curl_free", &lib.free) &&
           load(so, "curl_multi_init", &lib.multi_init) &&
           load(so, "curl_multi_cleanup", &lib.multi_cleanup) &&
           load(so, "curl_multi_add_handle", &lib.multi_add) &&
           load(so, "curl_multi_remove_handle", &lib.multi_remove) &&
           load(so, "curl_multi_perform", &lib.multi_perform) &&
           load(so, "curl_multi_info_read", &lib.multi_info) &&
           load(so, "curl_multi_poll", &lib.multi_poll) &&
           load(so, "curl_multi_setopt", &lib.multi_setopt);
}

static void load_lib(void)
{
    static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4"};
    void *so = NULL;
    for (size_t i = 0; i < TW_ARRAY_LEN(names) && so == NULL; i++)
        so = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    is_good = so != NULL && load_all(so) && lib.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

int tw_curl_get(const tw_curl_lib **ret, tw_err *err)
{
    (void)pthread_once(&once, load_lib);
    if (!is_good)
        return tw_err_set(err, -ENOSYS,
                          "libcurl.so.4 is not here (or older than 7.85): downloads want it: "
                          "install libcurl4 (Debian, Ubuntu) or libcurl (Fedora)");
    *ret = &lib;
    return 0;
}
