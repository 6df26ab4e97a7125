/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/chat.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cmd/generation.h"
#include "cmd/out.h"
#include "os/signal.h"

enum { ANSWER_TOKENS = 256 }; /* kept free for an answer, where the context is not too small */

static int append_message(json_t *messages, const char *role, const char *text, size_t n)
{
    return json_array_append_new(messages,
                                 json_pack("{s:s,s:s%}", "role", role, "content", text, n)) == 0
               ? 0
               : -EINVAL;
}

static bool is_of(const json_t *messages, size_t i, const char *role)
{
    const char *has = json_string_value(json_object_get(json_array_get(messages, i), "role"));
    return has != NULL && strcmp(has, role) == 0;
}

/* The oldest question and what followed it are forgotten; false: only the last one is left. */
static bool forget_turn(json_t *messages)
{
    const size_t n = json_array_size(messages), first = is_of(messages, 0, "system");
    size_t next = first + 1;
    while (next < n && !is_of(messages, next, "user"))
        next++;
    for (size_t i = first; next < n && i < next; i++)
        json_array_remove(messages, first);
    return next < n;
}

static int make_ids(tw_node *n, const json_t *messages, uint32_t **ret, size_t *ret_n, tw_err *err)
{
    char *json = json_dumps(messages, 0), *text TW_CLEANUP(tw_mem_freep) = NULL;
    int rc = json != NULL ? tw_model_render_chat(n->model, json, NULL, true, &text, err)
                          : tw_err_set(err, -ENOMEM, "no memory for the chat");
    free(json); /* budget: jansson's own */
    return rc == 0 ? tw_model_tokenize(n->model, text, strlen(text), false, ret, ret_n, err) : rc;
}

/* Forgets turns until prompt and answer fit the context. */
static int make_fitting_ids(tw_node *n, json_t *messages, uint32_t **ret, size_t *ret_n,
                            tw_err *err)
{
    tw_engine_info info;
    tw_engine_get_info(n->engine, &info);
    const uint32_t wanted = n->args.has_max_tokens ? n->args.max_tokens : ANSWER_TOKENS;
    const uint32_t room = TW_MIN(wanted, info.ctx / 4);
    unsigned n_forgotten = 0;
    int rc = make_ids(n, messages, ret, ret_n, err);
    while (rc == 0 && *ret_n + room > info.ctx && forget_turn(messages)) {
        n_forgotten++;
        tw_mem_free(*ret);
        *ret = NULL;
        rc = make_ids(n, messages, ret, ret_n, err);
    }
    if (rc == 0 && n_forgotten > 0)
        fprintf(stderr,
                "(context of %u tokens: %u of the oldest questions forgotten; a larger --ctx "
                "keeps more)\n",
                info.ctx, n_forgotten);
    return rc;
}

static int answer(tw_node *n, json_t *messages, tw_buf *reply, tw_err *err)
{
    uint32_t *ids TW_CLEANUP(tw_mem_freep) = NULL;
    size_t n_ids = 0;
    int rc = make_fitting_ids(n, messages, &ids, &n_ids, err);
    if (rc != 0)
        return rc;
    tw_generation g = {.echo = true, .reply = reply};
    tw_request r = {.prompt = ids,
                    .n_prompt = n_ids,
                    .max_tokens = n->args.has_max_tokens ? n->args.max_tokens : 0,
                    .ignore_eos = n->args.ignore_eos,
                    .stops = &n->args.stop,
                    .n_stops = n->args.stop != NULL};
    tw_args_sampling(&n->args, n->model, &r.sampling);
    rc = tw_generation_run(n, &r, &g, err);
    if (rc == -E2BIG)
        return rc; /* nothing was begun */
    if (g.out_errno == 0)
        printf("\n");
    if (rc == 0)
        rc = tw_out_flush(err); /* a program that talks to us waits for the end of the line */
    if (rc == 0 && n->args.verbose > 0)
        tw_generation_print_speed(n, &g);
    return rc;
}

/* One line from stdin; NULL at its end or when asked to stop. */
static char *read_line(char *line, int size, bool prompt)
{
    if (prompt) {
        fputs("> ", stderr);
        fflush(stderr);
    }
    struct pollfd p[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                         {.fd = tw_signal_fd(), .events = POLLIN}};
    while (poll(p, 2, -1) < 0)
        if (errno != EINTR)
            return NULL;
    char *got = p[1].revents != 0 ? NULL : fgets(line, size, stdin);
    if (got == NULL && prompt)
        fputs("\n", stderr); /* the shell's prompt begins a line */
    return got;
}

/* One question and its answer become part of messages. At a terminal a question that is longer than
 * the context is told, and is as if it had not been asked. */
static int take_turn(tw_node *n, json_t *messages, const char *line, size_t len, bool tty,
                     tw_err *err)
{
    tw_buf reply TW_CLEANUP(tw_buf_done) = TW_BUF(1 << 20);
    if (append_message(messages, "user", line, len) != 0)
        return tw_err_set(err, -EINVAL, "the line is no valid UTF-8");
    int rc = answer(n, messages, &reply, err);
    if (rc == -E2BIG && tty) {
        fprintf(stderr, "%s\n", err->msg);
        return json_array_remove(messages, json_array_size(messages) - 1);
    }
    if (rc == 0 && reply.data != NULL)
        rc = append_message(messages, "assistant", reply.data, reply.len);
    return rc;
}

int tw_chat(tw_node *n, tw_err *err)
{
    static char line[65536];
    const bool tty = isatty(STDIN_FILENO);
    const char *system = n->args.system;
    json_t *messages = json_array();
    int rc = 0;
    if (system != NULL && append_message(messages, "system", system, strlen(system)) != 0)
        rc = tw_err_set(err, -EINVAL, "--system is no valid UTF-8");
    setvbuf(stdin, NULL, _IONBF, 0); /* poll and fgets must see the same bytes */
    while (rc == 0 && read_line(line, sizeof(line), tty) != NULL) {
        size_t len = strcspn(line, "\r\n");
        if (len == 0)
            continue;
        if (len == sizeof(line) - 1) /* its rest must not pass for another question */
            rc = tw_err_set(err, -E2BIG, "the line is longer than %zu bytes", len);
        else
            rc = take_turn(n, messages, line, len, tty, err);
    }
    json_decref(messages);
    return rc;
}
