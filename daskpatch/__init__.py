"""Tiled prediction on image volumes too large for memory, with Dask and Zarr.

```python
plan = daskpatch.plan("in.zarr", model, "out.zarr", patch_size=(80, 160, 160), overlaps=32)
plan                       # what will happen and what it costs
plan.array[500].compute()  # a slice of the prediction
plan.run()                 # write everything
```
"""

from importlib.metadata import version as _version

from .deciding import Limits, Tiles
from .engine import Interruption
from .image import ImageStack, Source, open_image, open_sequence
from .model import Model, ModelError, OnnxModel, TorchModel
from .output import Output
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
from .planning import Plan, plan, predict
from .probing import Probe, probe
from .pyramids import pyramid
from .receipts import ClaimedError, FailedBlock, Report, RunFailed
from .running import Run
from .seams import SeamReport, check_seams
from .support import Pacing
from .values import Normalize, Statistics
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
    "Limits",
    "Model",
    "ModelError",
    "Normalize",
    "OnnxModel",
    "Output",
    "Pacing",
    "PatchSpecs",
    "Patching",
    "Plan",
    "Probe",
    "RandomPatching",
    "Report",
    "Run",
    "RunFailed",
    "SeamReport",
    "SequentialPatching",
    "Source",
    "Statistics",
    "Status",
    "TileSpecs",
    "TiledPatching",
    "Tiles",
    "TorchModel",
    "Verification",
    "View",
    "WholeSamplePatching",
    "check_seams",
    "is_tile_specs",
    "open_image",
    "open_sequence",
    "plan",
    "predict",
    "probe",
    "pyramid",
    "status",
    "verify",
]
