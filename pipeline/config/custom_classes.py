"""Custom neurons and networks: ``package.module:Class``, ``path/to/file.py:Class``, or a registered name.

`pipeline.config.registrations` has the registered names.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from pipeline.config.code_hash import code_sha256, values_sha256
from pipeline.config.given_classes import given_class, source_file, source_sha256
from pipeline.config.imported_files import imported_files
from pipeline.config.registrations import registration_of
from pipeline.config.run_config import RunConfig
from preprocess.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

_OBJECTS = (
    ", or pass an object of the class as network= to pipeline.train, load_run and evaluate; commands such as predict "
    "cannot make it"
)


def is_outside(name: str) -> bool:
    """Whether the name of a neuron or network is that of a class in a module or file."""
    return ":" in name


def is_custom(field: str, name: str) -> bool:
    """Whether a name in `neuron.name` or `network.name` is not built in: a class, or registered by a program."""
    return is_outside(name) or registration_of(field, name) is not None


def source_of(field: str, name: str) -> Path | None:
    """The file that defines a custom neuron or network; None where it is in none, or in the script that is run."""
    registration = registration_of(field, name)
    return registration.file if registration is not None else source_file(load_outside(name, field))


def load_outside(name: str, field: str) -> type[Any]:
    """The class that a name points to.

    Args:
        name: ``package.module:Class`` or ``path/to/file.py:Class``.
        field: The configuration's field that holds the name, for errors.

    Raises:
        ConfigError: If the module or file cannot be loaded, or does not define the class.
    """
    given = given_class(name)
    if given is not None:
        return given
    where, _, what = name.rpartition(":")
    path = Path(where).expanduser().absolute()
    if where.endswith(".py") and not path.is_file():
        raise ConfigError(f"{field}: expected a Python file in front of ':{what}', found none at {path}")
    try:
        # What the code prints must not mix with the output of a command, which may be JSON.
        with contextlib.redirect_stdout(sys.stderr):
            module = _load_file(path) if where.endswith(".py") else importlib.import_module(where)
    except Exception as error:  # whatever a user's module does while it loads
        raise ConfigError(f"{field}: '{name}' cannot be loaded ({reason_of(error, path)})") from None
    found = getattr(module, what, None)
    if not isinstance(found, type):
        classes = sorted(n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__)
        raise ConfigError(
            f"{field}: expected a class '{what}' in {where}, found only: {', '.join(classes) or 'no class at all'}"
        )
    return found


def make_outside(name: str, field: str, arguments: Mapping[str, Any]) -> nn.Module:
    """An object of the class that a name points to, called with those of the arguments that its constructor accepts.

    Raises:
        ConfigError: If the class cannot be loaded or called, or is not a subclass of torch.nn.Module.
    """
    from torch import nn

    kind = load_outside(name, field)
    if not issubclass(kind, nn.Module):
        raise ConfigError(f"{field}: expected a subclass of torch.nn.Module, found '{name}', which is not one")
    return _call(kind, field, name, arguments)


def make_registered(name: str, field: str, arguments: Mapping[str, Any]) -> nn.Module:
    """What a registered function or class returns, called with those of the arguments that it accepts.

    Raises:
        ConfigError: If the call fails, or does not return a module of torch.
    """
    from torch import nn

    registration = registration_of(field, name)
    assert registration is not None, name
    made = _call(registration.make, field, name, arguments)
    if not isinstance(made, nn.Module):
        raise ConfigError(f"{field}: expected '{name}' to make a torch.nn.Module, found {made!r}. Return a module.")
    return made


def _call(make: Callable[..., Any], field: str, name: str, arguments: Mapping[str, Any]) -> Any:
    accepted = _parameters(make)
    if not isinstance(make, type) and any(p.kind is p.VAR_KEYWORD for p in _signature(make)):
        accepted |= set(arguments)
    given = {key: value for key, value in arguments.items() if key in accepted}
    positional: tuple[Any, ...] = ()
    if len(arguments) == 1 and not given:
        # The only argument, whatever the function calls it.
        (positional, given) = (tuple(arguments.values()), {}) if _required(make) else ((), given)
    elif unknown := [parameter for parameter in _required(make) if parameter not in given]:
        raise ConfigError(
            f"{field}: expected '{name}' to require only arguments among {', '.join(arguments)}, found "
            f"{', '.join(unknown)}. Give the others default values{_OBJECTS if field == 'network.name' else ''}."
        )
    try:
        return make(*positional, **given)
    except ConfigError:
        raise
    except Exception as error:  # whatever a user's code does
        raise ConfigError(f"{field}: '{name}' cannot be made ({reason_of(error, source_of(field, name))})") from None


def _signature(make: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a function or class; none if Python does not know them, as for some built-in ones."""
    try:
        return list(inspect.signature(make).parameters.values())
    except (TypeError, ValueError):
        return []


