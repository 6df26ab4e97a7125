/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/pull_model.h"

#include <errno.h>
#include <stdio.h>

#include "base/scope.h"
#include "cmd/model_file.h"
#include "hub/cache.h"
#include "hub/scan.h"
#include "os/file.h"

static char found[TW_HUB_PATH_BYTES];

static int pull(const tw_hub_place *p, const tw_hub_name *name, const tw_hub_choice *choice,
                const char *text, tw_err *err)
{
    tw_pull_show show;
    tw_hub_pulled got;
    const tw_hub_watch w = {.progress = tw_pull_show_progress,
                            .should_stop = tw_pull_should_stop,
                            .arg = &show};
    const tw_hub_pull_opts o = {.choice = choice, .watch = &w};
    fprintf(stderr, "%s is not in the cache: pulling it from %s\n", text, p->endpoint);
    tw_pull_show_init(&show, text, false);
    int rc = tw_hub_pull(p, name, &o, &got, err);
    tw_pull_show_end(&show);
    return rc == 0 ? tw_hub_find(p, name, found, err) : rc;
}

/* Whether the snapshot has the file that is asked for; no file: yes. */
static int find_file(const char *file, tw_err *err)
{
    char path[TW_HUB_PATH_BYTES];
    if (file[0] == '\0')
        return 0;
    int rc = tw_hub_path(path, err, "%s/%s", found, file);
    if (rc == 0 && !tw_file_exists(path))
        return tw_err_set(err, -ENOENT, "%.100s: not in %.100s", file, found);
    if (rc == 0)
        snprintf(found, sizeof found, "%s", path);
    return rc;
}

/* The snapshot, or the file in it. */
static int find(const tw_hub_place *p, const tw_hub_name *name, const char *file, tw_err *err)
{
    int rc = tw_hub_find(p, name, found, err);
    return rc != 0 ? rc : find_file(file, err);
}

int tw_pull_model(const char **model, tw_err *err)
{
    tw_model_file_name part = {.file = ""};
    tw_hub_choice choice = {.n_include = 0};
    TW_CLEANUP(tw_hub_place_done) tw_hub_place p = {.offline = false};
    tw_hub_name name;
    if (*model == NULL || tw_file_exists(*model))
        return 0;
    if (tw_model_file_parse(*model, &part))
        choice = (tw_hub_choice){.include = {part.pattern}, .n_include = 1};
    else if (!tw_hub_name_is(*model))
        return 0;
    int rc = tw_hub_name_parse(part.file[0] != '\0' ? part.repo : *model, &name, err);
    if (rc == 0)
        rc = tw_hub_place_get(&p, err);
    if (rc == 0) {
        tw_err why = {0};
        rc = find(&p, &name, part.file, &why);
        if (rc != 0 && p.offline)
            rc = tw_err_set(err, rc, "%.190s; HF_HUB_OFFLINE is set", why.msg);
        else if (rc == -ENOENT || rc == -EAGAIN)
            rc = pull(&p, &name, &choice, *model, err);
        else if (rc != 0)
            *err = why;
        if (rc == 0 && !tw_model_file_is(found))
            rc = find_file(part.file, err);
    }
    if (rc == 0)
        *model = found;
    return rc;
}
