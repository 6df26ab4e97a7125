/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a log and as `ray status`' words: what is kept of them is printable and counts what is
 * possible. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vllm/log_judge.h"
#include "vllm/ray_status.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void check_printable(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    tw_vllm_log l = {0};
    tw_ray_status s = {0};
    const char *at = (const char *)p, *end = at + n;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const enum tw_vllm_phase was = l.phase;
        stop = stop != NULL ? stop : end;
        tw_vllm_log_take(&l, at, (size_t)(stop - at));
        if (l.phase < was || l.phase >= TW_VLLM_PHASES || l.n_done > l.n_all)
            abort();
        at = stop + 1;
    }
    check_printable(l.device);
    check_printable(l.trouble_line);
    if ((l.trouble == NULL) != (l.trouble_line[0] == '\0'))
        abort();
    (void)tw_ray_status_parse((const char *)p, n, &s);
    return 0;
}
