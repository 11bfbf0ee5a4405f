"""Devices and processes of a training run."""

from __future__ import annotations

import os

import torch


def join_process_group() -> tuple[int, int, torch.device]:
    """Find (rank, number of processes, device), and join the process group under torchrun."""
    cuda = torch.cuda.is_available()
    if "RANK" not in os.environ:
        return 0, 1, torch.device("cuda" if cuda else "cpu")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(local)
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if cuda else "gloo")
    return torch.distributed.get_rank(), torch.distributed.get_world_size(), device


def computes_in_bfloat16(device: torch.device) -> bool:
    """Tell whether a device has bfloat16 arithmetic; emulated, it is slower than float32."""
    if device.type != "cpu":
        return True
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
