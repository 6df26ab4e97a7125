/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kern/coded.h"
#include "kern/half.h"
#include "kern/ref/ref.h"

float tw_ref_coded_weight(const tw_packed *w, size_t i_n, size_t k)
{
    const uint8_t *panel = (const uint8_t *)w->data + i_n / TW_PANEL * tw_packed_panel_bytes(w);
    const size_t lane = i_n % TW_PANEL;
    float scale;
    memcpy(&scale, panel + tw_coded_head_at(w, k) + lane * sizeof scale, sizeof scale);
    return tw_e4m3_to_f32(panel[tw_coded_at(w, k) + tw_coded_place(lane)]) * scale;
}
