#!/usr/bin/env python3
"""Write src/chainrule/engine/_engine.pyi: the types of the compiled module, as mypy and editors read them.

    python native/tools/stubs.py            writes it
    python native/tools/stubs.py --check    fails if it is not what this script writes

There is a compiled module for each instruction set, all of one face, and only one of them is loaded; so there is one
stub, under a name of its own. Needs nanobind, and the engine built from the sources as they are (make stubs).
"""

import argparse
import ast
import re
import sys
from pathlib import Path

from nanobind.stubgen import StubGen

from chainrule.engine import native

STUB = Path(__file__).resolve().parents[2] / "src/chainrule/engine/_engine.pyi"
HEAD = '''"""What each compiled module (_avx512, _avx2, _baseline) is like. Written by `make stubs` from native/src/bindings.cpp.

No module has this name: import it under typing.TYPE_CHECKING only.
"""

'''


def stub() -> str:
    """The text of the stub, which does not depend on the instruction set."""
    module = native.module()
    generator = StubGen(module, include_docstrings=False)
    generator.put(module)
    text = generator.get().replace("[NDArray,", "[NDArray[Any],").replace("import Annotated", "import Annotated, Any")
    return HEAD + re.sub(r"(?m)^(instruction_set: str) = .*$", r"\1", text).strip() + "\n"


def same(text: str, other: str) -> bool:
    """Whether two stubs say the same, however it is laid out."""
    return ast.dump(ast.parse(text)) == ast.dump(ast.parse(other))


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if it is out of date")
    if parser.parse_args().check:
        if same(stub(), STUB.read_text("utf-8")):
            return 0
        print(f"{STUB} is out of date: make stubs", file=sys.stderr)
        return 1
    STUB.write_text(stub(), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
