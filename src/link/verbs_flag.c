/* SPDX-License-Identifier: Apache-2.0 */
/* A flag polled in memory tells that the bytes written before it are there only where the adapter
 * keeps the order of two writes in the receiver's memory, which no standard promises. */
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "link/verbs_inside.h"

/* By the kernel driver of the device. iWARP adapters are refused long before. */
static const char *const tested[] = {
    "mlx5_core",
    "irdma",
    "ice", /* irdma's device is the network card's */
    "rdma_rxe",
};

bool tw_verbs_flag_is_tested(const char *sysfs, const char *device)
{
    char driver[64];
    tw_rdma_driver(sysfs, device, driver, sizeof driver);
    for (size_t i = 0; i < TW_ARRAY_LEN(tested); i++)
        if (strcmp(driver, tested[i]) == 0)
            return true;
    return false;
}
