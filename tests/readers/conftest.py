"""Shared helpers of the tests above this folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
