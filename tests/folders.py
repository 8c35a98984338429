"""What lies in folders, byte by byte."""


def contents(folder, pattern="*"):
    """The files of a folder, by their paths in it: what is in each."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob(pattern) if p.is_file()}
