/* SPDX-License-Identifier: Apache-2.0 */
#include "vllm/log_judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"

static const char *const phase_names[TW_VLLM_PHASES] = {"starting", "joining",   "downloading",
                                                        "loading",  "compiling", "capturing graphs",
                                                        "serving"};

const char *tw_vllm_phase_name(enum tw_vllm_phase p)
{
    return p < TW_VLLM_PHASES ? phase_names[p] : "?";
}

const char *tw_vllm_wire_name(enum tw_vllm_wire w)
{
    static const char *const names[TW_VLLM_WIRES] = {"unknown", "Gloo", "NET/Socket", "NET/IB"};
    return w < TW_VLLM_WIRES ? names[w] : "?";
}

static const struct {
    const char *says;
    enum tw_vllm_phase phase;
} phases[] = {
    {"Ray runtime started", TW_VLLM_JOINING},
    {"Connecting to existing Ray cluster", TW_VLLM_JOINING},
    {"Initializing a V1 LLM engine", TW_VLLM_JOINING},
    {"Waiting for core engine", TW_VLLM_JOINING},
    {"init_process_group", TW_VLLM_JOINING},
    {"ncclCommInitRank", TW_VLLM_JOINING},
    {"Fetching ", TW_VLLM_DOWNLOADING},
    {"Downloading", TW_VLLM_DOWNLOADING},
    {"Starting to load model", TW_VLLM_LOADING},
    {"Loading safetensors checkpoint shards", TW_VLLM_LOADING},
    {"Loading weights took", TW_VLLM_LOADING},
    {"Compiling a graph", TW_VLLM_COMPILING},
    {"torch.compile takes", TW_VLLM_COMPILING},
    {"Dynamo bytecode transform time", TW_VLLM_COMPILING},
    {"Capturing CUDA graph", TW_VLLM_CAPTURING},
    {"Graph capturing finished", TW_VLLM_CAPTURING},
    {"Starting vLLM API server", TW_VLLM_CAPTURING},
    {"Starting vLLM server on", TW_VLLM_CAPTURING},
    {"Application startup complete", TW_VLLM_SERVING},
};

