/* SPDX-License-Identifier: Apache-2.0 */
/* The only place that calls malloc. Three lifetimes (model, session, request) are three arenas.
 * Every allocation can be counted, forbidden (guard) or made to fail (tests). */
#ifndef TWINAX_BASE_MEM_H
#define TWINAX_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Heap. All return NULL when out of memory; bytes == 0 gives a unique pointer. calloc is zeroed. */
void *tw_mem_alloc(size_t bytes);
void *tw_mem_calloc(size_t n, size_t size_bytes);
void *tw_mem_realloc(void *p, size_t bytes);
char *tw_mem_strdup(const char *s);
char *tw_mem_strndup(const char *s, size_t n);
void *tw_mem_align(size_t align, size_t bytes); /* power of two; freed by tw_mem_free too */
void tw_mem_free(void *p);
void tw_mem_freep(void *pp); /* for TW_CLEANUP: frees *(void **)pp */

/* Guard: between begin and end an allocation in this thread is our bug; debug builds abort. Nests. */
void tw_mem_guard_begin(void);
void tw_mem_guard_end(void);

/* Tests: the n-th allocation from now (1 = the next, process wide) and all later ones fail;
 * 0 switches it off. tw_mem_count: allocations since the process began. */
void tw_mem_fail_at(uint64_t n);
uint64_t tw_mem_count(void);

/* For memory that comes from elsewhere (mmap): counts as one allocation, minds the guard; false
 * when it has to fail. */
bool tw_mem_take(void);

/* Arena: bump allocation, freed as a whole. Grows by blocks; used_bytes (what was handed out, each
 * rounded up to 16) stays <= max_bytes (0: no limit). done leaves it empty and usable again.
 * Thread: one at a time. */
typedef struct tw_arena {
    struct tw_arena_block *head;
    size_t used_bytes, max_bytes;
} tw_arena;

void tw_arena_init(tw_arena *a, size_t max_bytes);
void *tw_arena_alloc(tw_arena *a, size_t bytes); /* 16-aligned, zeroed; NULL when out of memory */
void *tw_arena_array(tw_arena *a, size_t n, size_t size_bytes); /* overflow-checked; zeroed */
char *tw_arena_strndup(tw_arena *a, const char *s, size_t n);
void tw_arena_done(tw_arena *a);

#endif
