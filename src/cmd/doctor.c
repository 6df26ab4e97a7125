/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/doctor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cmd/out.h"
#include "cmd/push.h"
#include "host/facts_scrub.h"
#include "os/file.h"

enum { RECORD_MAX = 16 << 20 };

static const char *const engines[] = {"auto", "native", "vllm", NULL};
static const char *const transports[] = {"auto", "rdma", "tcp", NULL};

#define AT(field) offsetof(doctor_opts, field)

static const tw_option options[] = {
    {.name = "nodes",
     .arg = "A=IP,B=IP",
     .help = "The machines by ssh name and cluster address, this one first; else twinax.conf, else "
             "this machine alone.",
     .type = TW_OPT_TEXT,
     .offset = AT(nodes_list)},
    {.name = "engine",
     .arg = "ENGINE",
     .help = "Judge for auto, native or vllm.",
     .type = TW_OPT_CHOICE,
     .offset = AT(engine),
     .has_offset = AT(has_engine),
     .choices = engines},
    {.name = "transport",
     .arg = "T",
     .help = "Judge for auto, rdma or tcp.",
     .type = TW_OPT_CHOICE,
     .offset = AT(transport),
     .has_offset = AT(has_transport),
     .choices = transports},
    {.name = "model",
     .arg = "M",
     .help = "A model's folder: is it on all nodes, is it the same, does it fit?",
     .type = TW_OPT_TEXT,
     .offset = AT(model)},
    {.name = "interface",
     .arg = "NAME",
     .help = "The cable's interface, where no address tells it.",
     .type = TW_OPT_TEXT,
     .offset = AT(interface)},
    TW_AGENT_OPTIONS(doctor_opts),
    {.name = "no-load",
     .help = "Leave out the two seconds of load on each cable.",
     .type = TW_OPT_FLAG,
     .offset = AT(no_load)},
    {.name = "fix",
     .help = "Have setup do the mends that it knows, after its plan was shown.",
     .type = TW_OPT_FLAG,
     .offset = AT(fix)},
    {.name = "facts",
     .arg = "FILE",
     .help = "Judge recorded facts instead of these machines.",
     .type = TW_OPT_TEXT,
     .offset = AT(facts)},
    {.name = "record",
     .arg = "FILE",
     .help =
         "Also write the facts, without names, addresses and serial numbers, to show to others.",
     .type = TW_OPT_TEXT,
     .offset = AT(record)},
    {.name = "source",
     .arg = "TEXT",
     .help = "What the record says of where it is from.",
     .type = TW_OPT_TEXT,
     .offset = AT(source)},
    {.name = "list",
     .help = "Every check and what it means, as Markdown.",
     .type = TW_OPT_FLAG,
     .offset = AT(list)},
    {.name = "json", .help = "One object.", .type = TW_OPT_FLAG, .offset = AT(json)},
    {.letter = 'v',
     .help = "Also what was not asked for.",
     .type = TW_OPT_COUNT,
     .offset = AT(verbose)},
    {0}};

static const tw_option_table tables[] = {{NULL, options}, {0}};

int tw_doctor_replay(const doctor_opts *o, tw_check_record *ret, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(RECORD_MAX);
    int rc = tw_file_read(o->facts, &b, err);
    if (rc == 0)
        rc = tw_check_record_parse(o->facts, b.data != NULL ? b.data : "", b.len, ret, err);
    if (rc == 0 && o->has_engine)
        ret->world.config.engine = (enum tw_check_engine)o->engine;
    if (rc == 0 && o->has_transport)
        ret->world.config.transport = (enum tw_check_transport)o->transport;
    return rc;
}

