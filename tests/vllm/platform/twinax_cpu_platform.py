# SPDX-License-Identifier: Apache-2.0
"""vLLM's CPU platform, which Ray may place: a node's `ray start --num-gpus=1` counts one of it."""


def register():
    return "twinax_cpu_platform.CpuUnderRay"


def __getattr__(name):
    if name != "CpuUnderRay":
        raise AttributeError(name)
    from vllm.platforms.cpu import CpuPlatform

    return type("CpuUnderRay", (CpuPlatform,), {"ray_device_key": "GPU", "__module__": __name__})
