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

static int append_message(json_t *messages, const char *role, const char *text, size_t n)
{
    return json_array_append_new(messages,
                                 json_pack("{s:s,s:s%}", "role", role, "content", text, n)) == 0
               ? 0
               : -EINVAL;
}

static int answer(tw_node *n, json_t *messages, tw_buf *reply, tw_err *err)
{
    char *json = json_dumps(messages, 0), *text TW_CLEANUP(tw_mem_freep) = NULL;
    uint32_t *ids TW_CLEANUP(tw_mem_freep) = NULL;
    size_t n_ids = 0;
    int rc = json != NULL ? tw_model_render_chat(n->model, json, NULL, true, &text, err)
                          : tw_err_set(err, -ENOMEM, "no memory for the chat");
    free(json); /* budget: jansson's own */
    if (rc == 0)
        rc = tw_model_tokenize(n->model, text, strlen(text), false, &ids, &n_ids, err);
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

int tw_chat(tw_node *n, tw_err *err)
{
    static char line[65536];
    const bool tty = isatty(STDIN_FILENO);
    json_t *messages = json_array();
    int rc = 0;
    setvbuf(stdin, NULL, _IONBF, 0); /* poll and fgets must see the same bytes */
    while (rc == 0 && read_line(line, sizeof(line), tty) != NULL) {
        size_t len = strcspn(line, "\r\n");
        if (len == 0)
            continue;
        if (len == sizeof(line) - 1) { /* its rest must not pass for another question */
            rc = tw_err_set(err, -E2BIG, "the line is longer than %zu bytes", len);
            break;
        }
        tw_buf reply TW_CLEANUP(tw_buf_done) = TW_BUF(1 << 20);
        if (append_message(messages, "user", line, len) != 0)
            rc = tw_err_set(err, -EINVAL, "the line is no valid UTF-8");
        if (rc == 0)
            rc = answer(n, messages, &reply, err);
        if (rc == 0 && reply.data != NULL)
            rc = append_message(messages, "assistant", reply.data, reply.len);
    }
    json_decref(messages);
    return rc;
}
