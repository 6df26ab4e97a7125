# SPDX-License-Identifier: Apache-2.0
"""vLLM's CPU platform for several machines: Ray may place its workers (a node's `ray start
--num-gpus=1` counts one), and ranks never take each other for neighbours in shared memory."""

COMMUNICATOR = "twinax_cpu_platform.Communicator"


def register():
    return "twinax_cpu_platform.CpuUnderRay"


def cpu_under_ray():
    from vllm.platforms.cpu import CpuPlatform

    return type("CpuUnderRay", (CpuPlatform,), {
        "ray_device_key": "GPU", "__module__": __name__,
        "get_device_communicator_cls": classmethod(lambda cls: COMMUNICATOR),
    })  # fmt: skip


def communicator():
    from vllm.distributed.device_communicators.cpu_communicator import CpuCommunicator

    return type("Communicator", (CpuCommunicator,), {
        "_all_group_ranks_share_shm_group_name": lambda self: False, "__module__": __name__,
    })  # fmt: skip


MADE = {"CpuUnderRay": cpu_under_ray, "Communicator": communicator}


def __getattr__(name):
    if name not in MADE:
        raise AttributeError(name)
    return MADE[name]()
