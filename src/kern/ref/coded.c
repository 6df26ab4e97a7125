/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kern/coded.h"
#include "kern/half.h"
#include "kern/ref/ref.h"

float tw_ref_coded_weight(const tw_packed *w, size_t i_n, size_t k)
{
    const uint8_t *panel = (const uint8_t *)w->data + i_n / TW_PANEL * tw_packed_panel_bytes(w);
    const size_t lane = i_n % TW_PANEL;
    const uint8_t *head = panel + tw_coded_head_at(w, k), *line = panel + tw_coded_at(w, k);
    if (w->type == TW_INT4) {
        uint16_t scale;
        uint32_t d;
        memcpy(&scale, head + lane * sizeof scale, sizeof scale);
        memcpy(&d, line + lane % 16 * sizeof d, sizeof d);
        const int number = (int)(d >> (k % 2 * 16 + lane / 16 * 4) & 15);
        const int zero = head[TW_PANEL * sizeof scale + lane];
        return (float)(number - zero) * tw_f16_to_f32(scale);
    }
    float scale;
    memcpy(&scale, head + lane * sizeof scale, sizeof scale);
    return tw_e4m3_to_f32(line[tw_coded_place(lane)]) * scale;
}
