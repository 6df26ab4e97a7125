/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax tokenize` and `twinax detokenize`. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"
#include "cmd/args.h"
#include "cmd/commands.h"
#include "cmd/out.h"
#include "cmd/pull_model.h"
#include "os/signal.h"

enum { INPUT_MAX = 64 << 20 };

/* To its end, or until ctrl-C. */
static int read_stdin(tw_buf *b, tw_err *err)
{
    char part[65536];
    for (;;) {
        struct pollfd p[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                             {.fd = tw_signal_fd(), .events = POLLIN}};
        if (poll(p, 2, -1) < 0)
            continue; /* EINTR */
        if (p[1].revents != 0)
            return tw_err_set(err, -EINTR, "interrupted");
        ssize_t n = read(STDIN_FILENO, part, sizeof(part));
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return tw_err_set(err, -errno, "stdin: cannot read: %s", strerror(errno));
        if (n > 0 && tw_buf_append(b, part, (size_t)n) != 0)
            return tw_err_set(err, -E2BIG, "stdin has more than %d MiB", INPUT_MAX >> 20);
    }
}

static int to_ids(tw_model *m, const tw_buf *in, tw_err *err)
{
    uint32_t *ids TW_CLEANUP(tw_mem_freep) = NULL;
    size_t n;
    int rc = tw_model_tokenize(m, in->data != NULL ? in->data : "", in->len, true, &ids, &n, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        printf("%s%u", i > 0 ? "," : "", ids[i]);
    if (rc == 0)
        printf("\n");
    return rc;
}

static int to_text(tw_model *m, const tw_buf *in, tw_err *err)
{
    uint32_t *ids TW_CLEANUP(tw_mem_freep) = tw_mem_alloc((in->len + 1) * sizeof(uint32_t));
    char *text TW_CLEANUP(tw_mem_freep) = NULL;
    size_t n = 0;
    if (ids == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the ids");
    for (char *at = in->data, *end; at != NULL && *at != '\0'; at = end + strspn(end, ", \r\n")) {
        unsigned long long v = strtoull(at, &end, 10);
        if (end == at || v > UINT32_MAX)
            return tw_err_set(err, -EINVAL, "\"%.20s\" is no id; wanted 1,2,3", at);
        ids[n++] = (uint32_t)v;
    }
    int rc = tw_model_detokenize(m, ids, n, false, &text, err);
    if (rc == 0)
        printf("%s\n", text);
    return rc;
}

static int convert(const tw_command *c, int argc, char **argv,
                   int (*fn)(tw_model *, const tw_buf *, tw_err *))
{
    tw_args a;
    tw_err err = {0};
    tw_model *m = NULL;
    tw_buf in TW_CLEANUP(tw_buf_done) = TW_BUF(INPUT_MAX);
    if (tw_args_parse(c, argc, argv, &a, &err) != 0)
        return tw_command_misused(c, &err);
    int rc = a.prompt != NULL ? tw_buf_puts(&in, a.prompt) : read_stdin(&in, &err);
    if (rc == 0)
        rc = tw_pull_model(&a.model, &err);
    if (rc == 0)
        rc = tw_model_open(a.model, &m, &err);
    if (rc == 0)
        rc = fn(m, &in, &err);
    if (rc == 0)
        rc = tw_out_flush(&err);
    tw_model_close(m);
    return tw_command_end(c, rc, &err);
}

static int cmd_tokenize(int argc, char **argv)
{
    return convert(&tw_command_tokenize, argc, argv, to_ids);
}

static int cmd_detokenize(int argc, char **argv)
{
    return convert(&tw_command_detokenize, argc, argv, to_text);
}

static const tw_option text_options[] = {
    {"prompt", 'p', "TEXT", "instead of stdin", TW_OPT_ANY, .offset = offsetof(tw_args, prompt)},
    {.name = NULL},
};
static const tw_option id_options[] = {
    {"prompt", 'p', "IDS", "instead of stdin", TW_OPT_ANY, .offset = offsetof(tw_args, prompt)},
    {.name = NULL},
};
static const tw_option_table text_tables[] = {{NULL, text_options}, {NULL, NULL}};
static const tw_option_table id_tables[] = {{NULL, id_options}, {NULL, NULL}};

static const tw_note tokenize_examples[] = {
    {"twinax tokenize models/demo -p \"Hello\"", "ids on one line, with commas between"},
    {"twinax tokenize models/demo < book.txt | tr , '\\n' | wc -l", "how many tokens a file has"},
    {NULL, NULL},
};
static const tw_note detokenize_examples[] = {
    {"twinax detokenize models/demo -p 1,2,3", "their text"},
    {"twinax run models/demo -p Hello --ids | twinax detokenize models/demo", "of a run"},
    {NULL, NULL},
};

const tw_command tw_command_tokenize = {
    .name = "tokenize",
    .args = "MODEL [-p TEXT]",
    .summary = "text (or stdin) to ids",
    .tables = text_tables,
    .run = cmd_tokenize,
    .group = TW_GROUP_MODEL,
    .examples = tokenize_examples,
};
const tw_command tw_command_detokenize = {
    .name = "detokenize",
    .args = "MODEL [-p IDS]",
    .summary = "ids (or stdin) to text",
    .tables = id_tables,
    .run = cmd_detokenize,
    .group = TW_GROUP_MODEL,
    .examples = detokenize_examples,
};
