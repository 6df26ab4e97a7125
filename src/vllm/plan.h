/* SPDX-License-Identifier: Apache-2.0 */
/* What is started where, for a model served by vLLM over all nodes, as JSON: part.h makes of it what a
 * holder starts, --print shows it as its owner would type it.
 *
 *    {"why":"roce: asked for",
 *     "before":["podman","start","vllm"],                                   null without a container
 *     "outer":["podman","exec","--interactive","vllm","/run/...","hold"],   null without a container
 *     "status":["ray","status",...],                                        null with mp
 *     "door":{"peers":["192.168.100.1",...],"open":8000},                   see hold_door.h
 *     "nodes":[NODE,...]}
 *
 * A NODE:
 *
 *    {"node":"box2", "transport":"roce", "interface":"enp194s0np0", "hca":"irdma0:1", "gid_index":3,
 *     "env":{...},                      of all its commands
 *     "model":{"path":"/home/...","link":false},   may lack: the holder looks whether it is there
 *     "ray":["ray","start",...],        null with mp
 *     "serve":["vllm","serve",...]}     null where Ray places the workers by itself, and without a model
 *
 * Pure: facts and wishes in, parts out. */
#ifndef TWINAX_VLLM_PLAN_H
#define TWINAX_VLLM_PLAN_H

#include "base/buf.h"
#include "vllm/command.h"
#include "vllm/link.h"

enum { TW_VLLM_RAY_PORT = 6379 };

typedef struct tw_vllm_ask {
    size_t n_nodes;
    tw_vllm_node nodes[TW_VLLM_NODES_MAX]; /* the first one is the head */
    enum tw_vllm_transport transport;
    const tw_vllm_place *place;             /* the same on all nodes */
    uint32_t ray_port;                      /* 0: TW_VLLM_RAY_PORT */
    tw_vllm_serve serve;                    /* what is a node's own in it is filled in here */
    const char *models[TW_VLLM_NODES_MAX];  /* what each node is told; NULL: serve.model */
    const char *folders[TW_VLLM_NODES_MAX]; /* where each node has it; NULL: not said */
    bool links;                             /* models[] are links to folders[], the run's own */
} tw_vllm_ask;

/* Errors: of tw_vllm_links_find; -ENOMEM. Owns: the caller. */
TW_MUST_CHECK int tw_vllm_plan(const tw_vllm_ask *ask, json_t **ret, tw_err *err);
/* For --print. */
TW_MUST_CHECK int tw_vllm_plan_text(const json_t *plan, tw_buf *out, tw_err *err);

#endif
