/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax run`: generate once, or chat line by line. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"
#include "cmd/commands.h"
#include "cmd/node.h"
#include "cmd/out.h"
#include "os/file.h"
#include "os/signal.h"

/* One generation, as its events are collected by the engine thread. */
enum { SAID_DONE, SAID_NO_OUT };

struct generation {
    int said_fd;   /* SAID_DONE once, at the end; before it SAID_NO_OUT, where nobody reads */
    int out_errno; /* of stdout; nothing more is printed then */
    bool print_ids, echo;
    unsigned n_ids;
    tw_buf *reply; /* text for the chat's history, or NULL */
    enum tw_finish finish;
    tw_err err;
    tw_event done;
};

static void say(const struct generation *g, char what)
{
    if (write(g->said_fd, &what, 1) != 1)
        return;
}

static void print_token(struct generation *g, const tw_event *ev)
{
    if (g->out_errno != 0)
        return;
    if (g->print_ids && ev->id != UINT32_MAX)
        printf("%s%u", g->n_ids++ > 0 ? "," : "", ev->id);
    if (g->echo)
        fwrite(ev->text, 1, ev->text_len, stdout);
    tw_err err;
    g->out_errno = -tw_out_flush(&err);
    if (g->out_errno != 0)
        say(g, SAID_NO_OUT);
}

static void on_event(void *ctx, const tw_event *ev)
{
    struct generation *g = ctx;
    if (ev->kind == TW_EVENT_TOKEN) {
        print_token(g, ev);
        if (g->reply != NULL && tw_buf_append(g->reply, ev->text, ev->text_len) != 0)
            g->reply = NULL; /* past the ceiling: the history ends here */
        return;
    }
    g->finish = ev->finish;
    g->done = *ev;
    if (ev->err != NULL)
        g->err = *ev->err;
    say(g, SAID_DONE);
}

/* Whether the engine is through with it. */
static bool hear_done(int fd, bool *ret_cancel)
{
    char what = SAID_DONE;
    if (read(fd, &what, 1) != 1 || what == SAID_DONE)
        return true;
    *ret_cancel = true;
    return false;
}

/* Waits for DONE; ctrl-C cancels, and so does output that nobody takes. */
static int generate(tw_node *n, tw_request *r, struct generation *g, tw_err *err)
{
    int fds[2];
    uint64_t id;
    if (pipe2(fds, O_CLOEXEC) != 0)
        return tw_err_set(err, -errno, "pipe: %s", strerror(errno));
    g->said_fd = fds[1];
    r->on_event = on_event;
    r->ctx = g;
    int rc = tw_engine_submit(n->engine, r, &id, err);
    bool cancelled = false;
    while (rc == 0) {
        struct pollfd p[] = {{.fd = fds[0], .events = POLLIN},
                             {.fd = cancelled ? -1 : tw_signal_fd(), .events = POLLIN}};
        if (poll(p, 2, -1) < 0 && errno == EINTR)
            continue;
        bool cancel = p[1].revents != 0;
        if (p[0].revents != 0 && hear_done(fds[0], &cancel))
            break;
        if (cancel && !cancelled)
            tw_engine_cancel(n->engine, id);
        cancelled = cancelled || cancel;
    }
    close(fds[0]);
    close(fds[1]);
    if (rc == 0 && cancelled && g->out_errno == 0 && g->finish == TW_FINISH_CANCELLED)
        rc = tw_err_set(err, -EINTR, "interrupted");
    if (rc == 0 && g->finish == TW_FINISH_ERROR) {
        *err = g->err;
        rc = g->err.code;
    }
    return rc == 0 && g->out_errno != 0 ? tw_out_failed(g->out_errno, err) : rc;
}

static void print_speed(const tw_node *n, const struct generation *g)
{
    const tw_event *d = &g->done;
    const double prefill_s = (double)d->prefill_ns / 1e9, decode_s = (double)d->decode_ns / 1e9;
    fprintf(stderr,
            "speed: start %.0f ms, %u prompt tokens in %.1f ms (%.1f tok/s), %u generated, "
            "%.1f tok/s\n",
            (double)n->open_ns / 1e6, d->n_prompt, prefill_s * 1e3,
            prefill_s > 0 ? d->n_prompt / prefill_s : 0.0, d->n_generated,
            decode_s > 0 && d->n_generated > 1 ? (d->n_generated - 1) / decode_s : 0.0);
    tw_node_print_proof(n, d->n_generated);
}

static int parse_ids(const char *text, uint32_t **ret, size_t *ret_n, tw_err *err)
{
    size_t cap = strlen(text) / 2 + 1, n = 0;
    uint32_t *ids = tw_mem_alloc(cap * sizeof(*ids));
    if (ids == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for %zu ids", cap);
    const char *at = text;
    while (*at != '\0') {
        char *end;
        errno = 0;
        unsigned long long v = strtoull(at, &end, 10);
        if (end == at || errno != 0 || v > UINT32_MAX || *at == '-') {
            tw_mem_free(ids);
            return tw_err_set(err, -EINVAL, "--prompt-ids: \"%.20s\" is no id; wanted 1,2,3", at);
        }
        ids[n++] = (uint32_t)v;
        at = end + strspn(end, ", \n");
    }
    *ret = ids;
    *ret_n = n;
    return 0;
}

static int write_logits(const tw_args *a, const float *logits, uint32_t vocab, tw_err *err)
{
    return a->logits_path != NULL
               ? tw_file_write(a->logits_path, logits, (size_t)vocab * sizeof(float), err)
               : 0;
}

static int run_once(tw_node *n, tw_err *err)
{
    const tw_args *a = &n->args;
    uint32_t *ids TW_CLEANUP(tw_mem_freep) = NULL;
    float *logits TW_CLEANUP(tw_mem_freep) = NULL;
    tw_engine_info info;
    size_t n_ids = 0;
    int rc = a->prompt_ids != NULL ? parse_ids(a->prompt_ids, &ids, &n_ids, err)
                                   : tw_model_tokenize(n->model, a->prompt, strlen(a->prompt), true,
                                                       &ids, &n_ids, err);
    if (rc != 0)
        return rc;
    tw_engine_get_info(n->engine, &info);
    logits = a->logits_path != NULL ? tw_mem_calloc(info.vocab, sizeof(float)) : NULL;
    if (a->logits_path != NULL && logits == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for %u logits", info.vocab);
    struct generation g = {.print_ids = a->ids, .echo = !a->ids};
    tw_request r = {.prompt = ids,
                    .n_prompt = n_ids,
                    .max_tokens = a->max_tokens,
                    .ignore_eos = a->ignore_eos,
                    .stops = &a->stop,
                    .n_stops = a->stop != NULL,
                    .ret_logits = logits};
    tw_args_sampling(a, n->model, &r.sampling);
    rc = generate(n, &r, &g, err);
    if (g.out_errno == 0 && (g.n_ids > 0 || g.echo))
        printf("\n");
    if (rc == 0)
        rc = tw_out_flush(err); /* the line ends before the lines on stderr begin */
    if (rc == 0)
        rc = write_logits(a, logits, info.vocab, err);
    if (rc == 0)
        print_speed(n, &g);
    return rc;
}

/* ---- chat ---- */

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
    struct generation g = {.echo = true, .reply = reply};
    tw_request r = {.prompt = ids,
                    .n_prompt = n_ids,
                    .max_tokens = n->args.has_max_tokens ? n->args.max_tokens : 0,
                    .ignore_eos = n->args.ignore_eos,
                    .stops = &n->args.stop,
                    .n_stops = n->args.stop != NULL};
    tw_args_sampling(&n->args, n->model, &r.sampling);
    rc = generate(n, &r, &g, err);
    if (g.out_errno == 0)
        printf("\n");
    if (rc == 0)
        rc = tw_out_flush(err); /* a program that talks to us waits for the end of the line */
    if (rc == 0 && n->args.verbose > 0)
        print_speed(n, &g);
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

static int chat(tw_node *n, tw_err *err)
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

static int cmd_run(int argc, char **argv)
{
    tw_args a;
    tw_node n;
    tw_err err = {0};
    if (tw_args_parse(&tw_command_run, argc, argv, &a, &err) != 0 ||
        tw_far_find_nodes(&a, &err) != 0)
        return tw_command_misused(&tw_command_run, &err);
    int rc = tw_node_open(&a, &n, &err);
    if (rc == 0) {
        rc = a.prompt != NULL || a.prompt_ids != NULL ? run_once(&n, &err) : chat(&n, &err);
        tw_node_close(&n);
    }
    tw_far_name_ranks(&a, &err);
    return tw_command_end(&tw_command_run, rc, &err);
}

#define AT(field) .offset = offsetof(tw_args, field)

static const tw_option run_options[] = {
    {"prompt", 'p', "TEXT", "one answer to TEXT, then the end", TW_OPT_ANY, AT(prompt)},
    {"prompt-ids", .arg = "1,2,...", .help = "the same, from token ids", .type = TW_OPT_ANY,
     AT(prompt_ids)},
    {"n-tokens", 'n', "N", "at most N tokens (-p: 128; chat: what the context holds)", TW_OPT_U32,
     AT(max_tokens), .has_offset = offsetof(tw_args, has_max_tokens), .min = 1, .max = 1u << 20},
    {"stop", .arg = "TEXT", .help = "end where the answer has TEXT", .type = TW_OPT_TEXT, AT(stop)},
    {"ignore-eos", .help = "go on after the model's own end", .type = TW_OPT_FLAG, AT(ignore_eos)},
    {"ids", .help = "generated ids on one line instead of text", .type = TW_OPT_FLAG, AT(ids)},
    {"logits", .arg = "FILE", .help = "raw f32 [V] of the last prompt position",
     .type = TW_OPT_TEXT, AT(logits_path)},
    {"verbose", 'v', NULL, "chat: speed and transport after each answer", TW_OPT_COUNT,
     AT(verbose)},
    {.name = NULL},
};

static const tw_option_table run_tables[] = {
    {NULL, run_options},
    {"sampling (default: what the model's folder wishes)", tw_options_sampling},
    {"ranks", tw_options_ranks},
    {"other machines (docs/nodes.md)", tw_options_nodes},
    {"model", tw_options_model},
    {NULL, NULL},
};

static const tw_note run_examples[] = {
    {"twinax run models/demo -p \"What is twinax?\"", "one answer, all cores"},
    {"twinax run MODEL --nodes box1=192.168.100.1,box2=192.168.100.2",
     "chat with a model that two machines share"},
    {NULL, NULL},
};

const tw_command tw_command_run = {
    .name = "run",
    .args = "MODEL [-p TEXT]",
    .summary = "generate once, or chat when no -p",
    .about =
        "MODEL is a folder in Hugging Face layout. Text goes to stdout; speed, and what carried "
        "the bytes between ranks, to stderr.",
    .tables = run_tables,
    .run = cmd_run,
    .group = TW_GROUP_MODEL,
    .examples = run_examples,
};
