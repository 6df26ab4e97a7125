/* SPDX-License-Identifier: Apache-2.0 */
/* What readers of facts meet: any bytes as a text of /proc or /etc, as a kernel's attributes, as a
 * module's EEPROM; and as a record's text that is to lose its names. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "host/facts_eeprom.h"
#include "host/facts_field.h"
#include "host/facts_file.h"
#include "host/facts_netlink.h"
#include "host/facts_scrub_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void walk(void *ctx, uint16_t type, const void *p, size_t n)
{
    size_t inner;
    unsigned *depth = ctx;
    (void)type;
    (void)tw_nl_u32(p, n);
    (void)tw_nl_find(p, n, 1, &inner);
    if (++*depth < 1000)
        tw_nl_each(p, n, walk, ctx);
}

static void read_text(char *text)
{
    char value[40];
    uint64_t v;
    (void)tw_text_value(text, "ID", value, sizeof value);
    (void)tw_text_ini(text, "connection", "id", value, sizeof value);
    (void)tw_text_number(text, "MemTotal", &v);
    (void)tw_text_has_word(text, "avx2");
    tw_field_text(text, value, sizeof value);
    if (strlen(value) >= sizeof value)
        abort();
}

static void scrub(const char *text)
{
    TW_CLEANUP(tw_mem_freep) tw_scrub *s = tw_mem_calloc(1, sizeof *s);
    TW_CLEANUP(tw_buf_done) tw_buf out = TW_BUF(TW_SCRUB_TEXT_MAX);
    if (s == NULL)
        return;
    tw_scrub_add_name(s, "alice", "user1");
    tw_scrub_add_name(s, "halo-one", "box1");
    if (tw_scrub_text(s, text, false, &out) != 0 || tw_scrub_cmdline(text, &out) != 0)
        return; /* longer than a record's texts may be */
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    TW_CLEANUP(tw_mem_freep) char *text = tw_mem_strndup((const char *)p, n);
    tw_facts_module m;
    unsigned depth = 0;
    if (text == NULL)
        return 0;
    tw_nl_each(p, n, walk, &depth);
    tw_eeprom_parse(p, n, &m);
    read_text(text);
    scrub(text);
    return 0;
}
