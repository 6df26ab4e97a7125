/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax config`: every setting, its value, and who says so: a flag, twinax.conf (which line), the
 * environment, or nobody. Secrets are said to be there, never what they are. */
#include "cmd/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cmd/commands.h"
#include "cmd/out.h"

#define AT(field) .offset = offsetof(config_opts, field)

static int take_key(void *opts, char *value, tw_err *err)
{
    config_opts *o = opts;
    (void)err;
    o->has_key = true;
    memset(value, '*', strlen(value)); /* every user of this machine can read command lines */
    return 0;
}

/* What serve and up take, and say over the file. */
static const tw_option flag_options[] = {
    {"nodes", .arg = "A=IP,B=IP", .help = "as of serve; twinax.conf is not read then",
     .type = TW_OPT_TEXT, AT(flags[FLAG_NODES])},
    {"local", .help = "as of serve; twinax.conf is not read then", .type = TW_OPT_FLAG, AT(local)},
    {"transport", .arg = "T", .help = "as of serve", .type = TW_OPT_TEXT,
     AT(flags[FLAG_TRANSPORT])},
    {"rdma-device", .arg = "NAME", .help = "as of serve", .type = TW_OPT_TEXT,
     AT(flags[FLAG_RDMA_DEVICE])},
    {"engine", .arg = "E", .help = "as of serve", .type = TW_OPT_TEXT, AT(flags[FLAG_ENGINE])},
    {"host", .arg = "H", .help = "as of serve", .type = TW_OPT_TEXT, AT(flags[FLAG_HOST])},
    {"port", .arg = "P", .help = "as of serve", .type = TW_OPT_TEXT, AT(flags[FLAG_PORT])},
    {"tp", .arg = "R", .help = "as of serve", .type = TW_OPT_TEXT, AT(flags[FLAG_TP])},
    {"ctx", .arg = "N", .help = "as of serve", .type = TW_OPT_TEXT, AT(flags[FLAG_CTX])},
    {"max-seqs", .arg = "N", .help = "as of serve", .type = TW_OPT_TEXT, AT(flags[FLAG_MAX_SEQS])},
    {"chunk", .arg = "N", .help = "as of serve", .type = TW_OPT_TEXT, AT(flags[FLAG_CHUNK])},
    {"threads", .arg = "N", .help = "as of serve", .type = TW_OPT_TEXT, AT(flags[FLAG_THREADS])},
    {"kv", .arg = "TYPE", .help = "as of serve", .type = TW_OPT_TEXT, AT(flags[FLAG_KV])},
    {"quant", .arg = "Q", .help = "as of serve", .type = TW_OPT_TEXT, AT(flags[FLAG_QUANT])},
    {"arith", .arg = "A", .help = "as of serve", .type = TW_OPT_TEXT, AT(flags[FLAG_ARITH])},
    {"pack-cache-gib", .arg = "N", .help = "as of serve", .type = TW_OPT_TEXT,
     AT(flags[FLAG_PACK_CACHE_GIB])},
    {"restart", .arg = "N", .help = "as of serve", .type = TW_OPT_TEXT, AT(flags[FLAG_RESTART])},
    {"cors", .arg = "ORIGIN,..", .help = "as of serve", .type = TW_OPT_TEXT, AT(flags[FLAG_CORS])},
    {"api-key", .arg = "K", .help = "as of serve; not shown", .type = TW_OPT_CALL,
     .call = take_key},
    {"no-auth", .help = "as of serve", .type = TW_OPT_FLAG, AT(no_auth)},
    {"no-pack-cache", .help = "as of serve", .type = TW_OPT_FLAG, AT(no_pack_cache)},
    {.name = NULL},
};
static const tw_option show_options[] = {
    {"json", .help = "one object", .type = TW_OPT_FLAG, AT(json)},
    {.name = NULL},
};

static const tw_option_table config_tables[] = {
    {"what is shown", show_options},
    {"as if these were given", flag_options},
    {NULL, NULL},
};

/* ---- printing ---- */

static const char *source_text(const settings *s, const setting *v, char out[600])
{
    switch (v->source) {
    case FROM_FILE:
        snprintf(out, 600, "%s:%d", s->found.path, v->line);
        return out;
    case FROM_ENV:
        snprintf(out, 600, "environment: %s", v->name);
        return out;
    case FROM_FLAG:
        snprintf(out, 600, "command line: %s", v->name);
        return out;
    case FROM_DEFAULT:
        break;
    }
    return "default";
}

static void print_list(const settings *s)
{
    const char *section = "";
    if (s->found.path[0] != '\0')
        printf("file: %s\n", s->found.path);
    else
        printf("file: %s\n", s->reads_file
                                 ? "none (./twinax.conf, $XDG_CONFIG_HOME/twinax/twinax.conf or "
                                   "~/.config/..., /etc/twinax/twinax.conf)"
                                 : "not read, because of the command line");
    for (size_t i = 0; i < s->n; i++) {
        char source[600];
        const setting *v = &s->v[i];
        if (strcmp(section, v->section) != 0)
            printf("\n[%s]\n", v->section);
        section = v->section;
        printf("%-16s %-32s %s\n", v->key, v->value[0] != '\0' ? v->value : "-",
               source_text(s, v, source));
    }
}

static void print_problems(const settings *s)
{
    if (s->found.warning[0] != '\0')
        fprintf(stderr, "%s\n", s->found.warning);
    for (size_t i = 0; i < TW_MIN(s->trace.n_bad, (size_t)TW_CONFIG_BAD_MAX); i++)
        if (s->trace.bad[i].line > 0)
            fprintf(stderr, "%s:%d: %s\n", s->found.path, s->trace.bad[i].line,
                    s->trace.bad[i].text);
        else
            fprintf(stderr, "%s: %s\n", s->found.path, s->trace.bad[i].text);
    if (s->key_problem[0] != '\0')
        fprintf(stderr, "%s\n", s->key_problem);
}

/* A default may be words ("its cores"): then there is no value, but a meaning. */
static json_t *value_json(const setting *v)
{
    if (v->value[0] == '\0' || v->is_words)
        return json_null();
    if (v->is_number)
        return json_integer((json_int_t)strtoul(v->value, NULL, 10));
    if (v->is_bool)
        return json_boolean(strcmp(v->value, "yes") == 0);
    return json_string(v->value);
}

static json_t *setting_json(const settings *s, const setting *v)
{
    static const char *const sources[] = {
        [FROM_DEFAULT] = "default", [FROM_FILE] = "file", [FROM_ENV] = "env", [FROM_FLAG] = "flag"};
    json_t *o = json_pack("{s:s, s:s, s:o, s:s}", "section", v->section, "key", v->key, "value",
                          value_json(v), "source", sources[v->source]);
    if (v->is_words)
        (void)json_object_set_new(o, "meaning", json_string(v->value));
    if (v->is_secret)
        (void)json_object_set_new(o, "secret", json_true());
    if (v->source == FROM_FILE) {
        (void)json_object_set_new(o, "file", json_string(s->found.path));
        (void)json_object_set_new(o, "line", json_integer(v->line));
    }
    if (v->source == FROM_ENV || v->source == FROM_FLAG)
        (void)json_object_set_new(o, "name", json_string(v->name));
    return o;
}

static void add_problem(json_t *list, int line, const char *text)
{
    json_t *p = json_pack("{s:s}", "text", text);
    if (line > 0)
        (void)json_object_set_new(p, "line", json_integer(line));
    (void)json_array_append_new(list, p);
}

static int print_json(const settings *s, tw_err *err)
{
    json_t *list = json_array(), *problems = json_array();
    for (size_t i = 0; i < s->n; i++)
        (void)json_array_append_new(list, setting_json(s, &s->v[i]));
    for (size_t i = 0; i < TW_MIN(s->trace.n_bad, (size_t)TW_CONFIG_BAD_MAX); i++)
        add_problem(problems, s->trace.bad[i].line, s->trace.bad[i].text);
    if (s->key_problem[0] != '\0')
        add_problem(problems, 0, s->key_problem);
    if (s->found.warning[0] != '\0')
        add_problem(problems, 0, s->found.warning);
    TW_CLEANUP(tw_json_freep)
    json_t *v = json_pack("{s:i, s:s?, s:o, s:o}", "schema", 1, "file",
                          s->found.path[0] != '\0' ? s->found.path : NULL, "settings", list,
                          "problems", problems);
    return tw_out_json(v, err);
}

static int parse(config_opts *o, int argc, char **argv, tw_err *err)
{
    int first;
    int rc = tw_options_parse(config_tables, argc, argv, o, &first, err);
    if (rc == 0 && first + 1 < argc)
        rc = tw_err_set(err, -EINVAL, "%s: only one MODEL is wanted", argv[first + 1]);
    if (rc == 0 && first < argc)
        o->flags[FLAG_MODEL] = argv[first];
    return rc;
}

static int cmd_config(int argc, char **argv)
{
    config_opts o = {.json = false};
    tw_err err = {0};
    TW_CLEANUP(tw_mem_freep) settings *s = tw_mem_calloc(1, sizeof *s);
    if (parse(&o, argc, argv, &err) != 0)
        return tw_command_misused(&tw_command_config, &err);
    int rc = s != NULL ? 0 : tw_err_set(&err, -ENOMEM, "no memory for the settings");
    if (rc == 0)
        rc = tw_settings_read(&o, s, &err);
    if (rc == -EINVAL)
        return tw_command_misused(&tw_command_config, &err);
    if (rc == 0 && o.json)
        rc = print_json(s, &err);
    else if (rc == 0)
        print_list(s);
    if (rc == 0)
        rc = tw_out_flush(&err);
    if (rc == 0 && !o.json)
        print_problems(s);
    const size_t n_bad = rc == 0 ? s->trace.n_bad + (s->key_problem[0] != '\0') : 0;
    if (n_bad > 0)
        rc = tw_err_set(&err, -EBADMSG, "%zu thing%s wrong in %.180s: mend %s first", n_bad,
                        n_bad == 1 ? " is" : "s are", s->found.path, n_bad == 1 ? "it" : "them");
    return tw_command_end(&tw_command_config, rc, &err);
}

static const tw_note config_env[] = {
    {"XDG_CONFIG_HOME", "its twinax/twinax.conf, instead of that in ~/.config"},
    {NULL, NULL},
};

static const tw_note config_examples[] = {
    {"twinax config", "all settings"},
    {"twinax config --tp 1 --port 9000", "as serve would have them with these"},
    {"twinax config --json", "for programs: value, source, file and line"},
    {NULL, NULL},
};

static const tw_note config_exits[] = {
    {"0", "good"},
    {"1", "something in the file is wrong: the lines are named"},
    {"2", "the command line is wrong"},
    {NULL, NULL},
};

const tw_command tw_command_config = {
    .name = "config",
    .args = "[MODEL] [--json]",
    .summary = "every setting, its value and where it comes from",
    .about = "Of twinax.conf's keys (man twinax.conf), and of the environment. What the command "
             "line says counts first, then the file, then the environment, then the default. "
             "Keys and tokens are said to be set, never shown.",
    .tables = config_tables,
    .run = cmd_config,
    .group = TW_GROUP_PROGRAM,
    .examples = config_examples,
    .env = config_env,
    .exits = config_exits,
};
