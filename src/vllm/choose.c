/* SPDX-License-Identifier: Apache-2.0 */
#include "vllm/choose.h"

#include <stdio.h>
#include <string.h>

#include "base/scope.h"

const char *tw_vllm_find_box(const tw_facts *f)
{
    static const char *const names[] = {"vllm-therock-gfx1151", "vllm-therock-gfx1151-dev", "vllm"};
    for (size_t k = 0; k < TW_ARRAY_LEN(names); k++)
        if (tw_vllm_has_box(f, names[k]))
            return names[k];
    return NULL;
}

bool tw_vllm_has_box(const tw_facts *f, const char *name)
{
    for (size_t i = 0; i < f->container.n_boxes; i++)
        if (strcmp(f->container.boxes[i].name, name) == 0)
            return true;
    return false;
}

/* "gfx1151"; "" the kernel does not say. */
static const char *gfx_of(const tw_facts *f)
{
    for (size_t i = 0; i < f->n_gpus; i++)
        if (f->gpus[i].gfx[0] != '\0')
            return f->gpus[i].gfx;
    return "";
}

bool tw_vllm_choose(const tw_vllm_candidate *v, size_t n, char *why, size_t why_bytes)
{
    static const char unused[] = "a ROCm GPU is not used";
    bool any_gpu = false;
    for (size_t i = 0; i < n; i++)
        any_gpu =
            any_gpu || (v[i].facts != NULL && tw_facts_find_dev(v[i].facts, "/dev/kfd") != NULL);
    for (size_t i = 0; i < n; i++) {
        const tw_facts_dev *kfd =
            v[i].facts != NULL ? tw_facts_find_dev(v[i].facts, "/dev/kfd") : NULL;
        if (kfd == NULL)
            snprintf(why, why_bytes, "%s has no ROCm GPU (/dev/kfd)%s%s", v[i].name,
                     any_gpu ? "; elsewhere " : "", any_gpu ? unused : "");
        else if (kfd->usable == TW_NO)
            snprintf(why, why_bytes,
                     "%s: /dev/kfd cannot be opened by this user (twinax setup mends it); %s",
                     v[i].name, unused);
        else if (!v[i].has_vllm)
            snprintf(why, why_bytes, "%s lacks %s (twinax toolbox refresh gets the container); %s",
                     v[i].name, v[i].lacks, unused);
        else
            continue;
        return false;
    }
    const char *gfx = n > 0 ? gfx_of(v[0].facts) : "";
    snprintf(why, why_bytes, "%s a ROCm GPU%s%s%s and vLLM", n > 1 ? "every node has" : "there is",
             gfx[0] != '\0' ? " (" : "", gfx, gfx[0] != '\0' ? ")" : "");
    return n > 0;
}
