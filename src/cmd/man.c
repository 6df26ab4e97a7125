/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/man.h"

#include <ctype.h>
#include <string.h>

#include "base/str.h"
#include "cmd/commands.h"
#include "twinax/version.h"

/* ---- roff ---- */

/* One character; returns the bytes that it took. */
static size_t put_char(FILE *out, const char *p, bool literal)
{
    uint32_t cp = 0;
    const unsigned n = tw_utf8_decode(p, strlen(p), &cp);
    if (*p == '\\')
        fputs("\\e", out);
    else if (*p == '\'')
        fputs("\\(aq", out);
    else if (*p == '`')
        fputs("\\(ga", out);
    else if (*p == '^')
        fputs("\\(ha", out);
    else if (*p == '~')
        fputs("\\(ti", out);
    else if (*p == '-' && literal)
        fputs("\\-", out);
    else if (*p == '\n')
        fputc(' ', out);
    else if (n > 1)
        fprintf(out, "\\[u%04X]", (unsigned)cp);
    else
        fputc(*p, out);
    return n > 0 ? n : 1;
}

void tw_man_literal(FILE *out, const char *text)
{
    if (*text == '.')
        fputs("\\&", out);
    while (*text != '\0')
        text += put_char(out, text, true);
}

/* "-x" and "--xyz" are options, "two-way" is a word. */
static bool begins_option(const char *text, const char *p)
{
    const bool at_start = p == text || strchr(" ([`|-", p[-1]) != NULL;
    return *p == '-' && at_start && (p[1] == '-' || isalnum((unsigned char)p[1]));
}

void tw_man_text(FILE *out, const char *text)
{
    bool bold = false, literal = false;
    if (*text == '.')
        fputs("\\&", out);
    for (const char *p = text; *p != '\0';) {
        if (begins_option(text, p))
            literal = true;
        else if (strchr(" ,;:)|", *p) != NULL)
            literal = false;
        const bool tick = *p == '`' && (bold || strchr(p + 1, '`') != NULL);
        if (!tick) {
            p += put_char(out, p, literal || bold);
            continue;
        }
        bold = !bold;
        fputs(bold ? "\\fB" : "\\fR", out);
        p++;
    }
    fputc('\n', out);
}

void tw_man_entry(FILE *out, const char *left, const char *right)
{
    fputs(".TP\n\\fB", out);
    tw_man_literal(out, left);
    fputs("\\fR\n", out);
    tw_man_text(out, right);
}

void tw_man_notes(FILE *out, const char *title, const tw_note *v)
{
    if (v == NULL)
        return;
    fprintf(out, ".SH %s\n", title);
    for (; v->left != NULL; v++)
        tw_man_entry(out, v->left, v->right);
}

/* "bench coll" is twinax-bench-coll. */
static void page_name(const tw_command *c, char out[96])
{
    snprintf(out, 96, "twinax-%s", c->name);
    for (char *p = strchr(out, ' '); p != NULL; p = strchr(p, ' '))
        *p = '-';
}

void tw_man_head(FILE *out, const char *name, const char *section, const char *summary)
{
    fputs(".\\\" Made by `twinax help --man` from the tables of commands and options.\n.TH ", out);
    for (const char *p = name; *p != '\0'; p++)
        if (*p == '-')
            fputs("\\-", out);
        else
            fputc(toupper((unsigned char)*p), out);
    fprintf(out, " %s %s \"twinax %s\" \"twinax\"\n.SH NAME\n", section, TW_VERSION_DATE,
            tw_version());
    tw_man_literal(out, name);
    fputs(" \\- ", out);
    tw_man_text(out, summary);
}

/* ---- one command ---- */

