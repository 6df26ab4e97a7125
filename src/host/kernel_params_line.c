/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel command line as words: blanks part them, but not inside double quotes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "host/kernel_params.h"

static size_t skip_blanks(const char *p)
{
    return strspn(p, " \t\n");
}

static size_t word_bytes(const char *p)
{
    bool quoted = false;
    size_t n = 0;
    for (; p[n] != '\0' && (quoted || strchr(" \t\n", p[n]) == NULL); n++)
        quoted ^= p[n] == '"';
    return n;
}

/* The name is all before '='; '-' and '_' are one, as in the kernel. */
static bool has_name(const char *word, size_t n, const char *name)
{
    size_t len = strlen(name);
    if (n < len || (n > len && word[len] != '='))
        return false;
    for (size_t i = 0; i < len; i++)
        if ((word[i] == '-' ? '_' : word[i]) != (name[i] == '-' ? '_' : name[i]))
            return false;
    return true;
}

bool tw_kernel_line_get(const char *line, const char *name, char *out, size_t out_bytes)
{
    bool found = false;
    size_t len = strlen(name);
    for (const char *p = line + skip_blanks(line); *p != '\0';) {
        size_t n = word_bytes(p);
        if (has_name(p, n, name)) {
            found = true;
            snprintf(out, out_bytes, "%.*s", n > len ? (int)(n - len - 1) : 0, p + len + (n > len));
        }
        p += n;
        p += skip_blanks(p);
    }
    return found;
}

static const tw_kernel_param *find_wrong(const tw_kernel_param *v, size_t n, const char *word,
                                         size_t n_word)
{
    for (size_t i = 0; i < n; i++)
        if (v[i].state == TW_KERNEL_WRONG && has_name(word, n_word, v[i].name))
            return &v[i];
    return NULL;
}

/* Of one name there may be several words: the first place gets ours, the others go. */
static int put_words(tw_buf *b, const char *line, const tw_kernel_param *v, size_t n)
{
    bool written[TW_KERNEL_PARAMS_MAX] = {false};
    int rc = 0;
    for (const char *p = line; *p != '\0' && rc == 0;) {
        size_t blanks = skip_blanks(p), len = word_bytes(p + blanks);
        const tw_kernel_param *w = find_wrong(v, n, p + blanks, len);
        if (w == NULL)
            rc = tw_buf_append(b, p, blanks + len);
        else if (!written[w - v])
            rc = tw_buf_printf(b, "%.*s%s", (int)blanks, p, w->set);
        if (w != NULL)
            written[w - v] = true;
        p += blanks + len;
    }
    for (size_t i = 0; i < n && rc == 0; i++)
        if (v[i].state == TW_KERNEL_MISSING)
            rc = tw_buf_printf(b, "%s%s", b->len > 0 && b->data[b->len - 1] != ' ' ? " " : "",
                               v[i].set);
    return rc;
}

static bool has_open_quote(const char *line)
{
    bool open = false;
    for (; *line != '\0'; line++)
        open ^= *line == '"';
    return open;
}

int tw_kernel_line_merge(const char *line, const tw_kernel_param *v, size_t n, char *out,
                         size_t out_bytes, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(2 * TW_KERNEL_LINE_BYTES);
    n = TW_MIN(n, (size_t)TW_KERNEL_PARAMS_MAX);
    if (has_open_quote(line))
        return tw_err_set(err, -EINVAL,
                          "the kernel command line has a quote without an end: mend that first");
    int rc = put_words(&b, line, v, n);
    if (rc == -ENOMEM)
        return tw_err_set(err, rc, "no memory for a kernel command line");
    if (rc != 0 || b.len >= out_bytes)
        return tw_err_set(err, -ENOSPC,
                          "the kernel command line would have %zu bytes or more, at most %zu are "
                          "possible: take words off it",
                          b.len, out_bytes - 1);
    memcpy(out, b.len > 0 ? b.data : "", b.len);
    out[b.len] = '\0';
    return 0;
}
