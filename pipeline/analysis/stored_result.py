"""The results of analyses as typed values and as JSON files; does not load torch, so that reports open them fast."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from preprocess.errors import RunError
from preprocess.files import make_folder, read_json, write_json
from preprocess.terminal.plural import counted

FORMAT, VERSION = "spikeloom-analysis", 1
FOLDER = "analysis"
"""The folder of the results in a run folder."""

T = TypeVar("T")


@dataclass(frozen=True)
class Subject:
    """What was analysed.

    Attributes:
        name: Name of the run's folder, or of the preset.
        trained: Whether the weights are the run's selected ones, and not a preset's initial ones.
        dataset: Name of the data set.
        emulated: Whether its recordings are emulated.
        part: ``test`` or ``train``: the split of the samples; "" for an analysis without samples.
        samples: Number of samples that the network was run on; 0 likewise.
        network: Name of the network; "" for an analysis that does not use it.
        neuron: Name of the neuron, which is a key of `pipeline.config.neurons.NEURONS` or a custom class.
        tau: Its time constant in time steps; None for a neuron without one.
        timesteps: T of the data; that of the longest sample if it varies, 0 for an analysis that does not depend on it.
        epoch: The epoch whose weights are selected; None for a preset.
        weights: SHA-256 of the file of the weights; None for a preset.
    """

    name: str
    trained: bool
    dataset: str
    emulated: bool
    part: str
    samples: int
    network: str
    neuron: str
    tau: float | None
    timesteps: int
    epoch: int | None
    weights: str | None

    @property
    def about(self) -> str:
        """What the numbers were measured on, for the line above a figure."""
        tau = "" if self.tau is None else f", tau {self.tau:g}"
        network = f"{self.network}, " if self.network else ""
        kind = "training" if self.part == "train" else self.part
        parts = [f"{self.name}: {network}{self.neuron}{tau}"]
        parts += [f"T = {self.timesteps}"] if self.timesteps else []
        parts += [f"{self.dataset}{' (emulated)' if self.emulated else ''}"] if self.dataset else []
        parts += [counted(self.samples, f"{kind} sample")] if self.samples else []
        if self.network:
            parts.append(f"weights of epoch {self.epoch}" if self.trained else "initial weights, not trained")
        return ", ".join(parts)


@dataclass(frozen=True)
class AnalysisResult:
    """The base class of results: frozen dataclasses of numbers, texts, tuples, dictionaries and such dataclasses.

    A value that is not defined is None, because JSON has no NaN.

    Attributes:
        ANALYSIS: The key of the analysis in `pipeline.analysis.registry.ANALYSES`.
        subject: What was analysed.
    """

    ANALYSIS: ClassVar[str]

    subject: Subject

    def to_json(self) -> dict[str, Any]:
        """The content of the file."""
        return {"format": FORMAT, "version": VERSION, "analysis": self.ANALYSIS, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; raises KeyError, TypeError or ValueError if the content is of another kind."""
        found = content["format"], content["version"], content["analysis"]
        if found != (FORMAT, VERSION, cls.ANALYSIS):
            raise ValueError(f"expected {(FORMAT, VERSION, cls.ANALYSIS)}, found {found}")
        return _typed(cls, {name: value for name, value in content.items() if name in _fields(cls)})

    def write(self, folder: Path | str) -> Path:
        """Write ``<analysis>.json`` into a folder, which is created if missing; returns its path.

        A report shows the results in the folder ``analysis`` of a run.

        Raises:
            RunError: If the folder cannot be written.
        """
        folder = Path(folder)
        make_folder(folder)
        path = folder / f"{self.ANALYSIS}.json"
        write_json(path, self.to_json())
        return path


Result = TypeVar("Result", bound=AnalysisResult)


def read_result(kind: type[Result], folder: Path) -> Result | None:
    """Read a stored result; None if there is no such file.

    Args:
        kind: The class of the result.
        folder: The folder that it was written to.

    Raises:
        RunError: If the file is damaged or of another version.
    """
    path = folder / f"{kind.ANALYSIS}.json"
    content = read_json(path)
    if content is None:
        return None
    try:
        return kind.from_json(content)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path}: expected a result of this version of spikeloom, found other content ({error!r}). Repeat: "
            f"spikeloom analyse RUN_DIR {kind.ANALYSIS}"
        ) from None


def _fields(kind: type[Any]) -> set[str]:
    return {part.name for part in dataclasses.fields(kind)}


def _typed(kind: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass from the values of its fields as JSON has them."""
    hints = typing.get_type_hints(kind)
    return kind(**{name: _value(hints[name], value) for name, value in values.items()})


def _value(hint: Any, value: Any) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        others = [option for option in inner if option is not type(None)]
        return None if value is None else _value(others[0], value)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise TypeError(f"expected an object, found {value!r}")
        return _typed(typing.cast(type[Any], hint), value)
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError(f"expected a list, found {value!r}")
        types_of = [inner[0]] * len(value) if len(inner) == 2 and inner[1] is Ellipsis else inner
        return tuple(_value(part, each) for part, each in zip(types_of, value, strict=True))
    if origin is dict:
        return {name: _value(inner[1], each) for name, each in value.items()}
    if hint is float and type(value) is int:
        return float(value)
    if hint in (bool, int, float, str) and type(value) is not hint:
        raise TypeError(f"expected {hint.__name__}, found {value!r}")
    return value
