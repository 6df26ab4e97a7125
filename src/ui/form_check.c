/* SPDX-License-Identifier: Apache-2.0 */
/* What the fields of the menu take. The command that is run then checks again, and is right. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "ui/form.h"

static bool refuse(char message[TW_UI_MESSAGE_BYTES], const char *text)
{
    snprintf(message, TW_UI_MESSAGE_BYTES, "%s", text);
    return false;
}

bool tw_ui_check_ip(const char *text, char message[TW_UI_MESSAGE_BYTES])
{
    char ip[64];
    struct in6_addr a;
    snprintf(ip, sizeof ip, "%.*s", (int)strcspn(text, "%"), text);
    if (text[0] == '\0' || inet_pton(AF_INET, text, &a) == 1 || inet_pton(AF_INET6, ip, &a) == 1)
        return true;
    return refuse(message, "no address: wanted one such as 192.168.100.1");
}

bool tw_ui_check_host(const char *text, char message[TW_UI_MESSAGE_BYTES])
{
    if (text[0] == '\0')
        return refuse(message, "wanted: its name or address, as ssh knows it");
    if (text[0] == '-' || strpbrk(text, " ,/='\"\\") != NULL)
        return refuse(message, "no name for ssh: wanted one such as box2 or me@box2");
    return true;
}

bool tw_ui_check_if(const char *text, char message[TW_UI_MESSAGE_BYTES])
{
    if (strlen(text) > 15)
        return refuse(message, "too long for an interface: 15 characters at most");
    if (strpbrk(text, " /%,") != NULL || text[0] == '-')
        return refuse(message, "no interface: wanted a name such as enp194s0np0");
    return true;
}

bool tw_ui_check_ctx(const char *text, char message[TW_UI_MESSAGE_BYTES])
{
    uint64_t v = 0;
    if (strcmp(text, "auto") == 0 || (tw_str_to_u64(text, &v) == 0 && v >= 16 && v <= 1u << 20))
        return true;
    return refuse(message, "wanted auto, or tokens from 16 to 1048576");
}

bool tw_ui_check_port(const char *text, char message[TW_UI_MESSAGE_BYTES])
{
    uint64_t v = 0;
    if (tw_str_to_u64(text, &v) == 0 && v <= 65535)
        return true;
    return refuse(message, "wanted a port, 1 to 65535 (0: a free one)");
}

bool tw_ui_check_model(const char *text, char message[TW_UI_MESSAGE_BYTES])
{
    const char *slash = strchr(text, '/');
    if (slash != NULL && slash > text && slash[1] != '\0' && strchr(text, ' ') == NULL &&
        text[0] != '-')
        return true;
    return refuse(message, "wanted org/name, or org/name@revision");
}
