"""Splits as repetitions: settings that differ only in the draw of the test samples are analysed as one."""
