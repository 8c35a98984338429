"""A file as it was when it was opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ..store import ChangedError


@dataclass(frozen=True)
class Stamp:
    """Size, time of the last change in nanoseconds, and which file it is: device and inode.

    It pickles without the last, which is another one on another host.
    """

    size: int
    modified: int
    node: tuple[int, int] | None

    @classmethod
    def of(cls, path: str) -> Stamp:
        status = os.stat(path)
        return cls(status.st_size, status.st_mtime_ns, (status.st_dev, status.st_ino))

    def check(self, path: str) -> None:
        """Compare it with what is there now.

        Raises
        ------
        ChangedError
            If it is gone, or another.
        """
        try:
            now = Stamp.of(path)
        except (FileNotFoundError, NotADirectoryError):
            raise ChangedError(f"{path} is gone; it was there when it was opened") from None
        told = [
            f"{what} was {before}, is {after}"
            for what, before, after in (
                ("its size", self.size, now.size),
                ("its time", self.modified, now.modified),
            )
            if before != after
        ]
        if told:
            raise ChangedError(f"{path} was changed since it was opened: {'; '.join(told)}")
        if self.node is not None and self.node != now.node:
            raise ChangedError(f"{path} was made anew since it was opened: it is another file")

    def __reduce__(self) -> tuple[Any, ...]:
        return Stamp, (self.size, self.modified, None)
