/* SPDX-License-Identifier: Apache-2.0 */
#include "vllm/env.h"

#include <stdio.h>

#include "base/scope.h"

static int put(json_t *env, const char *name, const char *value)
{
    return json_object_set_new(env, name, json_string(value));
}

static int put_sockets(json_t *env, const tw_vllm_link *l)
{
    char exact[20];
    /* NCCL takes a bare name as a prefix: eth1 would also mean eth10. */
    snprintf(exact, sizeof exact, "=%s", l->interface);
    return put(env, "NCCL_SOCKET_IFNAME", exact) | put(env, "GLOO_SOCKET_IFNAME", l->interface) |
           put(env, "VLLM_HOST_IP", l->ip);
}

static int put_rdma(json_t *env, const tw_vllm_link *l)
{
    char exact[84], index[16];
    int rc;
    if (!tw_vllm_transport_is_rdma(l->transport))
        return put(env, "NCCL_IB_DISABLE", "1");
    snprintf(exact, sizeof exact, "=%s", l->hca);
    snprintf(index, sizeof index, "%d", l->gid_index);
    rc = put(env, "NCCL_IB_DISABLE", "0") | put(env, "NCCL_IB_HCA", exact) |
         put(env, "NCCL_IB_GID_INDEX", index);
    if (l->transport == TW_VLLM_INFINIBAND) /* gfx1151 has no LL128; trees deadlocked there */
        rc |= put(env, "NCCL_PROTO", "LL") | put(env, "NCCL_ALGO", "Ring");
    return rc;
}

static int put_common(json_t *env)
{
    return put(env, "NCCL_IB_TIMEOUT", "23") | put(env, "NCCL_IB_RETRY_CNT", "7") |
           /* Unified memory: there is no device memory that a card could reach past the CPU. */
           put(env, "NCCL_NET_GDR_LEVEL", "0") |
           /* What the proof of transport is read from. */
           put(env, "NCCL_DEBUG", "INFO") | put(env, "NCCL_DEBUG_SUBSYS", "INIT,NET") |
           /* The model fills the memory on purpose: Ray would end the worker for it. */
           put(env, "RAY_memory_monitor_refresh_ms", "0") |
           put(env, "RAY_EXPERIMENTAL_NOSET_ROCR_VISIBLE_DEVICES", "1") |
           put(env, "RAY_AUTH_MODE", "token") | put(env, "RAY_USAGE_STATS_ENABLED", "0") |
           put(env, "VLLM_NO_USAGE_STATS", "1");
}

json_t *tw_vllm_env(const tw_vllm_link *l)
{
    json_t *env = json_object();
    if (env != NULL && (put_sockets(env, l) | put_rdma(env, l) | put_common(env)) != 0) {
        json_decref(env);
        return NULL;
    }
    return env;
}

json_t *tw_vllm_env_own_names(void)
{
    static const char *const names[] = {
        "NCCL_SOCKET_IFNAME",   "GLOO_SOCKET_IFNAME", "VLLM_HOST_IP", "NCCL_IB_HCA",
        "NCCL_IB_GID_INDEX",    "NCCL_IB_DISABLE",    "HF_HOME",      "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE"};
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < TW_ARRAY_LEN(names); i++)
        if (json_array_append_new(list, json_string(names[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}