/* A record may be shown to others: what names people and places goes before it is written. */
int tw_doctor_write_record(const doctor_opts *o, const tw_check_record *r, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *v = tw_check_record_print(r);
    if (v == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the record");
    int rc = tw_facts_scrub(v, err);
    if (rc != 0)
        return rc;
    json_object_set_new(v, "source",
                        json_string(o->source != NULL ? o->source : "twinax doctor --record"));
    char *text = json_dumps(v, JSON_INDENT(1));
    if (text == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the record");
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(RECORD_MAX);
    rc = tw_buf_puts(&b, text);
    tw_mem_free(text);
    if (rc == 0)
        rc = tw_buf_puts(&b, "\n");
    if (rc != 0)
        return tw_err_set(err, rc, "%s: the record is larger than %d MiB", o->record,
                          RECORD_MAX >> 20);
    return tw_file_write(o->record, b.data, b.len, err);
}

int tw_doctor_examine(const doctor_opts *o, tw_check_record *r, doctor_results *v, tw_err *err)
{
    int rc = o->facts != NULL ? tw_doctor_replay(o, r, err) : tw_doctor_gather(o, r, err);
    if (rc != 0)
        return rc;
    v->n = tw_checks_run(&r->world, v->v, TW_CHECK_RESULTS_MAX);
    if (o->json)
        rc = tw_doctor_print_json(r, v, err);
    else if (!o->silent)
        tw_doctor_print(o, r, v);
    if (rc == 0 && o->record != NULL)
        rc = tw_doctor_write_record(o, r, err);
    return rc == 0 ? tw_out_flush(err) : rc;
}

static int check_together(const doctor_opts *o, int n_words, char **words, tw_err *err)
{
    if (n_words > 0)
        return tw_err_set(err, -EINVAL, "%s: what is that? see `twinax doctor --help`", words[0]);
    if (o->facts != NULL && (o->nodes_list != NULL || o->fix || o->record != NULL || o->push))
        return tw_err_set(
            err, -EINVAL,
            "--facts judges a file; --nodes, --push, --fix and --record need the machines");
    return 0;
}

static void freep(tw_check_record **r)
{
    if (*r != NULL)
        tw_check_record_done(*r);
    tw_mem_free(*r);
    *r = NULL;
}

static int run(int argc, char **argv)
{
    doctor_opts o = {0};
    tw_err err = {0};
    int first = argc, rc = tw_options_parse(tables, argc, argv, &o, &first, &err);
    if (rc != 0 || check_together(&o, argc - first, argv + first, &err) != 0)
        return tw_command_misused(&tw_command_doctor, &err);
    if (o.list) {
        tw_doctor_print_list();
        return tw_command_end(&tw_command_doctor, tw_out_flush(&err), &err);
    }
    TW_CLEANUP(freep) tw_check_record *r = tw_mem_calloc(1, sizeof *r);
    TW_CLEANUP(tw_mem_freep) doctor_results *v = tw_mem_calloc(1, sizeof *v);
    rc = r != NULL && v != NULL ? tw_doctor_examine(&o, r, v, &err)
                                : tw_err_set(&err, -ENOMEM, "no memory");
    if (rc == -EINVAL && o.facts == NULL) /* --nodes, twinax.conf */
        return tw_command_misused(&tw_command_doctor, &err);
    if (rc != 0)
        return tw_command_end(&tw_command_doctor, rc, &err);
    if (o.fix)
        return tw_doctor_fix(&o, v);
    return tw_checks_worst(v->v, v->n) == TW_CHECK_FAIL ? TW_EXIT_FAILED : TW_EXIT_OK;
}

static const tw_note examples[] = {
    {"twinax doctor", "the machines of twinax.conf, or this one alone"},
    {"twinax doctor --nodes box1=192.168.100.1,box2=192.168.100.2 --transport rdma",
     "two machines and the RDMA cable between them"},
    {"twinax doctor --record box.json", "what it found, to show to others"},
    {NULL, NULL}};

static const tw_note exits[] = {{"0", "nothing failed; warnings do not count"},
                                {"1", "a check failed, or an error"},
                                {"2", "a usage error"},
                                {NULL, NULL}};

const tw_command tw_command_doctor = {
    .name = "doctor",
    .args = "[--nodes LIST]",
    .summary = "check this machine, or all machines and the cables between them",
    .about =
        "Gathers facts of all nodes at once, proves the way between them (ports, packet sizes, "
        "clocks, ssh both ways, error counters under load), and judges both by what the config "
        "asks for. Each check says what it found, what is wanted and the command that mends it. "
        "Nothing is changed.\n\nThe list of checks is in docs/doctor.md.",
    .tables = tables,
    .run = run,
    .group = TW_GROUP_HOSTS,
    .examples = examples,
    .exits = exits,
};
