/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax ui`, and `start-vllm-cluster` as in the guide. */
#include "ui/ui.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cluster/config_file.h"
#include "cmd/commands.h"
#include "os/file.h"

enum { PATH_BYTES = 1024 };

typedef struct ui_opts {
    unsigned engine;
    bool has_engine, ascii;
} ui_opts;

static const char *const engines[] = {"native", "vllm", NULL};

static const tw_option options[] = {
    {"engine", .arg = "E",
     .help = "native or vllm: the one that is proposed first; default native, as "
             "start-vllm-cluster vllm",
     .type = TW_OPT_CHOICE, .choices = engines, .offset = offsetof(ui_opts, engine),
     .has_offset = offsetof(ui_opts, has_engine)},
    {"ascii", .help = "plain lines and bars, where the locale promises more than the terminal has",
     .type = TW_OPT_FLAG, .offset = offsetof(ui_opts, ascii)},
    {.name = NULL},
};
static const tw_option_table tables[] = {{NULL, options}, {NULL, NULL}};

/* ---- what the menu is told ---- */

static void take_nodes(const tw_config *c, tw_ui_config *ret)
{
    ret->n_nodes = TW_MIN(c->nodes.n, (size_t)TW_UI_NODES_MAX);
    for (size_t i = 0; i < ret->n_nodes; i++) {
        const tw_node_spec *s = &c->nodes.v[i];
        snprintf(ret->nodes[i].name, sizeof ret->nodes[i].name, "%s", s->name);
        snprintf(ret->nodes[i].ssh, sizeof ret->nodes[i].ssh, "%s", s->ssh);
        snprintf(ret->nodes[i].ip, sizeof ret->nodes[i].ip, "%s", s->ip);
        snprintf(ret->nodes[i].interface, sizeof ret->nodes[i].interface, "%s",
                 tw_config_interface(c, s));
        snprintf(ret->nodes[i].agent_path, sizeof ret->nodes[i].agent_path, "%s", s->agent_path);
    }
}

static int read_config(tw_ui_config *ret, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_config_found *f = tw_mem_calloc(1, sizeof *f);
    if (f == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the configuration");
    const int rc = tw_config_find(f, err);
    if (rc != 0)
        return rc;
    snprintf(ret->path, sizeof ret->path, "%s", f->path);
    snprintf(ret->transport, sizeof ret->transport, "%s", f->config.transport);
    snprintf(ret->interface, sizeof ret->interface, "%s", f->config.interface);
    snprintf(ret->model, sizeof ret->model, "%s", f->config.serve.model);
    snprintf(ret->engine, sizeof ret->engine, "%s", f->config.serve.engine);
    ret->port = f->config.serve.port;
    ret->tp = f->config.serve.tp;
    ret->ctx = f->config.serve.ctx;
    take_nodes(&f->config, ret);
    return 0;
}

static int find_program(char out[PATH_BYTES], tw_err *err)
{
    const ssize_t n = readlink("/proc/self/exe", out, PATH_BYTES - 1);
    if (n <= 0)
        return tw_err_set(err, -errno, "where this program lies is not known: %s", strerror(errno));
    out[n] = '\0';
    return 0;
}

/* Beside the program, wherever it was moved to; of a build folder; where it was installed. */
static void find_catalogue(const char *program, char out[PATH_BYTES])
{
    static const char *const places[] = {"../share/twinax", "../data"};
    const int n = (int)(strrchr(program, '/') - program);
    for (size_t i = 0; i < TW_ARRAY_LEN(places); i++) {
        snprintf(out, PATH_BYTES, "%.*s/%s/catalogue.txt", n, program, places[i]);
        if (tw_file_exists(out))
            return;
    }
    snprintf(out, PATH_BYTES, "%s/catalogue.txt", TWINAX_DATA_DIR);
}

/* ---- the command ---- */

static void print_choices(const char *why)
{
    const char *name, *command;
    fprintf(stderr, "twinax ui: %s: the menu wants a terminal. Its choices are these commands:\n",
            why);
    for (size_t i = 0; tw_ui_choice(i, &name, &command); i++)
        fprintf(stderr, "  %-16s twinax %s\n", name, command);
}

static bool is_start_vllm_cluster(const char *argv0)
{
    return strstr(argv0, "start-vllm-cluster") != NULL;
}

static int cmd_ui(int argc, char **argv)
{
    ui_opts o = {.engine = 0};
    tw_err err = {0};
    int first = 0;
    char program[PATH_BYTES], catalogue[PATH_BYTES];
    const bool guide = is_start_vllm_cluster(argv[0]);
    if (tw_options_parse(tables, argc, argv, &o, &first, &err) == 0 && first < argc)
        (void)tw_err_set(&err, -EINVAL, "%s: ui takes no such word", argv[first]);
    if (err.code != 0)
        return tw_command_misused(&tw_command_ui, &err);
    const char *why = tw_ui_why_not();
    if (why != NULL) {
        print_choices(why);
        return TW_EXIT_USAGE;
    }
    int rc = find_program(program, &err);
    if (rc == 0) {
        find_catalogue(program, catalogue);
        const tw_ui_opts opts = {.program = program,
                                 .catalogue = catalogue,
                                 .vllm = o.has_engine ? o.engine == 1 : guide,
                                 .ascii = o.ascii,
                                 .read_config = read_config};
        rc = tw_ui_menu_run(&opts, &err);
    }
    return tw_command_end(&tw_command_ui, rc, &err);
}

static const tw_note env[] = {
    {"NO_COLOR", "no colours"},
    {"LC_ALL, LC_CTYPE, LANG", "lines and bars are UTF-8 where the locale is, else ASCII"},
    {"HF_TOKEN", "for gated models; its children have it too"},
    {NULL, NULL},
};
static const tw_note exits[] = {
    {"0", "left, or ended by a signal; what is served goes on"},
    {"2", "the command line is wrong, or there is no terminal for a menu"},
    {NULL, NULL},
};

static const tw_note ui_page_examples[] = {
    {"twinax ui", "the menu"},
    {"twinax ui --ascii", "on a terminal without line drawing"},
    {NULL, NULL},
};

const tw_command tw_command_ui = {
    .name = "ui",
    .args = "[--engine E] [--ascii]",
    .summary = "the menu: configure, start, status, launch",
    .about = "Each choice shows the command that it runs. More in docs/ui.md.",
    .tables = tables,
    .run = cmd_ui,
    .group = TW_GROUP_CLUSTER,
    .env = env,
    .exits = exits,
    .keeps_signals = true,
    .examples = ui_page_examples,
};