def _required(make: Callable[..., Any]) -> list[str]:
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in _signature(make) if p.default is p.empty and p.kind not in variable]


def outside_sources(config: RunConfig) -> dict[str, dict[str, Any]]:
    """The custom code of a run, by field path.

    Each entry has `file` and `sha256` of the file that defines the class, and `imports`, path to SHA-256, of the user's
    files that it imports; see `pipeline.config.imported_files`.

    Code that is in no file of its own has a name in place of the file, and the hash of the code itself. A registered
    function that carries values, such as a closure, also has `values`: a name for them, and their hash.
    """
    names: dict[str, str] = {
        "neuron.name": config.neuron.name,
        "network.name": config.network.name,
        "neuron.surrogate": config.neuron.surrogate,
    }
    found = {field: _source(field, name) for field, name in names.items() if is_custom(field, name)}
    return {field: source for field, source in found.items() if source}


def _source(field: str, name: str) -> dict[str, Any]:
    path = source_of(field, name)
    registration = registration_of(field, name)
    if path is not None and path.is_file():
        imports = {str(file): sha256_of(file) for file in imported_files(path)}
        source = {"file": str(path), "sha256": sha256_of(path), "imports": imports}
        values = "" if registration is None else registration.values or values_sha256(registration.make)
        # Of a function that the file makes, such as a closure.
        return source | ({"values": {f"the values in {field} '{name}'": values}} if values else {})
    if registration is None:
        kind = load_outside(name, field)
        return {"file": kind.__module__, "sha256": source_sha256(kind), "imports": {}}
    if registration.file is not None:
        # A registered function may have been sent to a machine that does not have its file.
        return {}
    code = registration.code or code_sha256(registration.make)
    return {"file": f"the code registered as {field} '{name}'", "sha256": code, "imports": {}}


def source_files(sources: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Every file of `outside_sources` to its SHA-256; records of earlier versions have no `imports`."""
    files: dict[str, str] = {}
    for source in sources.values():
        files |= {source["file"]: source["sha256"], **source.get("imports", {}), **source.get("values", {})}
    return files


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class _SourceLoader(importlib.machinery.SourceFileLoader):
    """Compiles a file at every load: a compiled copy is recognised by the file's size and second alone.

    A file that was changed within a second to one of the same size would otherwise be loaded as it was, and recorded
    with the checksum of its new content.
    """

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def _load_file(path: Path) -> ModuleType:
    # One module for one content, so that its classes are the same for every network of a process.
    key = f"spikeloom_outside_{hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()[:16]}"
    if key not in sys.modules:
        spec = importlib.util.spec_from_file_location(key, path, loader=_SourceLoader(key, str(path)))
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[key] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[key]
            raise
    return sys.modules[key]


def _parameters(kind: Callable[..., Any]) -> set[str]:
    """The arguments that a function or constructor accepts; ``**kwargs`` are passed to the class it inherits from."""
    if not isinstance(kind, type):
        return {parameter.name for parameter in _signature(kind)}
    names: set[str] = set()
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters.values()  # type: ignore[misc]
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names


def reason_of(error: BaseException, path: Path | None) -> str:
    """What went wrong, and at which line of the user's file, on one line."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{text}, in line {lines[-1]} of {path}" if lines else text
