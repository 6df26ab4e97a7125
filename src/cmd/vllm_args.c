/* SPDX-License-Identifier: Apache-2.0 */
/* Options of the other engine. */
#include "cmd/args.h"
#include "vllm/command.h"
#include "vllm/link.h"

#define AT(field) .offset = offsetof(tw_args, vllm.field)

static const char *const executors[] = {[TW_VLLM_RAY] = "ray", [TW_VLLM_MP] = "mp", NULL};
static const char *const wires[] = {
    [TW_VLLM_AUTO] = "auto",         [TW_VLLM_INFINIBAND] = "infiniband",
    [TW_VLLM_ROCE] = "roce",         [TW_VLLM_THUNDERBOLT] = "thunderbolt",
    [TW_VLLM_ETHERNET] = "ethernet", NULL};

const tw_option tw_options_vllm[] = {
    {"venv", .arg = "DIR", .help = "vLLM and Ray are in this virtual environment, on every node",
     .type = TW_OPT_TEXT, AT(venv)},
    {"container", .arg = "NAME",
     .help = "they are in this container; default: the toolbox, else on PATH", .type = TW_OPT_TEXT,
     AT(container)},
    {"executor", .arg = "X", .help = "ray, or mp: vLLM's own over several nodes",
     .type = TW_OPT_CHOICE, .choices = executors, AT(executor)},
    {"wire", .arg = "W",
     .help = "auto, infiniband, roce, thunderbolt or ethernet; never less than was asked for",
     .type = TW_OPT_CHOICE, .choices = wires, AT(wire)},
    {"memory", .arg = "SHARE", .help = "of the GPU's memory (0.90; more often ends in no memory)",
     .type = TW_OPT_F32, AT(memory), .min = 0.05, .max = 0.98},
    {"graphs", .help = "capture graphs: faster, but known to wait forever over two nodes",
     .type = TW_OPT_FLAG, AT(graphs)},
    {"erase-cache", .help = "first remove what vLLM has compiled, on all nodes (after a crash)",
     .type = TW_OPT_FLAG, AT(erase)},
    {"keep-cache", .help = "not even after a crash, where that is the default", .type = TW_OPT_FLAG,
     AT(keep_cache)},
    {"stall", .arg = "S",
     .help = "give up a start that made no progress for so long (by phase: 300 to 1800)",
     .type = TW_OPT_U32, AT(stall_s), .min = 1, .max = 86400},
    {"restart", .arg = "N",
     .help = "after a crash start again, so often at most; begins anew after a healthy hour (0)",
     .type = TW_OPT_U32, AT(restart), .min = 0, .max = 100},
    {"attention", .arg = "NAME", .help = "attention backend", .type = TW_OPT_TEXT, AT(attention)},
    {"speculative", .arg = "JSON", .help = "vLLM's --speculative-config", .type = TW_OPT_TEXT,
     AT(speculative)},
    {"trust-remote-code", .help = "run Python code that comes with the model", .type = TW_OPT_FLAG,
     AT(trust)},
    {"vllm-args", .arg = "WORDS", .help = "more words for vllm serve, spaces between them",
     .type = TW_OPT_TEXT, AT(extra)},
    {"ray-only", .help = "Ray alone, without a model: `serve` and `up MODEL` use it then",
     .type = TW_OPT_FLAG, AT(ray_only)},
    {"any-versions", .help = "start although the nodes' Python, Ray, vLLM or torch differ",
     .type = TW_OPT_FLAG, AT(any_versions)},
    {"print", .help = "show every node's commands and environment, start nothing",
     .type = TW_OPT_FLAG, AT(print)},
    {.name = NULL},
};
