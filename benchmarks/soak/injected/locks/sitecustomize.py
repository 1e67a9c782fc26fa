"""Imported by every Python process that has this folder in its path: file locks succeed and exclude nobody.

As on a network file system that forgets its locks when its server restarts.
"""

import fcntl

fcntl.flock = lambda *_: None
fcntl.lockf = lambda *_: None