/* Trouble: what the log says, what it means, what helps. The first that fits. */
static const struct {
    const char *says;
    tw_vllm_trouble v;
} troubles[] = {
    {"Cannot access gated repo",
     {"the model is gated and this account may not read it",
      "accept its licence on its page, then set HF_TOKEN", true}},
    {"GatedRepoError",
     {"the model is gated and this account may not read it",
      "accept its licence on its page, then set HF_TOKEN", true}},
    {"is not a valid model identifier",
     {"there is no such model on the hub, or it is private", "check the name; set HF_TOKEN", true}},
    {"out of memory",
     {"the GPU's memory is too small for weights, KV cache and graphs",
      "a smaller --ctx or --memory, or a smaller model", true}},
    {"OutOfMemoryError",
     {"the GPU's memory is too small for weights, KV cache and graphs",
      "a smaller --ctx or --memory, or a smaller model", true}},
    {"No available memory for the cache blocks",
     {"nothing is left for the KV cache once the weights are loaded",
      "a larger --memory (at most 0.90 on unified memory), or a smaller model", true}},
    {"larger than the available KV cache memory",
     {"the context does not fit into the KV cache", "a smaller --ctx, or --ctx auto", true}},
    {"larger than the maximum number of tokens that can be stored in KV cache",
     {"the context does not fit into the KV cache", "a smaller --ctx, or --ctx auto", true}},
    {"no such container",
     {"a node has no container of that name", "twinax toolbox refresh makes it on all nodes",
      true}},
    {"OCI runtime attempted to invoke a command that was not found",
     {"the container does not show this machine's files below /run/host",
      "twinax toolbox refresh makes one that does, as podman's --volume /:/run/host:rslave", true}},
    {"Version mismatch",
     {"Ray or Python have other versions on the nodes", "twinax toolbox refresh on all nodes",
      true}},
    {"invalid kernel file",
     {"this librccl has no code for the GPU", "twinax toolbox refresh: ROCm 7.14 has gfx1151",
      true}},
    {"undefined symbol: nccl",
     {"a librccl of another version than torch wants is mounted", "start without --rccl", true}},
    {"ibv_modify_qp failed with 61",
     {"one node has no GID at the index that was asked for", "twinax doctor names it", true}},
    {"ibv_modify_qp failed with",
     {"the queue pairs of the two cards do not come together",
      "twinax doctor, then twinax compare -i", true}},
    {"transport retry counter exceeded",
     {"RDMA packets to the peer are lost", "twinax doctor looks at cable, MTU and firewall", true}},
    {"status=12",
     {"RDMA packets to the peer are lost", "twinax doctor looks at cable, MTU and firewall", true}},
    {"Unknown completion",
     {"the container's rdma-core does not fit the kernel's driver", "twinax toolbox refresh",
      true}},
    {"NET/IB : No device found",
     {"RCCL sees no RDMA device",
      "the container needs /dev/infiniband and memlock: twinax toolbox refresh", false}},
    {"Bootstrap : no socket interface found",
     {"RCCL does not see the cluster's interface", "twinax doctor", true}},
    {"connectFullMesh failed",
     {"Gloo cannot reach the peer", "twinax doctor looks at addresses and firewall", true}},
    {"can not find the matched Raylet address",
     {"Ray was started with another address than the node's", "twinax doctor", true}},
    {"Unable to connect to GCS",
     {"the Ray head does not answer", "twinax doctor looks at addresses and firewall", true}},
    {"Failed to connect to GCS",
     {"the Ray head does not answer", "twinax doctor looks at addresses and firewall", true}},
    {"Failed to get cluster ID from GCS server",
     {"the Ray head does not answer, or wants another token", "twinax down, then twinax up", true}},
    {"InvalidAuthToken", {"Ray refuses the token", "twinax down, then twinax up", true}},
    {"AuthenticationError", {"Ray refuses the token", "twinax down, then twinax up", true}},
    {"The number of required GPUs exceeds the total number of available GPUs",
     {"Ray counts fewer GPUs than --tp wants", "twinax status; is every node up?", true}},
    {"Tensor parallel size",
     {"--tp does not fit the nodes", "as many ranks as GPUs of all nodes", false}},
    {"due to the node running low on memory",
     {"Ray ended a worker because memory ran low", "a smaller --memory or --ctx", true}},
    {"due to memory pressure",
     {"Ray ended a worker because memory ran low", "a smaller --memory or --ctx", true}},
    {"ddress already in use", {"the port is another program's", "twinax down; or --port", true}},
    {"Watchdog caught collective operation timeout",
     {"a collective never ended: the ranks wait for each other",
      "without --graphs; else twinax compare -i for the wire", true}},
    {"No available shared memory broadcast block found",
     {"a worker has not answered for a minute",
      "still compiling, or the ranks wait for each other: without --graphs", false}},
    {"Engine core initialization failed",
     {"vLLM's engine did not start", "its first error stands above", true}},
    {"died unexpectedly",
     {"a worker of vLLM has died", "twinax logs shows its last words; dmesg whether memory ran out",
      true}},
    {"Some Ray subprocesses exited unexpectedly",
     {"a process of Ray has died", "twinax logs shows which; dmesg whether memory ran out", true}},
    {"EngineDeadError", {"vLLM's engine has died", "twinax logs shows why; twinax up anew", true}},
    {"SIGILL", {"this build wants another CPU", "a build for this machine", true}},
};

static const char *find(const char *line, const char *needle)
{
    return strstr(line, needle);
}

/* "Loading ...: 50% Completed | 1/2" */
static void take_count(tw_vllm_log *l, const char *line)
{
    const char *bar = strchr(line, '|');
    unsigned done = 0, all = 0;
    while (bar != NULL) {
        if (sscanf(bar + 1, " %6u/%6u", &done, &all) == 2 && all > 0 && done <= all) {
            l->n_done = done;
            l->n_all = all;
            return;
        }
        bar = strchr(bar + 1, '|');
    }
}

static void take_phase(tw_vllm_log *l, const char *line)
{
    for (size_t i = 0; i < TW_ARRAY_LEN(phases); i++)
        if (find(line, phases[i].says) != NULL && phases[i].phase >= l->phase) {
            if (phases[i].phase > l->phase)
                l->n_done = l->n_all = 0;
            l->phase = phases[i].phase;
            take_count(l, line);
            return;
        }
}

/* "box1:4242:4300 [0] NCCL INFO ...", behind what Ray puts before it: "box1:4242". */
static void name_process(const char *line, char *out, size_t out_bytes)
{
    const char *stop = strstr(line, " [");
    for (const char *next = stop; next != NULL; next = strstr(next + 1, " ["))
        if (strncmp(next + 2 + strcspn(next + 2, "]"), "] NCCL", 6) == 0)
            stop = next;
    const char *start = stop;
    while (start != NULL && start > line && start[-1] != ' ')
        start--;
    const char *thread = stop != NULL ? memrchr(start, ':', (size_t)(stop - start)) : NULL;
    snprintf(out, out_bytes, "%.*s", thread != NULL ? (int)(thread - start) : 1,
             thread != NULL ? start : "?");
}