static void print_option(FILE *out, const tw_option *o)
{
    const char *arg = o->arg != NULL ? o->arg : "";
    const bool optional = arg[0] == '[';
    fputs(".TP\n", out);
    if (o->letter != 0)
        fprintf(out, "\\fB\\-%c\\fR%s", o->letter, o->name != NULL ? ", " : "");
    if (o->name != NULL) {
        fputs("\\fB\\-\\-", out);
        tw_man_literal(out, o->name);
        fputs("\\fR", out);
    }
    if (arg[0] != '\0') {
        fputs(optional ? "[=\\fI" : " \\fI", out);
        tw_man_literal(out, arg + optional);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    tw_man_text(out, o->help);
}

static bool shows_any(const tw_option_table *t)
{
    for (const tw_option *o = t->v; o->name != NULL || o->letter != 0; o++)
        if (o->help != NULL)
            return true;
    return false;
}

static void print_options(FILE *out, const tw_option_table *tables)
{
    bool any = false;
    for (const tw_option_table *t = tables; t != NULL && t->v != NULL; t++) {
        if (!shows_any(t))
            continue;
        fputs(any ? "" : ".SH OPTIONS\n", out);
        any = true;
        if (t->title != NULL) {
            fputs(".SS ", out);
            tw_man_text(out, t->title);
        }
        for (const tw_option *o = t->v; o->name != NULL || o->letter != 0; o++)
            if (o->help != NULL)
                print_option(out, o);
    }
}

static void print_about(FILE *out, const tw_command *c)
{
    fputs(".SH DESCRIPTION\n", out);
    if (c->about == NULL)
        tw_man_text(out, c->summary);
    for (const char *p = c->about; p != NULL && *p != '\0';) {
        char text[2000];
        const char *end = strstr(p, "\n\n");
        const size_t n = end != NULL ? (size_t)(end - p) : strlen(p);
        snprintf(text, sizeof text, "%.*s", (int)(n < sizeof text ? n : sizeof text - 1), p);
        fputs(p != c->about ? ".PP\n" : "", out);
        tw_man_text(out, text);
        p = end != NULL ? end + 2 : NULL;
    }
}

static void see_page(FILE *out, const char *name, const char *section, bool last)
{
    fputs(".BR ", out);
    tw_man_literal(out, name);
    fprintf(out, " (%s)%s\n", section, last ? "" : ",");
}

static void print_see_also(FILE *out, const tw_command *c)
{
    fputs(".SH SEE ALSO\n", out);
    see_page(out, "twinax", "1", false);
    for (const tw_command *const *o = tw_commands; *o != NULL; o++) {
        char name[96];
        page_name(*o, name);
        if (*o != c && (*o)->group == c->group && (*o)->summary != NULL)
            see_page(out, name, "1", false);
    }
    see_page(out, "twinax.conf", "5", true);
}

void tw_man_print_command(const tw_command *c, FILE *out)
{
    char name[96];
    page_name(c, name);
    tw_man_head(out, name, "1", c->summary != NULL ? c->summary : "started by twinax itself");
    fputs(".SH SYNOPSIS\n\\fBtwinax ", out);
    tw_man_literal(out, c->name);
    fputs("\\fR ", out);
    tw_man_literal(out, c->args);
    fputs(c->tables != NULL ? " [OPTION]...\n" : "\n", out);
    if (c->about != NULL || c->summary != NULL)
        print_about(out, c);
    print_options(out, c->tables);
    tw_man_notes(out, "ENVIRONMENT", c->env);
    tw_man_notes(out, "EXIT STATUS", c->exits != NULL ? c->exits : tw_usual_exits);
    tw_man_notes(out, "EXAMPLES", c->examples);
    print_see_also(out, c);
}

/* ---- all commands ---- */

static const tw_note files[] = {
    {"./twinax.conf", "the machines and what is served; the first one of these three counts"},
    {"$XDG_CONFIG_HOME/twinax/twinax.conf", "else in ~/.config"},
    {"/etc/twinax/twinax.conf", "of all users"},
    {"$XDG_STATE_HOME/twinax/", "what runs in the background, and its log; else in ~/.local/state"},
    {"/var/lib/twinax/setup/", "what `twinax setup` changed, to take it back"},
    {NULL, NULL},
};

/* Every command's, each name once. */
static void print_environment(FILE *out)
{
    fputs(".SH ENVIRONMENT\n", out);
    for (const tw_command *const *c = tw_commands; *c != NULL; c++)
        for (const tw_note *e = (*c)->env; e != NULL && e->left != NULL; e++) {
            bool said = false;
            for (const tw_command *const *b = tw_commands; b != c; b++)
                for (const tw_note *f = (*b)->env; f != NULL && f->left != NULL; f++)
                    said = said || strcmp(e->left, f->left) == 0;
            if (!said)
                tw_man_entry(out, e->left, e->right);
        }
}

void tw_man_print_overview(FILE *out)
{
    tw_man_head(out, "twinax", "1", "two machines, one model");
    fputs(".SH SYNOPSIS\n\\fBtwinax\\fR COMMAND [OPTION]...\n.SH DESCRIPTION\n", out);
    tw_man_text(out,
                "Joins two, four or eight Linux machines into one LLM server: it splits the model "
                "by tensor parallelism over a plain cable and serves it over the OpenAI API. All "
                "is typed on the first machine; the others are reached by ssh.");
    fputs(".SH COMMANDS\n", out);
    for (unsigned g = 0; g < TW_GROUPS; g++) {
        fprintf(out, ".SS %s\n", tw_command_group_title((enum tw_command_group)g));
        for (const tw_command *const *c = tw_commands; *c != NULL; c++) {
            char name[96];
            if ((*c)->group != g || (*c)->summary == NULL)
                continue;
            page_name(*c, name);
            fputs(".TP\n.BR ", out);
            tw_man_literal(out, name);
            fputs(" (1)\n", out);
            tw_man_text(out, (*c)->summary);
        }
    }
    tw_man_notes(out, "FILES", files);
    print_environment(out);
    tw_man_notes(out, "EXIT STATUS", tw_usual_exits);
    fputs(".SH SEE ALSO\n", out);
    see_page(out, "twinax.conf", "5", false);
    see_page(out, "ssh", "1", true);
}
