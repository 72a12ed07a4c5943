"""The house: who imports whom, what is public, what every function and kernel looks like."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import sys
import types
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from numba.core.caching import NullCache
from numba.core.registry import CPUDispatcher

import smlm_dask

PACKAGE = Path(smlm_dask.__file__).parent
FILES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
LONGEST = 40  # lines of a function, without its signature and docstring
every_module = pytest.mark.parametrize("name", FILES)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text(encoding="utf-8"))


def functions(module: ast.Module) -> Iterator[Function]:
    return (n for n in ast.walk(module) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


# ------------------------------------------------------------------ who imports whom


def imported(module: ast.Module) -> set[str]:
    """Dotted names of all that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "import by the full name"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms(module: ast.Module) -> set[str]:
    """Modules of the package that a module imports."""
    known = [(n, n.rpartition(".")[0]) for n in imported(module)]
    return {n if n in FILES else parent for n, parent in known if n in FILES or parent in FILES}


def below(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def blocks() -> set[str]:
    """The modules with a function that makes a Dataset of a movie."""
    return {name for name in FILES if any(map(is_block, tree(name).body))}


def is_block(node: ast.AST) -> bool:
    if (
        not isinstance(node, ast.FunctionDef)
        or node.name.startswith("_")
        or not node.args.posonlyargs
    ):
        return False
    returns = ast.unparse(node.returns) if node.returns else ""
    return node.args.posonlyargs[0].arg == "movie" and returns == "xr.Dataset"


MAY_IMPORT_BLOCKS = ("smlm_dask.compat", "smlm_dask.cli", "smlm_dask.report")


def check_directions(name: str, module: ast.Module) -> None:
    """The arrows of the design: blocks, then the graph, then the device, and kernels apart."""
    outside, inside = imported(module), rooms(module)
    if below(name, "smlm_dask.kernels"):
        allowed = {
            "numpy",
            "scipy",
            "numba",
            "llvmlite",
            "smlm_dask",
            "__future__",
        } | sys.stdlib_module_names
        assert {n.partition(".")[0] for n in outside} <= allowed
        assert all(below(room, "smlm_dask.kernels") for room in inside)
    if not below(name, "smlm_dask._graph"):
        assert not {n for n in outside if below(n, "dask.array")}
    else:
        assert not {n for n in outside if below(n, "xarray")}
        apart = ("smlm_dask._graph", "smlm_dask._device", "smlm_dask.kernels", "smlm_dask.errors")
        assert all(any(below(room, a) for a in apart) for room in inside)
    if name != "smlm_dask._device":
        assert not {n for n in outside if below(n, "cupy")}
    if name != "smlm_dask" and not any(below(name, room) for room in MAY_IMPORT_BLOCKS):
        assert not (inside - {name}) & blocks()


@every_module
def test_imports_point_one_way(name: str) -> None:
    check_directions(name, tree(name))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("smlm_dask.kernels.gain", "import xarray"),
        ("smlm_dask.kernels.gain", "from smlm_dask import _graph"),
        ("smlm_dask.kernels.gain", "from smlm_dask.errors import SmlmError"),
        ("smlm_dask.gain", "import dask.array as da"),
        ("smlm_dask.gain", "from dask import array"),
        ("smlm_dask.gain", "import cupy"),
        ("smlm_dask._graph", "import xarray as xr"),
        ("smlm_dask._graph", "from smlm_dask.gain import estimate_gain"),
        ("smlm_dask.gain", "from smlm_dask.psf import estimate_psf"),
        ("smlm_dask.store", "from smlm_dask import photons"),
    ],
)
def test_a_wrong_import_is_found(name: str, line: str) -> None:
    with pytest.raises(AssertionError):
        check_directions(name, ast.parse(line))


def test_the_blocks_are_found() -> None:
    names = ("gain", "background", "psf", "photons")
    assert blocks() >= {f"smlm_dask.{n}" for n in names}


