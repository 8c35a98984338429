"""Outputs that were damaged, and looked at afterwards."""

import daskpatch


def flip(path, at=None):
    """Another byte than there was: in the middle of a file, or where it is said."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 0xFF
    path.write_bytes(content)


def verified(output, **options):
    return daskpatch.verify(output, progress=False, **options)
