/* SPDX-License-Identifier: Apache-2.0 */
/* A command's page. */
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "cmd/option.h"

enum { OPTION_COLUMN = 26, EXAMPLE_COLUMN = 6, EXIT_COLUMN = 7 };

const tw_note tw_usual_exits[] = {
    {"0", "good"},
    {"1", "it failed; the last line says why"},
    {"2", "the command line is wrong"},
    {"130", "interrupted"},
    {NULL, NULL},
};

static void spaces(FILE *out, unsigned n)
{
    fprintf(out, "%*s", (int)n, "");
}

void tw_option_wrap(FILE *out, const char *text, unsigned column, unsigned indent)
{
    bool at_start = true;
    while (*text != '\0') {
        size_t n = strcspn(text, " ");
        if (!at_start && column + 1 + n > TW_OPTION_COLUMNS) {
            fputc('\n', out);
            spaces(out, indent);
            column = indent;
            at_start = true;
        }
        if (!at_start)
            fputc(' ', out);
        fwrite(text, 1, n, out);
        column += (unsigned)n + (at_start ? 0 : 1);
        at_start = false;
        text += n + (text[n] == ' ');
    }
    fputc('\n', out);
}

void tw_option_columns(FILE *out, const char *left, const char *right, unsigned indent,
                       unsigned column)
{
    const unsigned n = indent + (unsigned)strlen(left);
    spaces(out, indent);
    fputs(left, out);
    if (n + 2 > column)
        fputc('\n', out);
    spaces(out, n + 2 > column ? column : column - n);
    tw_option_wrap(out, right, column, column);
}

static void print_option(const tw_option *o, FILE *out)
{
    char left[96], name[64] = "";
    const char *arg = o->arg != NULL ? o->arg : "";
    const bool optional = arg[0] == '[';
    if (o->name != NULL && optional) /* "[ADDR]" */
        snprintf(name, sizeof name, "--%s[=%s", o->name, arg + 1);
    else if (o->name != NULL)
        snprintf(name, sizeof name, "--%s%s%s", o->name, arg[0] != '\0' ? " " : "", arg);
    if (o->letter != 0)
        snprintf(left, sizeof left, "-%c%s%s", o->letter,
                 o->name != NULL  ? ", "
                 : arg[0] != '\0' ? " "
                                  : "",
                 o->name != NULL ? name : arg);
    else
        snprintf(left, sizeof left, "    %s", name);
    tw_option_columns(out, left, o->help, 2, OPTION_COLUMN);
}

static void print_paragraphs(const char *about, FILE *out)
{
    for (const char *p = about; p != NULL && *p != '\0';) {
        const char *end = strstr(p, "\n\n");
        size_t n = end != NULL ? (size_t)(end - p) : strlen(p);
        char text[2000];
        snprintf(text, sizeof text, "%.*s", (int)TW_MIN(n, sizeof text - 1), p);
        fputc('\n', out);
        tw_option_wrap(out, text, 0, 0);
        p = end != NULL ? end + 2 : NULL;
    }
}

static void print_notes(const char *title, const tw_note *v, unsigned column, FILE *out)
{
    if (v == NULL)
        return;
    fprintf(out, "\n%s:\n", title);
    for (; v->left != NULL; v++)
        tw_option_columns(out, v->left, v->right, 2, column);
}

void tw_command_print(const tw_command *c, FILE *out)
{
    fprintf(out, "usage: twinax %s%s", c->name, c->args[0] != '\0' ? " " : "");
    tw_option_wrap(out, c->args, (unsigned)strlen(c->name) + 14, 8);
    fputc('\n', out);
    if (c->summary != NULL)
        tw_option_wrap(out, c->summary, 0, 0);
    print_paragraphs(c->about, out);
    for (const tw_option_table *t = c->tables; t != NULL && t->v != NULL; t++) {
        fprintf(out, "\n%s:\n", t->title != NULL ? t->title : "options");
        for (const tw_option *o = t->v; o->name != NULL || o->letter != 0; o++)
            if (o->help != NULL)
                print_option(o, out);
    }
    print_notes("environment", c->env, OPTION_COLUMN, out);
    print_notes("examples", c->examples, EXAMPLE_COLUMN, out);
    print_notes("exit codes", c->exits != NULL ? c->exits : tw_usual_exits, EXIT_COLUMN, out);
}
