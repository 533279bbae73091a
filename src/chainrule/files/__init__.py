"""Files that survive anything: models as safetensors with JSON, written whole or not at all."""

from .atomic import replacing, write_bytes, write_text
from .container import read_file, write_file
from .description import build, build_rule, describe, describe_rule
from .model import load, save

__all__ = [
    "build",
    "build_rule",
    "describe",
    "describe_rule",
    "load",
    "read_file",
    "replacing",
    "save",
    "write_bytes",
    "write_file",
    "write_text",
]
