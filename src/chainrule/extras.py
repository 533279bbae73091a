"""Optional dependencies: imported where they are used, with an error that names the extra to install."""

import importlib.util
from typing import Any


def require(module: str, extra: str) -> Any:
    """The module, or an ImportError that says what to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            f'{module} is needed here and is not installed: pip install "chainrule[{extra}]"', name=missing.name
        ) from None


def installed(module: str) -> bool:
    """Whether the module can be imported; it is not."""
    return importlib.util.find_spec(module) is not None