def cycle(arrows: dict[str, set[str]]) -> list[str]:
    """Modules that are left when those that import nothing else are taken away again and again."""
    left = dict(arrows)
    while free := [name for name, to in left.items() if not to & left.keys()]:
        for name in free:
            del left[name]
    return sorted(left)


def test_no_module_imports_itself_by_a_detour() -> None:
    arrows = {name: rooms(tree(name)) - {name} for name in FILES}
    # ``from smlm_dask import _graph`` is an import of _graph, not of the public names.
    assert not cycle(arrows)


def test_a_cycle_is_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()}) == ["a", "b", "c"]


# ------------------------------------------------------------------ what is public


def test_all_is_exact_and_sorted() -> None:
    public = {
        name
        for name, value in vars(smlm_dask).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert set(smlm_dask.__all__) == public
    assert smlm_dask.__all__ == sorted(smlm_dask.__all__)


def test_every_block_is_public() -> None:
    for name in blocks():
        for node in filter(is_block, tree(name).body):
            assert isinstance(node, ast.FunctionDef)
            assert node.name in smlm_dask.__all__


@every_module
def test_modules_name_what_they_give(name: str) -> None:
    module = importlib.import_module(name)
    # A function may stand in front of the module of its name: smlm_dask.store.
    module = module if isinstance(module, types.ModuleType) else sys.modules[name]
    for public in getattr(module, "__all__", []):
        assert hasattr(module, public), public
    if name in blocks():
        assert {n.name for n in tree(name).body if is_block(n)} <= set(module.__all__)


def public_functions() -> dict[str, Callable[..., Any]]:
    compat = importlib.import_module("smlm_dask.compat")
    found = pkgutil.iter_modules(compat.__path__, "smlm_dask.compat.")
    modules = [smlm_dask, *(importlib.import_module(module.name) for module in found)]
    return {
        f"{module.__name__}.{name}": value
        for module in modules
        for name in module.__all__
        if inspect.isfunction(value := getattr(module, name))
    }


def sections(doc: str) -> dict[str, str]:
    """Sections of a numpydoc text and what is in them."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", doc, flags=re.MULTILINE)
    return {"Summary": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def documented_names(section: str) -> set[str]:
    """The names in front of the colons: ``a, b : int``."""
    heads = [line.split(" : ")[0] for line in section.splitlines() if line and line[0] != " "]
    return {name.strip().lstrip("*") for head in heads for name in head.split(",")}


def check_documented(function: Callable[..., Any]) -> None:
    doc = inspect.getdoc(function)
    assert doc, "no docstring"
    parts = sections(doc)
    signature = inspect.signature(function)
    assert parts["Summary"].strip().splitlines()[0].endswith(".")
    if signature.parameters:
        assert documented_names(parts["Parameters"]) == set(signature.parameters)
    assert "Returns" in parts or signature.return_annotation in ("None", None)
    assert "Raises" in parts


def check_annotated(function: Callable[..., Any]) -> None:
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, parameter


@pytest.mark.parametrize("name", public_functions())
def test_public_functions_are_documented(name: str) -> None:
    check_documented(public_functions()[name])


@pytest.mark.parametrize("name", public_functions())
def test_public_functions_are_annotated(name: str) -> None:
    check_annotated(public_functions()[name])


@pytest.mark.parametrize("name", smlm_dask.__all__)
def test_public_names_are_documented(name: str) -> None:
    assert inspect.getdoc(getattr(smlm_dask, name))


def test_a_missing_word_is_found() -> None:
    def silent(a, b: int) -> int:  # type: ignore[no-untyped-def]
        """Do.

        Parameters
        ----------
        b : int

        Returns
        -------
        int

        Raises
        ------
        ValueError
        """
        return int(a) + b

    with pytest.raises(AssertionError):
        check_documented(silent)
    with pytest.raises(AssertionError):
        check_annotated(silent)


@pytest.mark.parametrize("name", sorted(blocks()))
def test_blocks_take_a_movie_and_few_keywords(name: str) -> None:
    for node in filter(is_block, tree(name).body):
        assert isinstance(node, ast.FunctionDef)
        assert not node.args.args, "after the movie only positional-only inputs and keywords"
        assert len(node.args.kwonlyargs) <= 6


# ------------------------------------------------------------------ what code looks like


def body_lines(function: Function) -> int:
    first, *rest = function.body
    text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    begin = rest[0] if text and rest else first
    return (function.end_lineno or 0) - begin.lineno + 1


@every_module
def test_functions_are_short(name: str) -> None:
    assert {f.name: n for f in functions(tree(name)) if (n := body_lines(f)) > LONGEST} == {}


def test_a_long_function_is_found() -> None:
    body = "\n".join(["    x = 1"] * (LONGEST + 1))
    (function,) = functions(ast.parse(f"def f():\n{body}\n"))
    assert body_lines(function) > LONGEST


@every_module
def test_rooms_have_names_of_their_own(name: str) -> None:
    assert not {"utils", "util", "core", "common", "helpers", "helper", "misc"} & set(
        name.split(".")
    )


COMPILERS = {"njit", "jit", "vectorize", "guvectorize", "stencil", "generated_jit", "cfunc"}


def careless(module: ast.Module) -> list[str]:
    """Compilations that hold the lock, are not kept, or start threads of their own."""
    found = []
    calls = [n for n in ast.walk(module) if isinstance(n, ast.Call)]
    good = {id(call.func) for call in calls if is_careful(call)}
    for node in ast.walk(module):
        named = node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
        if (
            isinstance(node, ast.Name | ast.Attribute)
            and named in COMPILERS
            and id(node) not in good
        ):
            found.append(f"line {node.lineno}: {named}")
    threads = [k for n in calls for k in n.keywords if k.arg in ("parallel", "target")]
    used = [n for n in ast.walk(module) if isinstance(n, ast.Name) and n.id == "prange"]
    return (
        found
        + [f"line {n.value.lineno}: {n.arg}" for n in threads if in_compiler(n, calls)]
        + [f"line {n.lineno}: prange" for n in used]
    )


def in_compiler(keyword: ast.keyword, calls: list[ast.Call]) -> bool:
    return any(keyword in call.keywords and compiler(call) for call in calls)


def compiler(call: ast.Call) -> bool:
    return (getattr(call.func, "id", None) or getattr(call.func, "attr", None)) in COMPILERS


def is_careful(call: ast.Call) -> bool:
    on = {
        k.arg for k in call.keywords if isinstance(k.value, ast.Constant) and k.value.value is True
    }
    return compiler(call) and {"nogil", "cache"} <= on and not call.args


@every_module
def test_compiled_code_frees_the_lock_and_starts_no_threads(name: str) -> None:
    assert careless(tree(name)) == []


@pytest.mark.parametrize(
    "text",
    [
        "@njit\ndef f(): ...",
        "@numba.njit\ndef f(): ...",
        "@njit(cache=True)\ndef f(): ...",
        "@njit(nogil=True)\ndef f(): ...",
        "@njit(nogil=True, cache=True, parallel=True)\ndef f(): ...",
        "@njit('f8(f8)', nogil=True, cache=True)\ndef f(): ...",
        "f = jit(nogil=False, cache=True)(g)",
        "for i in prange(3): ...",
    ],
)
def test_careless_compiling_is_found(text: str) -> None:
    assert careless(ast.parse(text))


def test_careful_compiling_passes() -> None:
    assert not careless(ast.parse("@njit(nogil=True, cache=True)\ndef f(): ..."))


def test_compiled_kernels_are_as_they_say() -> None:
    """What numba made, however it was asked."""
    kernels = [
        value
        for name in FILES
        if below(name, "smlm_dask.kernels")
        for value in vars(importlib.import_module(name)).values()
        if isinstance(value, CPUDispatcher)
    ]
    assert kernels
    for kernel in kernels:
        options = kernel.targetoptions
        assert options.get("nogil"), kernel
        assert not options.get("parallel"), kernel
        assert not isinstance(kernel._cache, NullCache), kernel
