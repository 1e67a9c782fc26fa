"""Raw recordings: one module per format; a file is opened by its path and streamed as `Events`."""

from preprocess.formats.read_options import NO_OPTIONS as NO_OPTIONS
from preprocess.formats.read_options import ReadOptions as ReadOptions
from preprocess.formats.recording import Recording as Recording
from preprocess.formats.recording import Size as Size
from preprocess.formats.registry import FORMATS as FORMATS
from preprocess.formats.registry import SUFFIXES as SUFFIXES
from preprocess.formats.registry import open_recording as open_recording
from preprocess.formats.registry import register_format as register_format
