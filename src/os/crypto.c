/* SPDX-License-Identifier: Apache-2.0 */
#include "os/crypto.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"

/* Of openssl/evp.h and openssl/hmac.h, the same in 1.1 and 3. */
typedef struct evp_md_st evp_md;
typedef const evp_md *sha256_fn(void);
typedef unsigned char *hmac_fn(const evp_md *md, const void *key, int key_bytes,
                               const unsigned char *p, size_t n, unsigned char *ret,
                               unsigned *ret_bytes);

static struct lib {
    sha256_fn *sha256;
    hmac_fn *hmac;
    char why[160]; /* not loaded: the loader's words */
} lib;

/* A function's address out of an object's: ISO C has no cast for it. */
static void find_symbol(void *so, const char *name, void *ret_fn)
{
    void *p = dlsym(so, name);
    memcpy(ret_fn, &p, sizeof p);
}

static void load(void)
{
    static const char *const names[] = {"libcrypto.so.3", "libcrypto.so.1.1"};
    void *so = NULL;
    for (size_t i = 0; i < TW_ARRAY_LEN(names) && so == NULL; i++) {
        so = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (so == NULL && lib.why[0] == '\0')
            snprintf(lib.why, sizeof lib.why, "%s", dlerror());
    }
    if (so == NULL)
        return;
    find_symbol(so, "EVP_sha256", &lib.sha256);
    find_symbol(so, "HMAC", &lib.hmac);
    if (lib.sha256 == NULL || lib.hmac == NULL) {
        snprintf(lib.why, sizeof lib.why, "it has no EVP_sha256 or no HMAC");
        lib.hmac = NULL;
    }
}

int tw_crypto_hmac(const void *key, size_t key_bytes, const void *p, size_t n,
                   uint8_t ret[TW_HMAC_BYTES], tw_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    uint8_t out[64];
    unsigned out_bytes = sizeof out;
    pthread_once(&once, load);
    if (lib.hmac == NULL)
        return tw_err_set(err, -ENOPKG,
                          "libcrypto.so.3 cannot be loaded (%s): install it (apt: libssl3, dnf: "
                          "openssl-libs)",
                          lib.why);
    if (key_bytes > INT_MAX ||
        lib.hmac(lib.sha256(), key, (int)key_bytes, p, n, out, &out_bytes) == NULL ||
        out_bytes != TW_HMAC_BYTES)
        return tw_err_set(err, -EIO, "libcrypto: HMAC-SHA-256 of %zu bytes failed", n);
    memcpy(ret, out, TW_HMAC_BYTES);
    return 0;
}

bool tw_crypto_same(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;
    uint8_t diff = 0;
    for (size_t i = 0; i < n; i++)
        diff |= x[i] ^ y[i];
    return *(volatile uint8_t *)&diff == 0;
}
