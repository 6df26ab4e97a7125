/* SPDX-License-Identifier: Apache-2.0 */
#include "host/toolbox_progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"

/* "12.0MiB", "3.4 KiB", "120b"; 0 when it is none. */
static uint64_t read_size(const char *p)
{
    char *end = NULL;
    const double v = strtod(p, &end);
    if (end == p || !(v >= 0) || v > 1e12)
        return 0;
    while (*end == ' ')
        end++;
    const double unit = *end == 'K' || *end == 'k' ? 1024.0
                        : *end == 'M'              ? 1048576.0
                        : *end == 'G'              ? 1073741824.0
                                                   : 1.0;
    return v * unit < 1e18 ? (uint64_t)(v * unit) : 0;
}

static tw_toolbox_blob *find_blob(tw_toolbox_progress *p, const char *id, size_t n)
{
    for (size_t i = 0; i < p->n_blobs; i++)
        if (strlen(p->blobs[i].id) == n && memcmp(p->blobs[i].id, id, n) == 0)
            return &p->blobs[i];
    if (p->n_blobs == TW_TOOLBOX_BLOBS_MAX)
        return NULL;
    tw_toolbox_blob *b = &p->blobs[p->n_blobs++];
    *b = (tw_toolbox_blob){.done_bytes = 0};
    memcpy(b->id, id, n);
    return b;
}

/* Where the number that ends before at begins. */
static const char *number_before(const char *line, const char *at)
{
    while (at > line && at[-1] == ' ')
        at--;
    while (at > line && strchr("KMGiBb ", at[-1]) != NULL && at[-1] != '\0')
        at--;
    while (at > line && strchr("0123456789.", at[-1]) != NULL)
        at--;
    return at;
}

static void take_line(tw_toolbox_progress *p)
{
    static const char word[] = "Copying blob ";
    p->line[p->n_line] = '\0';
    const char *at = strstr(p->line, word);
    if (at == NULL) {
        if (p->n_line > 0 && strncmp(p->line, "Copying config ", 15) != 0)
            snprintf(p->last, sizeof p->last, "%.299s", p->line);
        p->n_line = 0;
        return;
    }
    at += sizeof word - 1;
    const size_t n = strspn(at, "0123456789abcdef");
    tw_toolbox_blob *b = n > 0 && n < sizeof p->blobs[0].id ? find_blob(p, at, n) : NULL;
    const char *slash = strstr(at, " / ");
    if (b != NULL && slash != NULL) {
        b->done_bytes = read_size(number_before(at, slash));
        b->total_bytes = read_size(slash + 3);
    } else if (b != NULL && strstr(at, "done") != NULL) {
        b->done_bytes = b->total_bytes;
    }
    p->n_line = 0;
}

void tw_toolbox_progress_feed(tw_toolbox_progress *p, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char c = bytes[i];
        if (p->state == TW_ESCAPE) {
            p->state = c == '[' ? TW_SEQUENCE : TW_PLAIN;
        } else if (p->state == TW_SEQUENCE) {
            p->state = c >= '@' && c <= '~' ? TW_PLAIN : TW_SEQUENCE;
        } else if (c == '\033') {
            p->state = TW_ESCAPE;
        } else if (c == '\n' || c == '\r') {
            take_line(p);
        } else if (p->n_line < sizeof p->line - 1) {
            p->line[p->n_line++] = (unsigned char)c < 0x20 ? ' ' : c;
        }
    }
}

void tw_toolbox_progress_sum(const tw_toolbox_progress *p, uint64_t *ret_done, uint64_t *ret_total)
{
    *ret_done = *ret_total = 0;
    for (size_t i = 0; i < p->n_blobs; i++) {
        *ret_done += p->blobs[i].done_bytes;
        *ret_total += p->blobs[i].total_bytes;
    }
}
