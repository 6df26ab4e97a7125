/* SPDX-License-Identifier: Apache-2.0 */
/* twinax.conf: any bytes are parsed or refused in one line; what is taken is safe to give to ssh, and
 * reads back as the same when it is written. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "cluster/config_keys.h"
#include "cluster/ssh.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* A line that grows too long in our spelling may be refused. */
static void check_write(const tw_config *c)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_CONFIG_MAX_BYTES);
    tw_config again;
    tw_err err = {0};
    int rc = tw_config_write(c, &b, &err);
    if (rc == -E2BIG)
        return;
    if (rc != 0 || tw_config_parse("written", b.data, b.len, &again, &err) != 0 ||
        memcmp(c, &again, sizeof again) != 0)
        abort();
}

/* The reader that goes on finds something wrong exactly where the other one refuses; what it takes is
 * the same. */
static void check_traced(const uint8_t *p, size_t n, const tw_config *c, int rc)
{
    static tw_config again;
    static tw_config_trace t;
    tw_err err = {0};
    if (n > TW_CONFIG_MAX_BYTES)
        return;
    if (tw_config_parse_traced("fuzz", (const char *)p, n, &again, &t, &err) != 0)
        abort();
    if ((t.n_bad == 0) != (rc == 0) || (rc == 0 && memcmp(c, &again, sizeof again) != 0))
        abort();
    for (size_t i = 0; i < t.n_bad && i < TW_CONFIG_BAD_MAX; i++)
        if (t.bad[i].line < 0 || t.bad[i].text[0] == '\0')
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static tw_config c;
    tw_err err = {0}, ignored;
    int rc = tw_config_parse("fuzz", (const char *)p, n, &c, &err);
    check_traced(p, n, &c, rc);
    if (rc != 0) {
        if (rc > 0 || err.code != rc || err.msg[0] == '\0' || strchr(err.msg, '\n') != NULL)
            abort();
        return 0;
    }
    if (c.nodes.n > TW_NODES_MAX)
        abort();
    for (size_t i = 0; i < c.nodes.n; i++) {
        const tw_node_spec *s = &c.nodes.v[i];
        if (tw_ssh_name_check(s->ssh, &ignored) != 0 || tw_ssh_name_check(s->name, &ignored) != 0 ||
            s->threads > 1024)
            abort();
    }
    check_write(&c);
    return 0;
}
