"""What arguments a function takes, and a function that takes these arguments and does nothing."""

import inspect
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

__all__ = ("arity_greater", "fun_accepts_kwargs", "fun_takes_argument", "head_from_fun")


def _argument_spec(fun: Callable[..., Any]) -> inspect.FullArgSpec:
    """Return the arguments of ``fun`` without evaluating its annotations, which may name types that aren't imported."""
    if sys.version_info < (3, 14):
        return inspect.getfullargspec(fun)
    return _spec_from_signature(fun)


def _spec_from_signature(fun: Callable[..., Any]) -> inspect.FullArgSpec:
    import annotationlib  # type: ignore[import-not-found,unused-ignore]  # new in Python 3.14

    # The function of a bound method: its first argument counts, as for getfullargspec.
    signature: Any = inspect.signature
    found = signature(
        getattr(fun, "__func__", fun), follow_wrapped=False, annotation_format=annotationlib.Format.STRING
    ).parameters.values()
    positional = [p for p in found if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    keyword_only = [p for p in found if p.kind == p.KEYWORD_ONLY]
    return inspect.FullArgSpec(
        args=[p.name for p in positional],
        varargs=next((p.name for p in found if p.kind == p.VAR_POSITIONAL), None),
        varkw=next((p.name for p in found if p.kind == p.VAR_KEYWORD), None),
        defaults=tuple(p.default for p in positional if p.default is not p.empty) or None,
        kwonlyargs=[p.name for p in keyword_only],
        kwonlydefaults={p.name: p.default for p in keyword_only if p.default is not p.empty} or None,
        annotations={},
    )


def _head_arguments(spec: inspect.FullArgSpec) -> str:
    """Write the arguments of a function as source text, with a number in place of each default."""
    required = len(spec.args) - len(spec.defaults or ())
    optional_keywords = list(spec.kwonlydefaults or {})
    required_keywords = [name for name in spec.kwonlyargs if name not in optional_keywords]
    parts: Iterable[str] = [
        *spec.args[:required],
        *(f"{name}={number}" for number, name in enumerate(spec.args[required:])),
        *([f"*{spec.varargs}"] if spec.varargs else ["*"] if spec.kwonlyargs else []),
        *required_keywords,
        *(f'{name}="{number}"' for number, name in enumerate(optional_keywords)),
        *([f"**{spec.varkw}"] if spec.varkw else []),
    ]
    return ", ".join(parts)


def head_from_fun(fun: Callable[..., Any], bound: bool = False) -> Callable[..., Any]:
    """Return a function with the arguments of ``fun`` that returns 1: a call of it checks arguments at full speed.

    Args:
        fun: a function, a method, or an object with ``__call__``.
        bound: whether the first argument is given already, as it is for a bound task.
    """
    target: Any = fun
    compiled = type(fun).__name__ == "cython_function_or_method"
    if inspect.isfunction(fun) or inspect.ismethod(fun) or compiled:
        name = target.__name__
    else:
        name, target = type(fun).__name__, target.__call__
    source = f"\ndef {name}({_head_arguments(_argument_spec(target))}):\n    return 1\n"
    namespace: dict[str, Any] = {"__name__": target.__module__}
    # The text holds names of arguments only, which Python has parsed before.
    exec(source, namespace)  # noqa: S102
    head: Any = namespace[name]
    head._source = source
    return partial(head, object()) if bound else head


def arity_greater(fun: Callable[..., Any], n: int) -> Any:
    """Tell whether ``fun`` takes more than ``n`` positional arguments."""
    spec = inspect.getfullargspec(fun)
    return spec.varargs or len(spec.args) > n


def fun_takes_argument(name: str, fun: Callable[..., Any], position: int | None = None) -> Any:
    """Tell whether ``fun`` takes an argument by this name, or at this position."""
    spec = inspect.getfullargspec(fun)
    return spec.varkw or spec.varargs or (len(spec.args) >= position if position else name in spec.args)


def fun_accepts_kwargs(fun: Callable[..., Any]) -> bool:
    """Tell whether ``fun`` takes any keyword argument."""
    code = getattr(fun, "__code__", None)
    if code is not None:
        return bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return any(p.kind == p.VAR_KEYWORD for p in inspect.signature(fun).parameters.values())
