/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/pull_model.h"

#include <errno.h>
#include <stdio.h>

#include "base/scope.h"
#include "hub/scan.h"
#include "os/file.h"

static char found[TW_HUB_PATH_BYTES];

static int pull(const tw_hub_place *p, const tw_hub_name *name, const char *text, tw_err *err)
{
    tw_pull_show show;
    tw_hub_pulled got;
    static const tw_hub_choice needed = {.n_include = 0};
    const tw_hub_watch w = {.progress = tw_pull_show_progress,
                            .should_stop = tw_pull_should_stop,
                            .arg = &show};
    const tw_hub_pull_opts o = {.choice = &needed, .watch = &w};
    fprintf(stderr, "%s is not in the cache: pulling it from %s\n", text, p->endpoint);
    tw_pull_show_init(&show, text, false);
    int rc = tw_hub_pull(p, name, &o, &got, err);
    tw_pull_show_end(&show);
    return rc == 0 ? tw_hub_find(p, name, found, err) : rc;
}

int tw_pull_model(const char **model, tw_err *err)
{
    TW_CLEANUP(tw_hub_place_done) tw_hub_place p = {.offline = false};
    tw_hub_name name;
    if (*model == NULL || tw_file_exists(*model) || !tw_hub_name_is(*model))
        return 0;
    int rc = tw_hub_name_parse(*model, &name, err);
    if (rc == 0)
        rc = tw_hub_place_get(&p, err);
    if (rc == 0) {
        tw_err why = {0};
        rc = tw_hub_find(&p, &name, found, &why);
        if (rc != 0 && p.offline)
            rc = tw_err_set(err, rc, "%.190s; HF_HUB_OFFLINE is set", why.msg);
        else if (rc == -ENOENT || rc == -EAGAIN)
            rc = pull(&p, &name, *model, err);
        else if (rc != 0)
            *err = why;
    }
    if (rc == 0)
        *model = found;
    return rc;
}
