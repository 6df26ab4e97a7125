/* SPDX-License-Identifier: Apache-2.0 */
/* A flag polled in memory tells that the bytes written before it are there only where the adapter
 * keeps the order of two writes in the receiver's memory, which no standard promises. */
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "link/verbs_inside.h"

/* By the kernel driver of the device. iWARP adapters are refused long before. Of these only rxe has
 * run this code so far (thousands of messages, every bit right); the others are known
 * to keep the order, latency tools poll memory on them. On rxe the flag is no gain: a message costs
 * one packet more, and packets are what it pays for. It is here so that a real kernel tries it. */
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
