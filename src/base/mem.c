/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/scope.h"

#if defined(__SANITIZE_ADDRESS__)
#define MEM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEM_ASAN 1
#endif
#endif

#ifdef MEM_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

static _Atomic uint64_t g_count;
static _Atomic uint64_t g_fail_from = UINT64_MAX; /* number of the first allocation that fails */
static _Thread_local unsigned t_guard_depth;

bool tw_mem_take(void)
{
#ifndef NDEBUG
    if (TW_UNLIKELY(t_guard_depth > 0)) {
        static const char said[] = "mem: allocation inside a guard\n";
        ssize_t n = write(STDERR_FILENO, said, sizeof(said) - 1);
        (void)n;
        abort();
    }
#endif
    uint64_t i = atomic_fetch_add_explicit(&g_count, 1, memory_order_relaxed) + 1;
    return i < atomic_load_explicit(&g_fail_from, memory_order_relaxed);
}

/* More than PTRDIFF_MAX no malloc gives; sanitizers abort at being asked. */
static bool may_alloc(size_t bytes)
{
    return tw_mem_take() && bytes <= PTRDIFF_MAX;
}

void *tw_mem_alloc(size_t bytes)
{
    return may_alloc(bytes) ? malloc(TW_MAX(bytes, (size_t)1)) : NULL;
}

void *tw_mem_calloc(size_t n, size_t size_bytes)
{
    size_t bytes;
    if (n == 0 || size_bytes == 0)
        n = size_bytes = 1;
    if (!tw_size_mul(n, size_bytes, &bytes))
        bytes = SIZE_MAX;
    return may_alloc(bytes) ? calloc(n, size_bytes) : NULL;
}

void *tw_mem_realloc(void *p, size_t bytes)
{
    return may_alloc(bytes) ? realloc(p, TW_MAX(bytes, (size_t)1)) : NULL;
}

char *tw_mem_strdup(const char *s)
{
    return tw_mem_strndup(s, strlen(s));
}

char *tw_mem_strndup(const char *s, size_t n)
{
    n = strnlen(s, n);
    char *copy = tw_mem_alloc(n + 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

void *tw_mem_align(size_t align, size_t bytes)
{
    void *p = NULL;
    if (!may_alloc(bytes) || (align & (align - 1)) != 0)
        return NULL;
    align = TW_MAX(align, sizeof(void *));
    return posix_memalign(&p, align, TW_MAX(bytes, (size_t)1)) == 0 ? p : NULL;
}

void tw_mem_free(void *p)
{
    free(p);
}

void tw_mem_freep(void *pp)
{
    void *p;
    memcpy(&p, pp, sizeof(p)); /* pp points to a pointer of any type */
    free(p);
    memset(pp, 0, sizeof(p));
}

void tw_mem_guard_begin(void)
{
    t_guard_depth++;
}

void tw_mem_guard_end(void)
{
    assert(t_guard_depth > 0);
    t_guard_depth--;
}

void tw_mem_fail_at(uint64_t n)
{
    atomic_store(&g_fail_from, n == 0 ? UINT64_MAX : atomic_load(&g_count) + n);
}

uint64_t tw_mem_count(void)
{
    return atomic_load_explicit(&g_count, memory_order_relaxed);
}

/* Arena: blocks of a chain; only the head is carved. */
enum { ARENA_ALIGN = 16, ARENA_BLOCK_MIN = 4096, ARENA_BLOCK_MAX = 1 << 20 };

struct tw_arena_block {
    struct tw_arena_block *next;
    size_t cap_bytes, used_bytes; /* of the bytes behind this header */
    size_t pad;
};
_Static_assert(sizeof(struct tw_arena_block) % ARENA_ALIGN == 0, "data behind it is aligned");

void tw_arena_init(tw_arena *a, size_t max_bytes)
{
    *a = (tw_arena){.head = NULL, .used_bytes = 0, .max_bytes = max_bytes};
}

static void *carve_block(struct tw_arena_block *b, size_t bytes, size_t rounded)
{
    uint8_t *p = (uint8_t *)(b + 1) + b->used_bytes;
    b->used_bytes += rounded;
    ASAN_UNPOISON_MEMORY_REGION(p, bytes);
    return p;
}

/* A new block that holds at least need bytes. It becomes the head unless it would be full at once:
 * then it goes behind the head, whose rest stays in use. */
static struct tw_arena_block *grow_arena(tw_arena *a, size_t need)
{
    size_t cap = TW_MAX((size_t)ARENA_BLOCK_MIN, TW_MIN(a->used_bytes, (size_t)ARENA_BLOCK_MAX));
    if (a->max_bytes != 0)
        cap = TW_MIN(cap, (a->max_bytes - a->used_bytes) & ~(size_t)(ARENA_ALIGN - 1));
    cap = TW_MAX(cap, need);

    size_t total;
    if (!tw_size_add(cap, sizeof(struct tw_arena_block), &total))
        return NULL;
    struct tw_arena_block *b = tw_mem_calloc(1, total);
    if (b == NULL)
        return NULL;
    b->cap_bytes = cap;
    ASAN_POISON_MEMORY_REGION(b + 1, cap);
    if (a->head != NULL && cap == need) {
        b->next = a->head->next;
        a->head->next = b;
    } else {
        b->next = a->head;
        a->head = b;
    }
    return b;
}

void *tw_arena_alloc(tw_arena *a, size_t bytes)
{
    size_t rounded;
    if (!tw_size_add(TW_MAX(bytes, (size_t)1), ARENA_ALIGN - 1, &rounded))
        return NULL;
    rounded &= ~(size_t)(ARENA_ALIGN - 1);
    if (a->max_bytes != 0 && rounded > a->max_bytes - a->used_bytes)
        return NULL;

    struct tw_arena_block *b = a->head;
    if (b == NULL || b->cap_bytes - b->used_bytes < rounded)
        b = grow_arena(a, rounded);
    if (b == NULL)
        return NULL;
    a->used_bytes += rounded;
    return carve_block(b, bytes, rounded);
}

void *tw_arena_array(tw_arena *a, size_t n, size_t size_bytes)
{
    size_t bytes;
    return tw_size_mul(n, size_bytes, &bytes) ? tw_arena_alloc(a, bytes) : NULL;
}

char *tw_arena_strndup(tw_arena *a, const char *s, size_t n)
{
    n = strnlen(s, n);
    char *copy = tw_arena_alloc(a, n + 1);
    if (copy != NULL)
        memcpy(copy, s, n); /* the NUL is there: zeroed */
    return copy;
}

void tw_arena_done(tw_arena *a)
{
    if (a == NULL)
        return;
    for (struct tw_arena_block *b = a->head, *next; b != NULL; b = next) {
        next = b->next;
        tw_mem_free(b);
    }
    a->head = NULL;
    a->used_bytes = 0;
}
