"""Execute a notebook in a folder and fail if a cell does: `execute_notebook.py NOTEBOOK FOLDER`.

With `--write` the executed notebook replaces the one given, outputs and all.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

source, folder = Path(sys.argv[1]), sys.argv[2]
notebook = nbformat.read(source, as_version=4)
NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()
if "--write" in sys.argv:
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    nbformat.write(notebook, source)
print(f"{source}: {len(notebook.cells)} cells executed")
