"""Where and with what figures were made."""

import platform
from importlib import metadata
from pathlib import Path

from ..engine import native
from ..extras import installed

CPUINFO = Path("/proc/cpuinfo")


def machine(*packages: str) -> dict[str, str]:
    """CPU, cores, engine, system, and the versions of chainrule, Python, NumPy and of other packages if installed."""
    from .. import __version__

    versions = {"chainrule": __version__, "python": platform.python_version()}
    versions |= {name: metadata.version(name) for name in ("numpy", *packages) if installed(name)}
    engine = native.module().instruction_set if native.available() else "not built"
    return {
        "cpu": cpu(),
        "cores": str(native.cores()),
        "engine": engine,
        "system": f"{platform.system()} {platform.machine()}",
    } | versions


def cpu() -> str:
    """The processor by name, and by family and model where the system lists them, which a virtual machine may not."""
    if not CPUINFO.exists():
        return platform.processor() or platform.machine()
    pairs = (line.split(":", 1) for line in CPUINFO.read_text().split("\n\n")[0].splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in pairs}
    parts = [fields.get("model name", platform.machine())]
    parts += [f"{key.removeprefix('cpu ')} {fields[key]}" for key in ("cpu family", "model") if key in fields]
    return ", ".join(parts)
