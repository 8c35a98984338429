"""A file that threads read from at any place, without a position that they would share."""

from __future__ import annotations

import os


class Descriptor:
    """An open file; closed when nobody has it any more."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._number = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))

    @property
    def size(self) -> int:
        return os.fstat(self._number).st_size

    def read(self, offset: int, count: int) -> bytes:
        """So many bytes from a place on.

        Raises
        ------
        OSError
            If the file ends before.
        """
        parts: list[bytes] = []
        while count:
            part = os.pread(self._number, count, offset)
            if not part:
                raise OSError(f"{self.path} ends before byte {offset + count}: it is torn")
            parts.append(part)
            offset, count = offset + len(part), count - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def __del__(self) -> None:
        if hasattr(self, "_number"):
            os.close(self._number)
