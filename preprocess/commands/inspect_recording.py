"""spikeloom inspect: the contents of a recording, an event store or a frame cache."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from preprocess.formats.read_options import ReadOptions, TimeUnit
from preprocess.terminal.command_line import UsageError, parse

# jAER's headers have thousands of lines.
_MOST_HEADER_LINES = 10
_MOST_CLASSES = 12


@dataclass(frozen=True)
class Arguments:
    """Show the contents of a raw recording, an event store (events.h5) or a frame cache (frames/*.h5).

    Example: spikeloom inspect user01_natural.aedat --plot picture.png --animate film.gif
    """

    file: Annotated[Path, tyro.conf.Positional]
    """The recording or cache."""
    plot: Path | None = None
    """Write a picture of the recording, or of a sample of the cache, to this PNG file."""
    animate: Path | None = None
    """Write an animation of the recording, or of a sample of the cache, to this GIF file. Of recordings longer than ten
    seconds, it shows the ten seconds with the most events."""
    slower: float = 1.0
    """Slow-motion factor of the animation."""
    sample: int | None = None
    """Number of the sample of a cache to show (default: the first)."""
    columns: str | None = None
    """Order of the columns in an array or a text file without column names, such as txyp."""
    time_unit: TimeUnit | None = None
    """Unit of the timestamps in a file that does not state it (default: us, as integers)."""
    hdf5_path: str | None = None
    """Group or data set with the events in an HDF5 file, such as davis/left/events."""
    topic: str | None = None
    """Topic with the events in a ROS bag, if it has several, such as /davis/left/events."""
    sensor_size: tuple[int, int] | None = None
    """Sensor rows and columns, for files that do not store them, such as .npy, .txt and .bin."""
    json: bool = False
    """Print one JSON object instead of lines."""

    def read_options(self) -> ReadOptions:
        """What the recording does not state."""
        return ReadOptions(self.columns, self.time_unit, self.hdf5_path, self.topic)

    def check(self) -> None:
        """Raise a UsageError with every error that can be found without reading files."""
        errors = []
        if self.plot is not None and self.plot.suffix.lower() != ".png":
            errors.append(f"--plot: expected a file name that ends with .png, found '{self.plot}'")
        if self.animate is not None and self.animate.suffix.lower() != ".gif":
            errors.append(f"--animate: expected a file name that ends with .gif, found '{self.animate}'")
        if not 0.01 <= self.slower <= 10_000:
            errors.append(f"--slower: expected 0.01 to 10000, found {self.slower:g}")
        if self.sample is not None and self.sample < 0:
            errors.append(f"--sample: expected 0 or more, found {self.sample}")
        if self.sensor_size is not None and not all(1 <= side <= 1 << 15 for side in self.sensor_size):
            errors.append(f"--sensor-size: expected 1 to {1 << 15} rows and columns, found {self.sensor_size}")
        errors += self.read_options().errors()
        if errors:
            raise UsageError(*errors)


def run(argv: list[str]) -> None:
    """Print the facts, and write the picture and the animation if requested."""
    arguments = parse(Arguments, argv, prog="spikeloom inspect")
    arguments.check()
    from preprocess.inspection.inspect_file import inspect_file

    path, size = arguments.file.expanduser().absolute(), arguments.sensor_size
    found = inspect_file(path, sample=arguments.sample, size=size, options=arguments.read_options())
    written: dict[str, str] = {}
    if arguments.plot is not None:
        picture = arguments.plot.expanduser().absolute()
        found.draw(picture)
        written["picture"] = str(picture)
    if arguments.animate is not None:
        film = arguments.animate.expanduser().absolute()
        found.animate(film, arguments.slower)
        written["animation"] = str(film)
    if arguments.json:
        print(json.dumps(found.facts | written))
    else:
        print(found.facts["path"])
        for name, text in _lines(found.facts):
            print(f"  {name:<12}  {text}")
        for what, file in written.items():
            print(f"{what}: {file}")


def _lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and text of each printed line; the name is empty where a line continues the one above."""
    size = f"{facts['bytes'] / 1e6:,.2f} MB, {facts['height']}x{facts['width']} pixels (rows x columns)"
    turned = f", {facts['orientation']} orientation" if facts.get("orientation") else ""
    yield facts["kind"], f"{facts['format']}, {size}{turned}"
    if facts["kind"] == "recording":
        yield from _lines_of_header(facts["header"])
        yield from _lines_of_events(facts)
        for note, count in facts["notes"].items():
            yield "note", f"{note.replace('_', ' ')}: {count:,}"
        if facts.get("time_unit_assumed"):
            yield "unit", "timestamps were read as us because --time-unit is not given"
        for warning in facts.get("warnings", ()):
            yield "warning", warning.removeprefix("Warning: ")
        return
    yield from _lines_of_cache(facts)
    sample = facts["sample"]
    place = f"class {sample['class']}, {sample['split']}, index {sample['index']}, group '{sample['group']}'"
    yield f"sample {sample['number']}", f"'{sample['name']}', {place}"
    if facts["kind"] == "image store":
        yield "image", "mean of red, green and blue: " + ", ".join(f"{mean:.1f}" for mean in sample["mean_of_channels"])
        return
    yield from _lines_of_events(sample) if facts["kind"] == "event store" else _lines_of_frames(sample)


def _lines_of_header(header: list[str]) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(header[:_MOST_HEADER_LINES]):
        yield "" if number else "header", line
    if len(header) > _MOST_HEADER_LINES:
        yield "", f"... and {len(header) - _MOST_HEADER_LINES:,} more lines"


def _lines_of_events(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    share = 100 * facts["on_share"]
    yield "events", f"{facts['events']:,}: {share:.1f} % ON, {100 - share:.1f} % OFF" if facts["events"] else "none"
    if not facts["events"]:
        return
    start, end = facts["start_us"] / 1e6, facts["end_us"] / 1e6
    yield "time", f"{facts['duration_us'] / 1e6:,.6f} s, from {start:,.6f} s to {end:,.6f} s"
    earlier = f"{facts['backwards']:,} events are earlier than their predecessor"
    yield "order", earlier if facts["backwards"] else "sorted by time"
    window_us = facts["rate_window_us"]
    window = f"{window_us / 1e3:.1f} ms" if window_us >= 100 else f"{window_us} µs"
    yield "rate", f"{facts['mean_rate']:,.0f} events/s on average, {facts['peak_rate']:,.0f} in the busiest {window}"


def _lines_of_cache(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if facts["kind"] == "frame cache":
        blocks = f", {facts['downsample']}x{facts['downsample']} pixels summed" if facts["downsample"] > 1 else ""
        yield "binning", f"{_describe_frames(facts)}{blocks}, {facts['dtype']} counts"
        if facts["dropped"]:
            share = 100 * facts["dropped"] / facts["events"]
            yield "", f"{facts['dropped']:,} events ({share:.2f} %) are in no frame"
        if facts["repeated"]:
            share = 100 * facts["repeated"] / facts["events"]
            yield "", f"{facts['repeated']:,} events ({share:.2f} %) are in several frames"
    yield "data set", facts["dataset"]
    yield "samples", f"{facts['samples']:,}: " + ", ".join(f"{n:,} {split}" for split, n in facts["splits"].items())
    names = list(facts["classes"])
    sizes = [sum(splits.values()) for splits in facts["classes"].values()]
    listed = ", ".join(names[:_MOST_CLASSES]) + (", ..." if len(names) > _MOST_CLASSES else "")
    yield "classes", f"{len(names)}, with {min(sizes):,} to {max(sizes):,} samples each: {listed}"
    if facts["kind"] == "image store":
        means, deviations = (", ".join(f"{value:.4f}" for value in facts[name]) for name in ("mean", "deviation"))
        yield "channels", f"mean {means}; standard deviation {deviations}"
    else:
        smallest, largest = facts["events_of_smallest"], facts["events_of_largest"]
        yield "events", f"{facts['events']:,}: {smallest:,} to {largest:,} per sample"
    if facts.get("sorted"):
        yield "order", "sorted by time"
    elif facts.get("out_of_order"):
        found = facts["out_of_order"]
        yield "order", f"{found['events']:,} events of {found['samples']:,} samples are earlier than their predecessor"
    if "source" in facts:
        yield "source", facts["source"]
    yield "fingerprint", facts["fingerprint"]


def _describe_frames(facts: dict[str, Any]) -> str:
    """Number and content of the frames, such as ``10 frames of equal duration``."""
    shortest, longest = facts["lengths"]
    frames = f"{longest} frames" if shortest == longest else f"{shortest} to {longest} frames"
    contents = {
        "number": "with equal numbers of events",
        "time": "of equal duration",
        "duration": f"of {facts.get('duration_us')} us",
        "time_window": f"of {facts.get('duration_us')} us",
        "event_count": f"of {facts.get('event_count')} events",
        "n_time_bins": "of equal duration, the remainder left out",
        "n_event_bins": "with equal numbers of events, the remainder left out",
        "fixed_window": f"of {facts.get('duration_us')} us, starting at {facts.get('start_us')} us",
        "imported": "that were imported; how they were binned is not known",
        "imported_varying": "that were imported; how they were binned is not known",
    }
    overlap = f", overlapping by {facts['overlap']}" if facts.get("overlap") else ""
    return f"{frames} {contents[facts['split_by']]}{overlap}"


def _lines_of_frames(sample: dict[str, Any]) -> Iterator[tuple[str, str]]:
    share = 100 * sample["on_share"]
    yield "events", f"{sample['events']:,}: {share:.1f} % ON, {100 - share:.1f} % OFF"
    counts = sample["events_of_frames"]
    empty = f", {counts.count(0)} of {len(counts)} frames are empty" if 0 in counts else ""
    most = f"at most {sample['largest_count']:,g} per pixel"
    yield "frames", f"{min(counts):,} to {max(counts):,} events per frame, {most}{empty}"
