/* SPDX-License-Identifier: Apache-2.0 */
/* A plan as a person reads it. */
#include <errno.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"
#include "host/facts_field.h"
#include "host/setup_plan.h"

enum { CONTEXT = 1 };

static int quote_word(const char *word, tw_buf *out)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "@%_-+=:,./";
    if (word[0] != '\0' && word[strspn(word, plain)] == '\0')
        return tw_buf_puts(out, word);
    int rc = tw_buf_puts(out, "'");
    for (; *word != '\0' && rc == 0; word++)
        rc = *word == '\'' ? tw_buf_puts(out, "'\\''") : tw_buf_append(out, word, 1);
    return rc != 0 ? rc : tw_buf_puts(out, "'");
}

int tw_setup_quote(const json_t *argv, tw_buf *out)
{
    int rc = 0;
    for (size_t i = 0; i < json_array_size(argv) && rc == 0; i++) {
        const char *word = json_string_value(json_array_get(argv, i));
        rc = i > 0 ? tw_buf_puts(out, " ") : 0;
        if (rc == 0)
            rc = quote_word(word != NULL ? word : "?", out);
    }
    return rc;
}

/* ---- a diff: what both ends share is left out but for a line around ---- */

static size_t line_len(const char *p)
{
    size_t n = strcspn(p, "\n");
    return n + (p[n] == '\n');
}

/* "@key:box2@": a key that is yet to be made (setup_plan_ssh.c). */
static int put_later_key(tw_buf *out, char sign, const char *p, int len)
{
    return tw_buf_printf(out, "        %c (the public key that step ssh-key makes on %.*s)\n", sign,
                         len - 6, p + 5);
}

static int put_line(tw_buf *out, char sign, const char *p, size_t n)
{
    const bool ended = n > 0 && p[n - 1] == '\n';
    const int len = (int)(n - ended);
    if (len > 6 && strncmp(p, "@key:", 5) == 0 && p[len - 1] == '@')
        return put_later_key(out, sign, p, len);
    return tw_buf_printf(out, "        %c%s%.*s\n", sign, len > 0 ? " " : "", len, p);
}

/* Bytes of whole lines that a and b begin with alike. */
static size_t common_head(const char *a, const char *b)
{
    size_t at = 0;
    while (a[at] != '\0') {
        size_t n = line_len(a + at);
        if (strncmp(a + at, b + at, n) != 0 || (a[at + n] == '\0' && a[at + n - 1] != '\n'))
            break;
        at += n;
    }
    return at;
}

static size_t line_start(const char *p, size_t end, size_t floor)
{
    if (end > floor)
        end--;
    while (end > floor && p[end - 1] != '\n')
        end--;
    return end;
}

static int put_lines(tw_buf *out, char sign, const char *p, size_t from, size_t to)
{
    int rc = 0;
    while (from < to && rc == 0) {
        size_t n = TW_MIN(line_len(p + from), to - from);
        rc = put_line(out, sign, p + from, n);
        from += n;
    }
    return rc;
}

static int put_diff(tw_buf *out, const char *a, const char *b)
{
    size_t head = common_head(a, b), na = strlen(a), nb = strlen(b);
    while (na > head && nb > head) {
        size_t la = line_start(a, na, head), lb = line_start(b, nb, head);
        if (na - la != nb - lb || memcmp(a + la, b + lb, na - la) != 0)
            break;
        na = la;
        nb = lb;
    }
    int rc = head > 0 ? put_lines(out, ' ', a, line_start(a, head, 0), head) : 0;
    if (rc == 0)
        rc = put_lines(out, '-', a, head, na);
    if (rc == 0)
        rc = put_lines(out, '+', b, head, nb);
    if (rc == 0 && a[na] != '\0')
        rc = put_lines(out, ' ', a, na, na + line_len(a + na));
    return rc;
}

static int put_file(const json_t *action, tw_buf *out)
{
    const char *before = json_string_value(json_object_get(action, "before"));
    const char *after = json_string_value(json_object_get(action, "after"));
    const bool hidden = json_is_true(json_object_get(action, "hidden"));
    int rc = tw_buf_printf(out, "      %s %s\n",
                           hidden           ? "edit (as root)"
                           : before == NULL ? "write"
                           : after == NULL  ? "remove"
                                            : "edit",
                           tw_json_text_at(action, "file"));
    return rc != 0 ? rc : put_diff(out, before != NULL ? before : "", after != NULL ? after : "");
}

static int put_install(const json_t *action, tw_buf *out)
{
    const char *with = tw_json_text_at(action, "with");
    const char *verb = strcmp(with, "apt") == 0   ? "apt-get install -y --no-install-recommends"
                       : strcmp(with, "dnf") == 0 ? "dnf install -y"
                                                  : "rpm-ostree install --idempotent -y";
    int rc = tw_buf_printf(out, "      %s ", verb);
    if (rc == 0)
        rc = tw_setup_quote(json_object_get(action, "install"), out);
    return rc != 0 ? rc : tw_buf_puts(out, "\n");
}