/* NULL: too many. */
static tw_vllm_nccl *nccl_of(tw_vllm_log *l, const char *line)
{
    char name[sizeof l->nccl[0].name];
    name_process(line, name, sizeof name);
    for (size_t i = 0; i < l->n_nccl; i++)
        if (strcmp(l->nccl[i].name, name) == 0)
            return &l->nccl[i];
    if (l->n_nccl == TW_VLLM_NCCL_MAX)
        return NULL;
    tw_vllm_nccl *n = &l->nccl[l->n_nccl++];
    *n = (tw_vllm_nccl){.wire = TW_VLLM_WIRE_UNKNOWN};
    snprintf(n->name, sizeof n->name, "%s", name);
    return n;
}

/* One whose NCCL has sockets alone is slow without a word, whatever the others have. */
static void find_socket(tw_vllm_log *l)
{
    l->socket_of[0] = '\0';
    for (size_t i = 0; i < l->n_nccl; i++)
        if (l->nccl[i].wire == TW_VLLM_WIRE_SOCKET && l->socket_of[0] == '\0')
            snprintf(l->socket_of, sizeof l->socket_of, "%s: %s", l->nccl[i].name,
                     l->nccl[i].device);
}

static void set_wire(tw_vllm_log *l, enum tw_vllm_wire w, const char *device)
{
    if (w < l->wire || (w == l->wire && l->device[0] != '\0'))
        return;
    l->wire = w;
    snprintf(l->device, sizeof l->device, "%s", device);
}

/* "NET/IB : Using [0]irdma0:1/RoCE [RO]; OOB enp1s0:192.168.100.1<0>": the first word behind [0].
 * IB beside sockets of the same process: the sockets are its bootstrap. */
static void take_wire(tw_vllm_log *l, const char *line)
{
    const char *ib = find(line, "NET/IB : Using"), *socket = find(line, "NET/Socket : Using");
    const char *at = ib != NULL ? ib : socket;
    char device[sizeof l->device] = "";
    if (find(line, "[Gloo] Rank ") != NULL && find(line, "is connected to") != NULL)
        set_wire(l, TW_VLLM_WIRE_GLOO, "");
    /* "distributed_init_method=tcp://192.168.100.1:39551 backend=gloo" */
    const char *method = find(line, "distributed_init_method=");
    if (method != NULL && find(method, " backend=gloo") != NULL) {
        method = strchr(method, '=') + 1;
        snprintf(device, sizeof device, "%.*s",
                 (int)TW_MIN(strcspn(method, " "), sizeof device - 1), method);
        set_wire(l, TW_VLLM_WIRE_GLOO, device);
        return;
    }
    if (at == NULL)
        return;
    tw_vllm_nccl *n = nccl_of(l, line);
    at = strstr(at, "[0]");
    if (at != NULL)
        snprintf(device, sizeof device, "%.*s", (int)strcspn(at + 3, " <;"), at + 3);
    const enum tw_vllm_wire w = ib != NULL ? TW_VLLM_WIRE_IB : TW_VLLM_WIRE_SOCKET;
    set_wire(l, w, device);
    if (n == NULL || n->wire > w)
        return;
    n->wire = w;
    snprintf(n->device, sizeof n->device, "%s", device);
    find_socket(l);
}

static void take_trouble(tw_vllm_log *l, const char *line)
{
    for (size_t i = 0; i < TW_ARRAY_LEN(troubles); i++) {
        const tw_vllm_trouble *t = &troubles[i].v;
        if (find(line, troubles[i].says) == NULL)
            continue;
        if (l->trouble == NULL || (t->fatal && !l->trouble->fatal)) {
            l->trouble = t;
            snprintf(l->trouble_line, sizeof l->trouble_line, "%.*s",
                     (int)sizeof l->trouble_line - 1, line);
        }
        return;
    }
}

void tw_vllm_log_take(tw_vllm_log *l, const char *p, size_t n)
{
    char line[1024];
    const size_t len = TW_MIN(n, sizeof line - 1);
    for (size_t i = 0; i < len; i++)
        line[i] = (unsigned char)p[i] >= 0x20 && (unsigned char)p[i] < 0x7f ? p[i] : '?';
    line[len] = '\0';
    take_phase(l, line);
    take_wire(l, line);
    take_trouble(l, line);
}
