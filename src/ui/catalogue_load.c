/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/scope.h"
#include "os/file.h"
#include "ui/app.h"

enum { FILE_MAX_BYTES = 256 * 1024 };
#define CACHE_LIMIT_NS (30 * TW_NS_PER_S)

static void load(tw_ui_app *a, const char *path)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(FILE_MAX_BYTES);
    tw_err err = {0};
    int rc = tw_file_read(path, &b, &err);
    if (rc == 0)
        rc = tw_ui_catalogue_parse(path, b.data != NULL ? b.data : "", b.len, &a->catalogue, &err);
    if (rc != 0)
        snprintf(a->catalogue_why, sizeof a->catalogue_why, "%s", err.msg);
}

static void overlay_path(char *out, size_t out_bytes)
{
    const char *folder = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (folder != NULL && folder[0] == '/')
        snprintf(out, out_bytes, "%s/twinax/catalogue.txt", folder);
    else
        snprintf(out, out_bytes, "%s/.config/twinax/catalogue.txt", home != NULL ? home : "");
}

void tw_ui_catalogue_load(tw_ui_app *a)
{
    char own[1024];
    const tw_ui_command c = tw_ui_command_of("models", "--json", NULL);
    overlay_path(own, sizeof own);
    tw_ui_catalogue_done(&a->catalogue);
    a->catalogue_why[0] = '\0';
    load(a, a->opts->catalogue);
    if (tw_file_exists(own))
        load(a, own);
    /* What twinax.conf serves is a model too. */
    if (a->config.model[0] != '\0')
        (void)tw_ui_catalogue_get(&a->catalogue, a->config.model);
    a->q_models.every_ns = 0;
    a->q_models.limit_ns = CACHE_LIMIT_NS;
    tw_ui_query_ask(&a->q_models, &c, a->now_ns);
}
