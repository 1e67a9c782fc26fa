"""Read one image from a JPEG or PNG file."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import RecordingError

if TYPE_CHECKING:
    from PIL.Image import Image


def read_image(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    """The image of a file, uint8 (3, H, W); RecordingError as `decode_image`, or if it cannot be read."""
    if path.is_dir():
        raise RecordingError(f"{path}: expected an image, found a folder. Give the files in it.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror}). Check the path.") from None
    return decode_image(path, content, height, width)


def decode_image(path: Path, content: bytes, height: int, width: int) -> NDArray[np.uint8]:
    """The image in the bytes of a file, uint8 (3, H, W); a grey image has three equal channels.

    Raises:
        RecordingError: If it is not a JPEG or PNG file, is damaged, has another size, more than 8 bits per colour, or
            transparent pixels.
    """
    # Imported here, because most data sets do not need it.
    from PIL import Image as pillow
    from PIL import UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Of a large size, which is refused below.
            warnings.simplefilter("ignore", pillow.DecompressionBombWarning)
            opened = pillow.open(io.BytesIO(content), formats=("JPEG", "PNG"))
        with opened as image:
            # Known before anything is decoded.
            if (image.height, image.width) != (height, width):
                raise RecordingError(
                    f"{path}: expected {height}x{width} pixels (rows x columns), found {image.height}x{image.width}. "
                    f"Scale the image to {height}x{width}."
                )
            _refuse_other_pixels(path, image)
            pixels = np.asarray(image.convert("RGB"), np.uint8)
    except RecordingError:
        raise
    except Exception as error:  # Pillow raises many for damaged files
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = "other first bytes"
        raise RecordingError(
            f"{path}: expected a JPEG or PNG image, found a file that cannot be read ({reason}). Copy it again."
        ) from None
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _refuse_other_pixels(path: Path, image: Image) -> None:
    """Raise a RecordingError for pixels of which Pillow would cut off high values, or ignore transparency."""
    may_be_clear = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    if image.mode.startswith(("I", "F")):
        found = "more than 8 bits per colour"
    elif may_be_clear and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
        found = "transparent pixels"
    else:
        return
    expected = "expected 8 bits per colour and no transparency"
    raise RecordingError(f"{path}: {expected}, found {found}. Convert the image.")