static int put_command(const json_t *argv, const char *indent, tw_buf *out)
{
    int rc = tw_buf_puts(out, indent);
    if (rc == 0)
        rc = tw_setup_quote(argv, out);
    return rc != 0 ? rc : tw_buf_puts(out, "\n");
}

static int put_do(const json_t *step, tw_buf *out)
{
    const json_t *list = json_object_get(step, "do");
    int rc = 0;
    for (size_t i = 0; i < json_array_size(list) && rc == 0; i++) {
        const json_t *a = json_array_get(list, i);
        if (json_object_get(a, "file") != NULL)
            rc = put_file(a, out);
        else if (json_object_get(a, "install") != NULL)
            rc = put_install(a, out);
        else
            rc = put_command(json_object_get(a, "run"), "      ", out);
    }
    return rc;
}

static int put_undo(const json_t *step, tw_buf *out)
{
    static const char *const lists[] = {"undo", "settle"};
    const json_t *actions = json_object_get(step, "do");
    bool files = json_array_size(json_object_get(step, "touch")) > 0;
    int rc = tw_buf_puts(out, "    undone by:\n");
    for (size_t i = 0; i < json_array_size(actions) && rc == 0; i++) {
        const json_t *a = json_array_get(actions, i);
        files = files || json_object_get(a, "file") != NULL;
        if (json_object_get(a, "install") != NULL)
            rc = tw_buf_printf(out, "      removing exactly the packages that this installed%s\n",
                               strcmp(tw_json_text_at(a, "with"), "rpm-ostree") != 0
                                   ? ", and groups that they made"
                                   : "");
    }
    for (size_t k = 0; k < 2 && rc == 0; k++) {
        const json_t *list = json_object_get(step, lists[k]);
        for (size_t i = 0; i < json_array_size(list) && rc == 0; i++)
            rc = put_command(json_array_get(list, i), "      ", out);
        if (k == 0 && files && rc == 0)
            rc = tw_buf_puts(out, "      the files as they were, byte by byte\n");
    }
    return rc;
}

static int put_step(const json_t *step, size_t number, tw_buf *out)
{
    int rc =
        tw_buf_printf(out, "  %zu. %s: %s%s%s%s\n    why: %s\n    does%s:\n", number,
                      tw_json_text_at(step, "id"), tw_json_text_at(step, "title"),
                      json_is_true(json_object_get(step, "cuts"))
                          ? " [reverts by itself after 60 s unless the head reconnects]"
                          : "",
                      json_is_true(json_object_get(step, "login")) ? " [from the next login]" : "",
                      json_is_true(json_object_get(step, "reboot")) ? " [from the next boot]" : "",
                      tw_json_text_at(step, "why"),
                      json_is_true(json_object_get(step, "root")) ? " (as root)" : "");
    if (rc == 0)
        rc = put_do(step, out);
    return rc != 0 ? rc : put_undo(step, out);
}

/* Another's words, and the files of another: none may steer the terminal that asks for consent, be it
 * by a control character of one byte or of two, or by what turns the direction of writing. */
static void flatten(char *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        unsigned bytes = tw_utf8_decode(p + i, n - i, &cp);
        const bool layout = bytes == 1 && (cp == '\n' || cp == '\t');
        bytes = bytes > 0 ? bytes : 1;
        if (!layout && !(cp != 0 && tw_field_is_printable(cp)))
            memset(p + i, '?', bytes);
        i += bytes;
    }
}

int tw_setup_plan_text(const json_t *plan, tw_buf *out, tw_err *err)
{
    const json_t *steps = json_object_get(plan, "steps"), *notes = json_object_get(plan, "notes");
    const size_t n = json_array_size(steps), first = out->len;
    int rc =
        tw_buf_printf(out, "%s: %zu step%s\n", tw_json_text_at(plan, "node"), n, n == 1 ? "" : "s");
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = put_step(json_array_get(steps, i), i + 1, out);
    for (size_t i = 0; i < json_array_size(notes) && rc == 0; i++) {
        const char *note = json_string_value(json_array_get(notes, i));
        rc = tw_buf_printf(out, "  note: %s\n", note != NULL ? note : "?");
    }
    if (rc == 0 && json_is_true(json_object_get(plan, "reboot")))
        rc = tw_buf_puts(out, "  a reboot is needed for all of it to count\n");
    if (rc == 0)
        flatten(out->data + first, out->len - first);
    return rc == 0 ? 0 : tw_err_set(err, rc, "no memory for a plan's text");
}
