/* SPDX-License-Identifier: Apache-2.0 */
#include "host/facts_scrub_text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "host/facts_file.h"

size_t tw_scrub_place(tw_scrub_seen *list, const char *what)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->v[i], what) == 0)
            return i + 1;
    if (list->n < TW_SCRUB_SEEN_MAX)
        tw_text_set(list->v[list->n++], sizeof list->v[0], "%s", what);
    return list->n;
}

/* Words that mean something in facts: a host may be called "fedora", a user "admin". */
static bool is_common(const char *word)
{
    static const char *const common[] = {"fedora", "debian",   "ubuntu",  "linux",   "localhost",
                                         "root",   "admin",    "user",    "render",  "video",
                                         "rdma",   "docker",   "podman",  "ray",     "vllm",
                                         "twinax", "toolbox",  "local",   "host",    "node",
                                         "rocky",  "arch",     "server",  "desktop", "nobody",
                                         "system", "firewall", "trusted", "public",  "default",
                                         "none",   "kvm"};
    for (size_t i = 0; i < TW_ARRAY_LEN(common); i++)
        if (strcasecmp(word, common[i]) == 0)
            return true;
    return strlen(word) < 3;
}

void tw_scrub_add_name(tw_scrub *s, const char *from, const char *to)
{
    if (is_common(from) || s->n_names == TW_SCRUB_NAMES_MAX)
        return;
    for (size_t i = 0; i < s->n_names; i++)
        if (strcmp(s->names[i].from, from) == 0)
            return;
    tw_text_set(s->names[s->n_names].from, sizeof s->names[0].from, "%s", from);
    tw_text_set(s->names[s->n_names++].to, sizeof s->names[0].to, "%s", to);
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* ---- each shape: how many bytes it takes here, 0 when it is another ---- */

/* xx:xx:... of 6 octets, or 20 as InfiniBand has them. */
static size_t mac_length(const char *p)
{
    size_t n = 0;
    while (isxdigit((unsigned char)p[n]) && isxdigit((unsigned char)p[n + 1])) {
        n += 2;
        if (p[n] != ':')
            break;
        n++;
    }
    return (n == 17 || n == 59) && !is_word(p[n]) ? n : 0;
}

static int put_mac(tw_scrub *s, const char *p, size_t n, tw_buf *out)
{
    char text[48];
    unsigned first = 0;
    (void)sscanf(p, "%2x", &first);
    if (strncmp(p + 2, ":00:00:00:", 10) == 0) /* a stand-in already, or nobody's */
        return tw_buf_append(out, p, n);
    tw_text_set(text, sizeof text, "%.*s", (int)TW_MIN(n, (size_t)47), p);
    size_t place = tw_scrub_place(&s->macs, text);
    return tw_buf_printf(out, "%02x:00:00:00:%02x:%02x", first & 2, (unsigned)(place >> 8 & 255),
                         (unsigned)(place & 255));
}

static size_t uuid_length(const char *p)
{
    static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    for (size_t i = 0; i < sizeof shape - 1; i++)
        if (shape[i] == 'x' ? !isxdigit((unsigned char)p[i]) : p[i] != '-')
            return 0;
    return is_word(p[sizeof shape - 1]) ? 0 : sizeof shape - 1;
}

static int put_uuid(tw_scrub *s, const char *p, size_t n, tw_buf *out)
{
    char text[48];
    tw_text_set(text, sizeof text, "%.*s", (int)n, p);
    if (strncmp(text, "00000000-0000-0000-0000-", 24) == 0)
        return tw_buf_puts(out, text);
    return tw_buf_printf(out, "00000000-0000-0000-0000-%012zu", tw_scrub_place(&s->uuids, text));
}

/* A public key or what else is long and base64. */
static size_t key_length(const char *p)
{
    size_t n = 0;
    while (isalnum((unsigned char)p[n]) || p[n] == '+' || p[n] == '/' || p[n] == '=')
        n++;
    return strncmp(p, "AAAA", 4) == 0 && n >= 40 ? n : 0;
}

static size_t address_length(const char *p, char *out, size_t out_bytes)
{
    uint8_t raw[16];
    size_t n = strspn(p, "0123456789abcdefABCDEF:.");
    n = TW_MIN(n, out_bytes - 1);
    while (n > 0) {
        tw_text_set(out, out_bytes, "%.*s", (int)n, p);
        bool six = strchr(out, ':') != NULL;
        if (!is_word(p[n]) && inet_pton(six ? AF_INET6 : AF_INET, out, raw) == 1)
            return n;
        n--; /* "10.0.0.1:22", "10.0.0.1." */
    }
    return 0;
}

static bool is_private4(const uint8_t r[4])
{
    static const struct {
        uint8_t net[4];
        unsigned bits;
    } nets[] = {{{10, 0, 0, 0}, 8},      {{172, 16, 0, 0}, 12},  {{192, 168, 0, 0}, 16},
                {{127, 0, 0, 0}, 8},     {{169, 254, 0, 0}, 16}, {{100, 64, 0, 0}, 10},
                {{0, 0, 0, 0}, 8},       {{224, 0, 0, 0}, 3},    {{192, 0, 2, 0}, 24},
                {{198, 51, 100, 0}, 24}, {{203, 0, 113, 0}, 24}};
    uint32_t v = (uint32_t)r[0] << 24 | (uint32_t)r[1] << 16 | (uint32_t)r[2] << 8 | r[3];
    for (size_t i = 0; i < TW_ARRAY_LEN(nets); i++) {
        const uint8_t *q = nets[i].net;
        uint32_t net = (uint32_t)q[0] << 24 | (uint32_t)q[1] << 16 | (uint32_t)q[2] << 8 | q[3];
        if ((v ^ net) >> (32 - nets[i].bits) == 0)
            return true;
    }
    return false;
}

static int put_address(tw_scrub *s, const char *text, tw_buf *out)
{
    uint8_t raw[16];
    if (inet_pton(AF_INET, text, raw) == 1)
        return is_private4(raw)
                   ? tw_buf_puts(out, text)
                   : tw_buf_printf(out, "203.0.113.%zu", tw_scrub_place(&s->addresses, text) % 255);
    if (inet_pton(AF_INET6, text, raw) != 1)
        return tw_buf_puts(out, text);
    bool few = true; /* ::1, fe80::1, ff02::1 and the stand-ins name nobody */
    for (size_t i = 2; i < 14; i++)
        few = few && (raw[i] == 0 || (raw[0] == 0x20 && raw[1] == 0x01 && i < 4));
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (memcmp(raw, mapped, sizeof mapped) == 0 && is_private4(raw + 12))
        return tw_buf_puts(out, text);
    bool documentation = raw[0] != 0x20 || (raw[2] == 0x0d && raw[3] == 0xb8);
    if ((few && documentation) || raw[0] == 0xff)
        return tw_buf_puts(out, text);
    const char *net = raw[0] == 0xfe ? "fe80" : (raw[0] & 0xfe) == 0xfc ? "fd00" : "2001:db8";
    return tw_buf_printf(out, "%s::%zx", net, tw_scrub_place(&s->addresses, text));
}

/* A name ends where no letter of a name follows; what stands behind a host's dot is its domain. */
static size_t name_length(const tw_scrub *s, const char *p, size_t *ret_i)
{
    size_t best = 0;
    for (size_t i = 0; i < s->n_names; i++) {
        size_t n = strlen(s->names[i].from);
        if (n > best && strncasecmp(p, s->names[i].from, n) == 0 && !is_word(p[n])) {
            best = n;
            *ret_i = i;
        }
    }
    bool host = best > 0 && strncmp(s->names[*ret_i].to, "box", 3) == 0;
    while (host && p[best] == '.' && isalpha((unsigned char)p[best + 1])) {
        best++;
        while (is_word(p[best]) || p[best] == '-')
            best++;
    }
    return best;
}

/* udev's names of USB cards hold their MAC: enx001122334455 */
static bool is_mac_name(const char *p)
{
    return (strncmp(p, "enx", 3) == 0 || strncmp(p, "wlx", 3) == 0) &&
           strspn(p + 3, "0123456789abcdef") == 12 && !is_word(p[15]);
}

static int put_next(tw_scrub *s, const char *p, bool versions, size_t *ret_n, tw_buf *out)
{
    char address[48];
    size_t i_name = 0, n;
    if ((n = *ret_n = mac_length(p)) > 0)
        return put_mac(s, p, n, out);
    if ((n = *ret_n = uuid_length(p)) > 0)
        return put_uuid(s, p, n, out);
    if (is_mac_name(p)) {
        char text[16];
        tw_text_set(text, sizeof text, "%s", p);
        *ret_n = 15;
        if (strncmp(text + 3, "00000000", 8) == 0)
            return tw_buf_puts(out, text);
        return tw_buf_printf(out, "%.3s%012zx", p, tw_scrub_place(&s->macs, text));
    }
    if ((*ret_n = key_length(p)) > 0)
        return tw_buf_puts(out, "KEY");
    if ((*ret_n = name_length(s, p, &i_name)) > 0)
        return tw_buf_puts(out, s->names[i_name].to);
    n = address_length(p, address, sizeof address);
    if (n > 0 && !(versions && strchr(address, ':') == NULL)) {
        *ret_n = n;
        return put_address(s, address, out);
    }
    /* The rest of this word goes over as it is. */
    n = 0;
    while (is_word(p[n]))
        n++;
    *ret_n = TW_MAX(n, (size_t)1);
    return tw_buf_append(out, p, *ret_n);
}

int tw_scrub_text(tw_scrub *s, const char *text, bool versions, tw_buf *out)
{
    int rc = 0;
    for (const char *p = text; *p != '\0' && rc == 0;) {
        size_t n = 0;
        rc = put_next(s, p, versions, &n, out);
        p += n;
    }
    return rc;
}

/* ---- command lines of the kernel ---- */

int tw_scrub_cmdline(const char *text, tw_buf *out)
{
    static const char *const kept[] = {"amd_iommu",
                                       "intel_iommu",
                                       "iommu",
                                       "pci",
                                       "pcie_aspm",
                                       "pcie_port_pm",
                                       "amdgpu.",
                                       "ttm.",
                                       "amdttm.",
                                       "quiet",
                                       "ro",
                                       "rw",
                                       "rhgb",
                                       "splash",
                                       "mitigations",
                                       "nomodeset",
                                       "hugepages",
                                       "hugepagesz",
                                       "default_hugepagesz",
                                       "transparent_hugepage",
                                       "isolcpus",
                                       "nohz_full",
                                       "rcu_nocbs",
                                       "processor.",
                                       "amd_pstate",
                                       "intel_pstate",
                                       "cpufreq.",
                                       "selinux",
                                       "enforcing",
                                       "apparmor",
                                       "security",
                                       "thunderbolt",
                                       "usbcore.",
                                       "nmi_watchdog",
                                       "tsc",
                                       "loglevel",
                                       "console",
                                       "net.ifnames",
                                       "biosdevname",
                                       "zswap.",
                                       "rootflags"};
    bool first = true;
    int rc = 0;
    for (const char *p = text; *p != '\0' && rc == 0;) {
        p += strspn(p, " \t");
        size_t len = strcspn(p, " \t");
        if (len == 2 && strncmp(p, "--", 2) == 0)
            break; /* what follows is for init */
        for (size_t i = 0; len > 0 && rc == 0 && i < TW_ARRAY_LEN(kept); i++) {
            size_t n = strlen(kept[i]);
            if (n > len || strncmp(p, kept[i], n) != 0)
                continue;
            if (kept[i][n - 1] != '.' && n != len && p[n] != '=')
                continue;
            rc = tw_buf_printf(out, "%s%.*s", first ? "" : " ", (int)len, p);
            first = false;
            break;
        }
        p += len;
    }
    return rc;
}
