"""Import what a text such as ``"my.module:Class"`` names."""

from __future__ import annotations

import importlib
import inspect
import types
from typing import Any

from mkds_gym.utils.arguments import shown

_BUILT_IN = (
    types.BuiltinFunctionType,
    types.MethodWrapperType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
)


def imported(what: str, spec: str) -> Any:
    """Import an object. The module is executed, and the object is not called.

    Args:
        what: name of the argument, for messages.
        spec: ``"module:object"``.

    Raises:
        ValueError: the text has another form, or the object cannot be imported.
    """
    module, _, attribute = spec.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
        raise ValueError(f"{what} {shown(spec)} cannot be imported: expected module:object")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # a module may raise anything when it is imported
        reason = shown(str(error))[1:-1]
        raise ValueError(
            f"{what} {shown(spec)} cannot be imported: {type(error).__name__}: {reason}; expected "
            "module:object"
        ) from error
    return found


def takes(function: Any, count: int) -> bool:
    """Return whether an object is a Python function, or has one, that takes some arguments.

    Functions of the interpreter, such as ``sys.exit`` and ``os.system``, do not count.

    Args:
        function: any object.
        count: number of positional arguments.
    """
    if not callable(function) or isinstance(function, (type, *_BUILT_IN)):
        return False
    try:
        inspect.signature(function).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True


def has_methods(found: type, protocol: Any) -> bool:
    """Return whether a class has the methods of a protocol."""
    names = [name for name, value in vars(protocol).items() if inspect.isfunction(value)]
    return all(callable(getattr(found, name, None)) for name in names if not name.startswith("_"))
