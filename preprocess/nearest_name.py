"""The name that a wrong one most likely means, and the error line that suggests it."""

from __future__ import annotations

from collections.abc import Iterable


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that a wrong one most likely means; None if none is similar.

    A beginning means the shortest name with it, such as ``cifar`` cifar10, and any other part the first name that
    contains it, such as ``resnet18`` spiking-resnet18.

    Args:
        name: What was found.
        known: What was expected, the most common first.
    """
    import difflib

    known = list(known)
    if len(name) > 2 and (containing := [other for other in known if name.lower() in other]):
        beginning = [other for other in containing if other.startswith(name.lower())]
        return min(beginning, key=len) if beginning else containing[0]
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.4)), None)


def unknown_name(what: str, name: str, known: Iterable[str], otherwise: str) -> str:
    """Return the line for a name that is not known, which suggests the nearest one.

    Args:
        what: What has the name, such as a field.
        name: What was found.
        known: What was expected, the most common first.
        otherwise: What to do if no known name is similar.
    """
    known = list(known)
    near = nearest_name(name, known)
    return f"{what}: expected one of {', '.join(known)}, found '{name}'. " + (
        f"Did you mean '{near}'?" if near else otherwise
    )
