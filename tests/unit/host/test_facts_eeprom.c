/* SPDX-License-Identifier: Apache-2.0 */
/* Modules and cables as their bytes say; statistics by the names of drivers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/scope.h"
#include "host/facts_eeprom.h"
#include "host/facts_ethtool.h"

static uint8_t page[640];
static tw_facts_module m;

static void put(size_t at, const char *text, size_t width)
{
    memset(page + at, ' ', width);
    memcpy(page + at, text, strlen(text));
}

static void put_word(size_t at, uint16_t v)
{
    page[at] = (uint8_t)(v >> 8);
    page[at + 1] = (uint8_t)v;
}

static void begin(uint8_t id)
{
    memset(page, 0, sizeof page);
    page[0] = id;
}

/* The guide's cable: QSFP28, passive, 1 m, that measures nothing. */
static void test_qsfp28_dac(void **state)
{
    (void)state;
    begin(0x11);
    page[128] = 0x11;
    page[130] = 0x23;
    page[146] = 1;
    page[147] = 0xa0;
    put(148, "QSFPTEK", 16);
    put(168, "QT-QSFP28-100G", 16);
    put(184, "A", 2);
    put(196, "QT1234", 16);
    tw_eeprom_parse(page, 256, &m);
    assert_int_equal(m.present, TW_YES);
    assert_string_equal(m.kind, "QSFP28");
    assert_string_equal(m.cable, "passive copper");
    assert_string_equal(m.connector, "no separable connector");
    assert_string_equal(m.vendor, "QSFPTEK");
    assert_string_equal(m.part, "QT-QSFP28-100G");
    assert_string_equal(m.revision, "A");
    assert_string_equal(m.serial, "QT1234");
    assert_int_equal(m.length_m, 1);
    assert_true(m.n_lanes == 0 && m.temperature_c < 0.01);
}

static void test_qsfp28_optical(void **state)
{
    (void)state;
    begin(0x11);
    page[130] = 0x0c;
    put_word(22, 45 * 256 + 128);
    put_word(26, 33000);
    put_word(34, 8000);
    put_word(40, 12);
    tw_eeprom_parse(page, 256, &m);
    assert_string_equal(m.cable, "optical");
    assert_true(m.temperature_c > 45.4 && m.temperature_c < 45.6 && m.volt > 3.2);
    assert_int_equal(m.n_lanes, 4);
    assert_true(m.rx_mw[0] > 0.79 && m.rx_mw[0] < 0.81 && m.rx_mw[3] < 0.01);
}

static void test_sfp28(void **state)
{
    (void)state;
    begin(0x03);
    page[2] = 0x07;
    page[92] = 0x68;
    put(20, "FS", 16);
    put_word(256 + 96, (uint16_t)(int16_t)(-5 * 256));
    put_word(256 + 104, 5000);
    tw_eeprom_parse(page, 512, &m);
    assert_string_equal(m.kind, "SFP");
    assert_string_equal(m.connector, "LC");
    assert_true(m.temperature_c < -4.9 && m.n_lanes == 1 && m.rx_mw[0] > 0.49);
    page[8] = 4;
    page[18] = 3;
    tw_eeprom_parse(page, 256, &m); /* one page alone: a DAC without diagnostics */
    assert_string_equal(m.cable, "passive copper");
    assert_true(m.length_m == 3 && m.n_lanes == 0 && m.temperature_c > -0.1);
}

static void test_cmis(void **state)
{
    (void)state;
    begin(0x1e);
    put(129, "NVIDIA", 16);
    page[202] = 5; /* 0.5 m */
    page[212] = 10;
    tw_eeprom_parse(page, 256, &m);
    assert_string_equal(m.vendor, "NVIDIA");
    assert_string_equal(m.cable, "passive copper");
    assert_int_equal(m.length_m, 1);
    page[202] = 0x40 | 30;
    tw_eeprom_parse(page, 256, &m);
    assert_int_equal(m.length_m, 30);
}

static void test_unknown(void **state)
{
    (void)state;
    begin(0x42);
    tw_eeprom_parse(page, 256, &m);
    assert_string_equal(m.kind, "type 0x42");
    tw_eeprom_parse(page, 0, &m);
    assert_int_equal(m.present, TW_UNKNOWN);
}

/* Any bytes of any length, the last one before memory that may not be read. */
static void test_any_bytes(void **state)
{
    (void)state;
    size_t unit = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *p = mmap(NULL, 2 * unit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    static const uint8_t ids[] = {0x03, 0x0c, 0x0d, 0x11, 0x18, 0x19, 0x1e, 0xff};
    assert_true(p != MAP_FAILED && mprotect(p + unit, unit, PROT_NONE) == 0);
    for (size_t n = 1; n <= TW_EEPROM_MAX_BYTES; n += n < 260 ? 1 : 19)
        for (size_t i = 0; i < TW_ARRAY_LEN(ids); i++) {
            memset(p + unit - n, (int)(0x5a + n), n);
            p[unit - n] = ids[i];
            tw_eeprom_parse(p + unit - n, n, &m);
            assert_true(memchr(m.vendor, '\0', sizeof m.vendor) != NULL);
            assert_true(m.n_lanes <= TW_FACTS_LANES_MAX);
        }
    (void)munmap(p, 2 * unit);
}

static void test_statistics(void **state)
{
    (void)state;
    tw_facts_counters c = {0};
    assert_ptr_equal(tw_ethtool_counter_of(&c, "rx_crc_errors.nic"), &c.rx_crc);
    assert_ptr_equal(tw_ethtool_counter_of(&c, "rx_symbol_err_phy"), &c.rx_symbol);
    assert_ptr_equal(tw_ethtool_counter_of(&c, "tx_pause_ctrl_phy"), &c.tx_pause);
    assert_null(tw_ethtool_counter_of(&c, "rx_bytes"));
    assert_null(tw_ethtool_counter_of(&c, ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_qsfp28_dac),
                                       cmocka_unit_test(test_qsfp28_optical),
                                       cmocka_unit_test(test_sfp28),
                                       cmocka_unit_test(test_cmis),
                                       cmocka_unit_test(test_unknown),
                                       cmocka_unit_test(test_any_bytes),
                                       cmocka_unit_test(test_statistics)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
