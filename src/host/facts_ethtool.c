/* SPDX-License-Identifier: Apache-2.0 */
#include "host/facts_ethtool.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/scope.h"
#include "host/facts_eeprom.h"
#include "host/facts_file.h"
#include "os/fd.h"

enum { MASK_WORDS = 3 * 128, STATS_MAX = 16384 };

typedef struct driver {
    int fd;
    char name[IFNAMSIZ];
} driver;

static bool ask(const driver *d, void *question)
{
    struct ifreq req = {.ifr_data = question};
    memcpy(req.ifr_name, d->name, sizeof req.ifr_name);
    return d->fd >= 0 && ioctl(d->fd, SIOCETHTOOL, &req) == 0;
}

static void read_info(const driver *d, tw_facts_nic *n)
{
    struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
    if (!ask(d, &info))
        return;
    tw_text_set(n->driver_version, sizeof n->driver_version, "%.31s", info.version);
    bool none = strcmp(info.fw_version, "N/A") == 0;
    tw_text_set(n->firmware, sizeof n->firmware, "%.31s", none ? "" : info.fw_version);
}

static void read_link(const driver *d, tw_facts_nic *n)
{
    static const char *const ports[] = {
        [PORT_TP] = "twisted pair", [PORT_AUI] = "AUI", [PORT_MII] = "MII",
        [PORT_FIBRE] = "fibre",     [PORT_BNC] = "BNC", [PORT_DA] = "DAC"};
    union { /* the masks follow the struct */
        struct ethtool_link_settings s;
        uint8_t room[sizeof(struct ethtool_link_settings) + MASK_WORDS * sizeof(uint32_t)];
    } q = {.s = {.cmd = ETHTOOL_GLINKSETTINGS}};
    /* The first answer says, as a negative number, how long the masks are. */
    if (!ask(d, &q) || q.s.link_mode_masks_nwords >= 0)
        return;
    q.s.link_mode_masks_nwords = (int8_t)-q.s.link_mode_masks_nwords;
    q.s.cmd = ETHTOOL_GLINKSETTINGS;
    if (!ask(d, &q))
        return;
    const char *port = q.s.port < TW_ARRAY_LEN(ports) ? ports[q.s.port] : "";
    tw_text_set(n->port, sizeof n->port, "%s", port != NULL ? port : "");
    n->autoneg = tw_tri_of(q.s.autoneg == AUTONEG_ENABLE);
    if (q.s.duplex <= DUPLEX_FULL)
        tw_text_set(n->duplex, sizeof n->duplex, "%s", q.s.duplex == DUPLEX_FULL ? "full" : "half");
}

static void name_fec(uint32_t bits, char *out, size_t out_bytes)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {{ETHTOOL_FEC_AUTO, "auto"},
                 {ETHTOOL_FEC_OFF, "off"},
                 {ETHTOOL_FEC_RS, "RS"},
                 {ETHTOOL_FEC_BASER, "BaseR"},
                 {ETHTOOL_FEC_LLRS, "LLRS"}};
    for (size_t i = 0; i < TW_ARRAY_LEN(names); i++) {
        size_t len = strlen(out);
        if ((bits & names[i].bit) != 0)
            tw_text_set(out + len, out_bytes - len, "%s%s", len > 0 ? "+" : "", names[i].name);
    }
}

static void read_modes(const driver *d, tw_facts_nic *n)
{
    struct ethtool_fecparam fec = {.cmd = ETHTOOL_GFECPARAM};
    struct ethtool_ringparam ring = {.cmd = ETHTOOL_GRINGPARAM};
    struct ethtool_pauseparam pause = {.cmd = ETHTOOL_GPAUSEPARAM};
    if (ask(d, &fec)) {
        name_fec(fec.active_fec, n->fec, sizeof n->fec);
        name_fec(fec.fec, n->fec_asked, sizeof n->fec_asked);
    }
    if (ask(d, &ring)) {
        n->ring_rx = tw_count_of(ring.rx_pending);
        n->ring_tx = tw_count_of(ring.tx_pending);
        n->ring_rx_max = tw_count_of(ring.rx_max_pending);
        n->ring_tx_max = tw_count_of(ring.tx_max_pending);
    }
    if (ask(d, &pause)) {
        n->pause_rx = tw_tri_of(pause.rx_pause != 0);
        n->pause_tx = tw_tri_of(pause.tx_pause != 0);
    }
}

/* Root alone may read it; a board without a cage has none. */
static void read_module(const driver *d, tw_facts_nic *n)
{
    struct ethtool_modinfo info = {.cmd = ETHTOOL_GMODULEINFO};
    if (!ask(d, &info) || info.eeprom_len == 0)
        return;
    uint32_t len = TW_MIN(info.eeprom_len, (uint32_t)TW_EEPROM_MAX_BYTES);
    TW_CLEANUP(tw_mem_freep) struct ethtool_eeprom *e = tw_mem_calloc(1, sizeof *e + len);
    if (e == NULL)
        return;
    e->cmd = ETHTOOL_GMODULEEEPROM;
    e->len = len;
    if (ask(d, e))
        tw_eeprom_parse(e->data, len, &n->module);
}

static void close_driver(driver *d)
{
    tw_fd_closep(&d->fd);
}

