"""Tiled prediction on image volumes too large for memory, with Dask and Zarr.

```python
plan = daskpatch.plan("in.zarr", model, "out.zarr", patch_size=(80, 160, 160), overlaps=32)
plan                       # what will happen and what it costs
plan.array[500].compute()  # a slice of the prediction
plan.run()                 # write everything
```
"""

from importlib.metadata import version as _version

from .engine import Interruption
from .image import ImageStack, open_image
from .model import ModelError, OnnxModel, TorchModel
from .patching import (
    AlignedPatching,
    FixedPatching,
    FixedRandomPatching,
    Patching,
    PatchSpecs,
    RandomPatching,
    SequentialPatching,
    TiledPatching,
    TileSpecs,
    WholeSamplePatching,
    is_tile_specs,
)
from .planning import Plan
from .prediction import plan, predict
from .probing import Probe, probe
from .receipts import ClaimedError, FailedBlock, Report, RunFailed
from .seams import SeamReport, check_seams
from .statistics import Statistics
from .verification import Status, Verification, status, verify
from .view import View

__version__ = _version("daskpatch")

__all__ = [
    "AlignedPatching",
    "ClaimedError",
    "FailedBlock",
    "FixedPatching",
    "FixedRandomPatching",
    "ImageStack",
    "Interruption",
    "ModelError",
    "OnnxModel",
    "PatchSpecs",
    "Patching",
    "Plan",
    "Probe",
    "RandomPatching",
    "Report",
    "RunFailed",
    "SeamReport",
    "SequentialPatching",
    "Statistics",
    "Status",
    "TileSpecs",
    "TiledPatching",
    "TorchModel",
    "Verification",
    "View",
    "WholeSamplePatching",
    "check_seams",
    "is_tile_specs",
    "open_image",
    "plan",
    "predict",
    "probe",
    "status",
    "verify",
]
