"""The command line: `vqcodec`. Only click is imported until a command runs."""

from codec.cli.main import main

__all__ = ["main"]
