/* SPDX-License-Identifier: Apache-2.0 */
#include "host/facts_eeprom.h"

#include <string.h>

#include "base/scope.h"
#include "host/facts_file.h"

enum {
    ID_SFP = 0x03,
    ID_QSFP = 0x0c,
    ID_QSFP_PLUS = 0x0d,
    ID_QSFP28 = 0x11,
    ID_QSFP_DD = 0x18,
    ID_OSFP = 0x19,
    ID_SFP_DD = 0x1a,
    ID_QSFP_CMIS = 0x1e,
    A2 = 256 /* where SFF-8472's second page begins */
};

typedef struct name_of {
    uint8_t id;
    const char *name;
} name_of;

static const name_of kinds[] = {{ID_SFP, "SFP"},         {ID_QSFP, "QSFP"},
                                {ID_QSFP_PLUS, "QSFP+"}, {ID_QSFP28, "QSFP28"},
                                {ID_QSFP_DD, "QSFP-DD"}, {ID_OSFP, "OSFP"},
                                {ID_SFP_DD, "SFP-DD"},   {ID_QSFP_CMIS, "QSFP56"}};

static const name_of connectors[] = {{0x07, "LC"},
                                     {0x0b, "optical pigtail"},
                                     {0x0c, "MPO 1x12"},
                                     {0x0d, "MPO 2x16"},
                                     {0x21, "copper pigtail"},
                                     {0x22, "RJ45"},
                                     {0x23, "no separable connector"}};

static const char *find_name(const name_of *list, size_t n, uint8_t id)
{
    for (size_t i = 0; i < n; i++)
        if (list[i].id == id)
            return list[i].name;
    return "";
}

typedef struct page {
    const uint8_t *p;
    size_t n;
} page;

static uint8_t byte_at(const page *g, size_t at)
{
    return at < g->n ? g->p[at] : 0;
}

static uint16_t word_at(const page *g, size_t at)
{
    return (uint16_t)(byte_at(g, at) << 8 | byte_at(g, at + 1));
}

/* Padded with blanks; what is no ASCII is no name. */
static void copy_name(const page *g, size_t at, size_t n, char *out, size_t out_bytes)
{
    size_t len = 0;
    for (size_t i = 0; i < n && len + 1 < out_bytes; i++) {
        uint8_t c = byte_at(g, at + i);
        out[len++] = c >= 0x20 && c < 0x7f ? (char)c : ' ';
    }
    while (len > 0 && out[len - 1] == ' ')
        len--;
    out[len] = '\0';
}

static double celsius_at(const page *g, size_t at)
{
    return (double)(int16_t)word_at(g, at) / 256.0;
}

static double volt_at(const page *g, size_t at)
{
    return word_at(g, at) / 10000.0;
}

static void parse_sfp(const page *g, tw_facts_module *m)
{
    uint8_t cable = byte_at(g, 8);
    const char *name = (cable & 4) != 0   ? "passive copper"
                       : (cable & 8) != 0 ? "active copper"
                                          : "optical";
    tw_text_set(m->cable, sizeof m->cable, "%s", name);
    tw_text_set(m->connector, sizeof m->connector, "%s",
                find_name(connectors, TW_ARRAY_LEN(connectors), byte_at(g, 2)));
    copy_name(g, 20, 16, m->vendor, sizeof m->vendor);
    copy_name(g, 40, 16, m->part, sizeof m->part);
    copy_name(g, 56, 4, m->revision, sizeof m->revision);
    copy_name(g, 68, 16, m->serial, sizeof m->serial);
    m->length_m = byte_at(g, 18);
    uint8_t diagnostics = byte_at(g, 92);
    bool measured = (diagnostics & 0x40) != 0 && (diagnostics & 0x20) != 0; /* in plain units */
    if (!measured || g->n < A2 + 106)
        return;
    m->temperature_c = celsius_at(g, A2 + 96);
    m->volt = volt_at(g, A2 + 98);
    if ((cable & 12) == 0) {
        m->n_lanes = 1;
        m->rx_mw[0] = word_at(g, A2 + 104) / 10000.0;
    }
}

/* Transmitter technology in the high half: SFF-8636 table 6-20. */
static const char *qsfp_cable(uint8_t technology)
{
    unsigned t = technology >> 4;
    return t == 10 || t == 11 ? "passive copper" : t >= 12 ? "active copper" : "optical";
}

static void parse_qsfp(const page *g, tw_facts_module *m)
{
    const char *cable = qsfp_cable(byte_at(g, 147));
    tw_text_set(m->cable, sizeof m->cable, "%s", cable);
    tw_text_set(m->connector, sizeof m->connector, "%s",
                find_name(connectors, TW_ARRAY_LEN(connectors), byte_at(g, 130)));
    copy_name(g, 148, 16, m->vendor, sizeof m->vendor);
    copy_name(g, 168, 16, m->part, sizeof m->part);
    copy_name(g, 184, 2, m->revision, sizeof m->revision);
    copy_name(g, 196, 16, m->serial, sizeof m->serial);
    m->length_m = byte_at(g, 146);
    m->temperature_c = celsius_at(g, 22); /* 0 in a cable that measures nothing */
    m->volt = volt_at(g, 26);
    if (strcmp(cable, "optical") != 0)
        return;
    m->n_lanes = 4;
    for (size_t i = 0; i < m->n_lanes; i++)
        m->rx_mw[i] = word_at(g, 34 + 2 * i) / 10000.0;
}

static void parse_cmis(const page *g, tw_facts_module *m)
{
    static const uint32_t tenths[] = {1, 10, 100, 1000};
    uint8_t length = byte_at(g, 202), media = byte_at(g, 212);
    const char *cable = media == 10 || media == 11   ? "passive copper"
                        : media >= 12 && media <= 15 ? "active copper"
                                                     : "optical";
    tw_text_set(m->cable, sizeof m->cable, "%s", cable);
    tw_text_set(m->connector, sizeof m->connector, "%s",
                find_name(connectors, TW_ARRAY_LEN(connectors), byte_at(g, 203)));
    copy_name(g, 129, 16, m->vendor, sizeof m->vendor);
    copy_name(g, 148, 16, m->part, sizeof m->part);
    copy_name(g, 164, 2, m->revision, sizeof m->revision);
    copy_name(g, 166, 16, m->serial, sizeof m->serial);
    m->length_m = ((length & 63u) * tenths[length >> 6] + 9) / 10; /* 0.5 m is not none */
    m->temperature_c = celsius_at(g, 14);
    m->volt = volt_at(g, 16);
}

void tw_eeprom_parse(const uint8_t *p, size_t n, tw_facts_module *ret)
{
    page g = {.p = p, .n = n};
    uint8_t id = byte_at(&g, 0);
    const char *kind = find_name(kinds, TW_ARRAY_LEN(kinds), id);
    *ret = (tw_facts_module){.present = n > 0 ? TW_YES : TW_UNKNOWN};
    if (n == 0)
        return;
    tw_text_set(ret->kind, sizeof ret->kind, "%s", kind);
    if (id == ID_SFP)
        parse_sfp(&g, ret);
    else if (id == ID_QSFP || id == ID_QSFP_PLUS || id == ID_QSFP28)
        parse_qsfp(&g, ret);
    else if (kind[0] != '\0')
        parse_cmis(&g, ret);
    else
        tw_text_set(ret->kind, sizeof ret->kind, "type 0x%02x", id);
}
