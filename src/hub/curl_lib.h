/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl, loaded when the first download begins: a machine without it still runs everything else.
 * Numbers go to it as curl_off_t, which is as wide as what setopt and getinfo want. */
#ifndef TWINAX_HUB_CURL_LIB_H
#define TWINAX_HUB_CURL_LIB_H

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

#include "twinax/err.h"

_Static_assert(sizeof(curl_off_t) == sizeof(void *), "setopt's numbers are register-wide");

typedef struct tw_curl_lib {
    CURLcode (*global_init)(curl_off_t flags);
    CURL *(*easy_init)(void);
    void (*easy_cleanup)(CURL *h);
    void (*easy_reset)(CURL *h);
    CURLcode (*setopt)(CURL *h, CURLoption o, ...);
    CURLcode (*getinfo)(CURL *h, CURLINFO i, ...);
    CURLcode (*perform)(CURL *h);
    const char *(*easy_text)(CURLcode c);
    char *(*escape)(CURL *h, const char *s, int n);
    void (*free)(void *p);
    CURLM *(*multi_init)(void);
    CURLMcode (*multi_cleanup)(CURLM *m);
    CURLMcode (*multi_add)(CURLM *m, CURL *h);
    CURLMcode (*multi_remove)(CURLM *m, CURL *h);
    CURLMcode (*multi_perform)(CURLM *m, int *n_running);
    CURLMsg *(*multi_info)(CURLM *m, int *n_left);
    CURLMcode (*multi_poll)(CURLM *m, struct curl_waitfd *extra, unsigned n, int ms, int *n_fds);
    CURLMcode (*multi_setopt)(CURLM *m, CURLMoption o, ...);
} tw_curl_lib;

/* -ENOSYS names the package. Thread: any; the first call loads. */
TW_MUST_CHECK int tw_curl_get(const tw_curl_lib **ret, tw_err *err);

#endif
