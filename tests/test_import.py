"""What importing chainrule costs, and whether what it offers is explained."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import chainrule as cr

HEAVY = (
    "matplotlib",
    "torch",
    "tqdm",
    "click",
    "scipy",
    "sklearn",
    "joblib",
    "pandas",
    "polars",
    "array_api_compat",
    "safetensors",
)

PUBLIC = {name: getattr(cr, name) for name in dir(cr) if not name.startswith("_")}
PUBLIC = {name: value for name, value in PUBLIC.items() if getattr(value, "__module__", "").startswith("chainrule")}


def _modules_after(statements):
    code = f"{statements}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    return set(run.stdout.split())


def test_import_brings_no_heavy_library():
    modules = _modules_after("import chainrule")
    assert "numpy" in modules
    assert [name for name in HEAVY if name in modules] == []
    assert "array_api_compat.numpy" not in modules


def test_training_on_arrays_brings_none_either():
    modules = _modules_after(
        "import chainrule as cr\n"
        "data = cr.data.disk(100, seed=0)\n"
        "model = cr.Sequential(cr.Adam(), cr.Linear(2, 5), cr.Tanh(), cr.Linear(5, 2))\n"
        "cr.fit(model, cr.MSELoss(), data, epochs=2)\n"
        "cr.evaluate(model, cr.MSELoss(), data)"
    )
    assert [name for name in HEAVY if name in modules] == []


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented(name):
    assert vars(PUBLIC[name]).get("__doc__") if inspect.isclass(PUBLIC[name]) else PUBLIC[name].__doc__


@pytest.mark.parametrize("name", [name for name, value in PUBLIC.items() if inspect.isclass(value)])
def test_public_methods_of_public_classes_are_documented(name):
    own = {n: v for n, v in vars(PUBLIC[name]).items() if not n.startswith("_") and (inspect.isfunction(v))}
    # What overrides a documented method says the same.
    undocumented = [n for n, v in own.items() if not inspect.getdoc(getattr(PUBLIC[name], n))]
    assert undocumented == []


def test_version_is_three_numbers():
    assert [part.isdigit() for part in cr.__version__.split(".")] == [True] * 3


# Each part imports what stands above it, and nothing below.
ORDER = [
    ("arguments", "arrays", "extras", "random", "signature", "structures"),
    ("constraints", "initializers", "module"),
    ("data", "layers", "losses", "optimizers"),
    ("averages", "roles"),
    ("checks", "diagram", "engine", "files"),
    ("train",),
    ("callbacks", "estimators", "exchange", "many", "plots"),
    ("tables",),
    ("studies",),
    ("commands",),
    ("__main__",),
]

# Conveniences at the door of something that stands above, which they import when they are called.
UPWARDS = {("module", "files"), ("files", "tables"), ("train", "plots")}


def _imported_parts(path, depth):
    """The parts of chainrule that a file `depth` folders deep imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            yield from [node.module.split(".")[0]] if node.module else [name.name for name in node.names]


def test_imports_point_one_way():
    rank = {part: i for i, parts in enumerate(ORDER) for part in parts}
    root = Path(cr.__file__).parent
    files = [(path, path.relative_to(root).with_suffix("").parts) for path in sorted(root.rglob("*.py"))]
    assert {inside[0] for _, inside in files} - {"__init__"} == rank.keys()
    wrong = [
        f"{'/'.join(inside)} imports {part}"
        for path, inside in files
        if inside != ("__init__",)
        for part in _imported_parts(path, len(inside))
        if rank.get(part, -1) > rank[inside[0]] and (inside[0], part) not in UPWARDS
    ]
    assert wrong == []