static driver open_driver(const char *name)
{
    driver d = {.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    tw_text_set(d.name, sizeof d.name, "%s", name);
    return d;
}

void tw_ethtool_read(tw_facts_nic *n)
{
    TW_CLEANUP(close_driver) driver d = open_driver(n->name);
    read_info(&d, n);
    read_link(&d, n);
    read_modes(&d, n);
    read_module(&d, n);
}

/* ---- statistics ---- */

tw_count *tw_ethtool_counter_of(tw_facts_counters *c, const char *statistic)
{
    const struct {
        const char *name;
        tw_count *to;
    } known[] = {
        /* ice, i40e, ixgbe, igc, e1000e; mlx5, mlx4; bnxt; atlantic */
        {"rx_crc_errors.nic", &c->rx_crc},
        {"port.rx_crc_errors", &c->rx_crc},
        {"rx_crc_errors", &c->rx_crc},
        {"rx_crc_errors_phy", &c->rx_crc},
        {"rx_fcs_err_frames", &c->rx_crc},
        {"rx_symbol_err_phy", &c->rx_symbol},
        {"rx_pcs_symbol_err_phy", &c->rx_symbol},
        {"illegal_bytes.nic", &c->rx_symbol},
        {"port.illegal_bytes", &c->rx_symbol},
        {"rx_symbol_errors", &c->rx_symbol},
        {"fec_corrected_blocks", &c->fec_corrected},
        {"fec_corr_blocks.nic", &c->fec_corrected},
        {"rx_corrected_bits_phy", &c->fec_corrected},
        {"rx_fec_corrected_blocks", &c->fec_corrected},
        {"fec_uncorrected_blocks", &c->fec_uncorrectable},
        {"fec_uncorr_blocks.nic", &c->fec_uncorrectable},
        {"rx_fec_uncorrectable_blocks", &c->fec_uncorrectable},
        {"rx_discards_phy", &c->rx_discards},
        {"rx_dropped.nic", &c->rx_discards},
        {"port.rx_discards", &c->rx_discards},
        {"rx_discard_pkts", &c->rx_discards},
        {"rx_out_of_buffer", &c->rx_discards},
        {"tx_discards_phy", &c->tx_discards},
        {"tx_dropped_link_down.nic", &c->tx_discards},
        {"port.tx_dropped_link_down", &c->tx_discards},
        {"link_xoff_rx.nic", &c->rx_pause},
        {"port.link_xoff_rx", &c->rx_pause},
        {"rx_pause_ctrl_phy", &c->rx_pause},
        {"rx_flow_control_xoff", &c->rx_pause},
        {"rx_pause_frames", &c->rx_pause},
        {"link_xoff_tx.nic", &c->tx_pause},
        {"port.link_xoff_tx", &c->tx_pause},
        {"tx_pause_ctrl_phy", &c->tx_pause},
        {"tx_flow_control_xoff", &c->tx_pause},
        {"tx_pause_frames", &c->tx_pause},
    };
    for (size_t i = 0; i < TW_ARRAY_LEN(known); i++)
        if (strcmp(statistic, known[i].name) == 0)
            return known[i].to;
    return NULL;
}

static uint32_t count_statistics(const driver *d)
{
    union { /* the number follows the struct */
        struct ethtool_sset_info s;
        uint8_t room[sizeof(struct ethtool_sset_info) + 2 * sizeof(uint32_t)];
    } q = {.s = {.cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1u << ETH_SS_STATS}};
    uint32_t n = 0;
    if (ask(d, &q) && q.s.sset_mask != 0)
        memcpy(&n, q.room + sizeof q.s, sizeof n);
    return n;
}

void tw_ethtool_counters(const char *name, tw_facts_counters *c)
{
    TW_CLEANUP(close_driver) driver d = open_driver(name);
    uint32_t n = count_statistics(&d);
    if (n == 0 || n > STATS_MAX)
        return;
    TW_CLEANUP(tw_mem_freep) struct ethtool_gstrings *names = NULL;
    TW_CLEANUP(tw_mem_freep) struct ethtool_stats *values = NULL;
    names = tw_mem_calloc(1, sizeof *names + (size_t)n * ETH_GSTRING_LEN);
    values = tw_mem_calloc(1, sizeof *values + (size_t)n * sizeof(uint64_t));
    if (names == NULL || values == NULL)
        return;
    names->cmd = ETHTOOL_GSTRINGS;
    names->string_set = ETH_SS_STATS;
    names->len = n;
    values->cmd = ETHTOOL_GSTATS;
    values->n_stats = n;
    if (!ask(&d, names) || !ask(&d, values) || names->len != n || values->n_stats != n)
        return;
    for (uint32_t i = 0; i < n; i++) {
        char statistic[ETH_GSTRING_LEN + 1] = "";
        memcpy(statistic, names->data + (size_t)i * ETH_GSTRING_LEN, ETH_GSTRING_LEN);
        tw_count *to = tw_ethtool_counter_of(c, statistic);
        uint64_t v;
        memcpy(&v, (const char *)values + sizeof *values + i * sizeof v, sizeof v);
        /* The larger of two that count the same thing (sysfs, driver). */
        if (to != NULL)
            *to = tw_count_of(to->known ? TW_MAX(to->v, v) : v);
    }
}
