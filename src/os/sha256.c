/* SPDX-License-Identifier: Apache-2.0 */
#include "os/sha256.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"

enum { BLOCK = 64, LENGTH_AT = 56 };

/* ---- libcrypto ---- */

static struct lib {
    void *(*ctx_new)(void);
    void (*ctx_free)(void *ctx);
    const void *(*sha256)(void);
    int (*init)(void *ctx, const void *type, void *engine);
    int (*update)(void *ctx, const void *p, size_t n);
    int (*final)(void *ctx, unsigned char *out, unsigned *n);
} lib;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_bool has_lib;

static bool load(void *so, const char *name, void *ret_function)
{
    void *f = dlsym(so, name);
    memcpy(ret_function, &f, sizeof f); /* no cast between object and function pointers in C */
    return f != NULL;
}

static void load_lib(void)
{
    static const char *const names[] = {"libcrypto.so.3", "libcrypto.so.1.1"};
    void *so = NULL;
    for (size_t i = 0; i < TW_ARRAY_LEN(names) && so == NULL; i++)
        so = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    const bool good =
        so != NULL && load(so, "EVP_MD_CTX_new", &lib.ctx_new) &&
        load(so, "EVP_MD_CTX_free", &lib.ctx_free) && load(so, "EVP_sha256", &lib.sha256) &&
        load(so, "EVP_DigestInit_ex", &lib.init) && load(so, "EVP_DigestUpdate", &lib.update) &&
        load(so, "EVP_DigestFinal_ex", &lib.final);
    atomic_store(&has_lib, good);
}

void tw_sha256_use_own(void)
{
    (void)pthread_once(&once, load_lib);
    atomic_store(&has_lib, false);
}

/* ---- ours ---- */

static uint32_t rotate(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

/* First 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static void expand(const uint8_t block[BLOCK], uint32_t w[64])
{
    for (unsigned i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (unsigned i = 16; i < 64; i++) {
        const uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] +
               (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
}

static void take_block(uint32_t h[8], const uint8_t block[BLOCK])
{
    uint32_t w[64], v[8];
    expand(block, w);
    memcpy(v, h, sizeof v);
    for (unsigned i = 0; i < 64; i++) {
        const uint32_t a = v[0], e = v[4];
        const uint32_t t1 = v[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
                            ((e & v[5]) ^ (~e & v[6])) + constants[i] + w[i];
        const uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +
                            ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof v[0]);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (unsigned i = 0; i < 8; i++)
        h[i] += v[i];
}

static void add_own(tw_sha256 *s, const uint8_t *p, size_t n)
{
    while (n > 0) {
        const size_t at = (size_t)(s->n_bytes % BLOCK), k = TW_MIN(n, BLOCK - at);
        memcpy(s->block + at, p, k);
        s->n_bytes += k;
        p += k;
        n -= k;
        if (s->n_bytes % BLOCK == 0)
            take_block(s->h, s->block);
    }
}

static void end_own(tw_sha256 *s, uint8_t ret[TW_SHA256_BYTES])
{
    const uint64_t bits = s->n_bytes * 8;
    uint8_t tail[8];
    for (unsigned i = 0; i < 8; i++)
        tail[i] = (uint8_t)(bits >> (56 - 8 * i));
    add_own(s, (const uint8_t *)"\x80", 1);
    while (s->n_bytes % BLOCK != LENGTH_AT)
        add_own(s, (const uint8_t *)"", 1);
    add_own(s, tail, sizeof tail);
    for (unsigned i = 0; i < TW_SHA256_BYTES; i++)
        ret[i] = (uint8_t)(s->h[i / 4] >> (24 - 8 * (i % 4)));
}

/* ---- either ---- */

void tw_sha256_init(tw_sha256 *s)
{
    /* First 32 bits of the fractional parts of the square roots of the first 8 primes. */
    *s = (tw_sha256){.h = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c,
                           0x1f83d9ab, 0x5be0cd19}};
    (void)pthread_once(&once, load_lib);
    if (!atomic_load(&has_lib))
        return;
    s->lib = lib.ctx_new();
    if (s->lib != NULL && lib.init(s->lib, lib.sha256(), NULL) != 1) { /* FIPS builds may refuse */
        lib.ctx_free(s->lib);
        s->lib = NULL;
    }
}

void tw_sha256_add(tw_sha256 *s, const void *p, size_t n)
{
    if (s->lib == NULL)
        add_own(s, p, n);
    else if (n > 0)
        (void)lib.update(s->lib, p, n); /* of memory: does not fail */
}

void tw_sha256_end(tw_sha256 *s, uint8_t ret[TW_SHA256_BYTES])
{
    if (s->lib == NULL) {
        end_own(s, ret);
        return;
    }
    (void)lib.final(s->lib, ret, NULL);
    lib.ctx_free(s->lib);
    s->lib = NULL;
}

void tw_sha256_print(const uint8_t hash[TW_SHA256_BYTES], char out[TW_SHA256_HEX + 1])
{
    for (unsigned i = 0; i < TW_SHA256_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", hash[i]);
}
