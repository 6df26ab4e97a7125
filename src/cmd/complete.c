/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/complete.h"

#include <string.h>

#include "base/scope.h"
#include "cmd/commands.h"

enum { WORDS_MAX = 1 << 20 };

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool is_end(const tw_option *o)
{
    return o->name == NULL && o->letter == 0;
}

/* ---- commands ---- */

/* "bench" is there once, though two commands begin with it. */
static bool is_first_of_its_word(const tw_command *const *c, size_t n)
{
    for (const tw_command *const *b = tw_commands; b != c; b++)
        if ((*b)->summary != NULL && strncmp((*b)->name, (*c)->name, n) == 0 &&
            ((*b)->name[n] == '\0' || (*b)->name[n] == ' '))
            return false;
    return true;
}

static void add_first_words(tw_completion *out)
{
    for (const tw_command *const *c = tw_commands; *c != NULL; c++) {
        char word[64];
        const size_t n = strcspn((*c)->name, " ");
        if ((*c)->summary == NULL || !is_first_of_its_word(c, n))
            continue;
        snprintf(word, sizeof word, "%.*s", (int)n, (*c)->name);
        tw_completion_add(out, word, (*c)->summary);
    }
}

static void add_second_words(tw_completion *out, const char *first)
{
    const size_t n = strlen(first);
    for (const tw_command *const *c = tw_commands; *c != NULL; c++)
        if ((*c)->summary != NULL && strncmp((*c)->name, first, n) == 0 && (*c)->name[n] == ' ')
            tw_completion_add(out, (*c)->name + n + 1, (*c)->summary);
}

/* ---- options ---- */

static const tw_option *find_long(const tw_command *c, const char *name, size_t n)
{
    for (const tw_option_table *t = c->tables; t != NULL && t->v != NULL; t++)
        for (const tw_option *o = t->v; !is_end(o); o++)
            if (o->name != NULL && strlen(o->name) == n && memcmp(o->name, name, n) == 0)
                return o;
    return NULL;
}

static const tw_option *find_letter(const tw_command *c, char letter)
{
    for (const tw_option_table *t = c->tables; t != NULL && t->v != NULL; t++)
        for (const tw_option *o = t->v; !is_end(o); o++)
            if (o->letter == letter)
                return o;
    return NULL;
}

static bool wants_value(const tw_option *o)
{
    return o != NULL && o->arg != NULL && o->arg[0] != '[';
}

/* The option whose value the next word is; NULL: none. */
static const tw_option *open_option(const tw_command *c, const char *word)
{
    if (begins(word, "--")) {
        const tw_option *o =
            strchr(word, '=') == NULL ? find_long(c, word + 2, strlen(word + 2)) : NULL;
        return wants_value(o) ? o : NULL;
    }
    for (const char *p = word + 1; *p != '\0'; p++) {
        const tw_option *o = find_letter(c, *p);
        if (wants_value(o))
            return p[1] == '\0' ? o : NULL;
    }
    return NULL;
}

static void add_options(tw_completion *out, const tw_command *c)
{
    char word[64];
    for (const tw_option_table *t = c->tables; t != NULL && t->v != NULL; t++)
        for (const tw_option *o = t->v; !is_end(o); o++) {
            if (o->help == NULL)
                continue;
            if (o->name != NULL)
                snprintf(word, sizeof word, "--%s", o->name);
            else
                snprintf(word, sizeof word, "-%c", o->letter);
            tw_completion_add(out, word, o->help);
            if (o->name != NULL && o->letter != 0 && strcmp(out->typed, "-") == 0) {
                snprintf(word, sizeof word, "-%c", o->letter);
                tw_completion_add(out, word, o->help);
            }
        }
    tw_completion_add(out, "--help", "this command's page");
}

/* ---- a line ---- */

static void complete_command(tw_completion *out, const tw_command *c, int n, char *const *words)
{
    const tw_option *open = NULL;
    char *typed = words[n - 1], *equals = strchr(typed, '=');
    int n_words = 0;
    bool rest = false;
    for (int i = 0; i < n - 1; i++) {
        const bool is_value = open != NULL;
        open = NULL;
        if (is_value)
            continue;
        if (!rest && strcmp(words[i], "--") == 0)
            rest = true;
        else if (!rest && words[i][0] == '-' && words[i][1] != '\0')
            open = open_option(c, words[i]);
        else
            n_words++;
    }
    if (open != NULL) {
        tw_complete_option(out, open);
    } else if (!rest && begins(typed, "--") && equals != NULL) {
        const tw_option *o = find_long(c, typed + 2, (size_t)(equals - typed - 2));
        char prefix[64];
        snprintf(prefix, sizeof prefix, "%.*s=", (int)(equals - typed), typed);
        out->prefix = prefix;
        out->typed = equals + 1;
        if (o != NULL && o->arg != NULL)
            tw_complete_option(out, o);
        out->prefix = "";
    } else if (!rest && typed[0] == '-') {
        add_options(out, c);
    } else if (n_words == 0) {
        tw_complete_word(out, c->args);
    }
}

/* words[0]: the command's own. */
static void complete_words(tw_completion *out, int n, char *const *words)
{
    int n_name;
    if (n == 1) {
        add_first_words(out);
        if (out->typed[0] == '-') {
            tw_completion_add(out, "--help", "the commands");
            tw_completion_add(out, "--version", "this build");
        }
        return;
    }
    if (n == 2)
        add_second_words(out, words[0]);
    const tw_command *c = tw_command_find(n - 1, words, &n_name);
    if (c == &tw_command_help && out->typed[0] == '-')
        complete_command(out, c, n - n_name, words + n_name);
    else if (c == &tw_command_help && n == 2)
        add_first_words(out);
    else if (c == &tw_command_help && n == 3)
        add_second_words(out, words[1]);
    else if (c != NULL && c->summary != NULL)
        complete_command(out, c, n - n_name, words + n_name);
}

static void done(tw_completion *c)
{
    tw_buf_done(&c->words);
}

void tw_complete(int n, char *const *words, FILE *out)
{
    if (n < 2)
        return;
    TW_CLEANUP(done)
    tw_completion c = {.words = TW_BUF(WORDS_MAX), .prefix = "", .typed = words[n - 1]};
    complete_words(&c, n - 1, words + 1);
    fprintf(out, "%s%s%s\n", c.nospace ? "nospace" : "words", c.files ? " files" : "",
            c.dirs ? " dirs" : "");
    if (c.words.len > 0)
        fwrite(c.words.data, 1, c.words.len, out);
}
