"""What a run leaves behind: receipts, failures, claims, and the document that guards resume."""

from .announcement import Announcements
from .claim import Claim, holders, refuse_claimed, remove_dead
from .document import (
    ArrayRecord,
    BlocksRecord,
    Document,
    Fingerprint,
    IdentityRecord,
    Json,
    LayoutRecord,
    LevelFingerprint,
    LevelSettings,
    OutputRecord,
    PassDocument,
    PlacedArray,
    RunDocument,
    SourceRecord,
    StatisticsSettings,
    array_paths,
    as_json,
    image_paths,
)
from .fingerprint import check_same
from .going_on import REPAIRED, RESUMED, GoingOn
from .holder import Holder, is_alive
from .permit import LOST, ClaimedError, Permit
from .receipt import FailedBlock, Receipt, digest_of, digest_of_bytes, digests_of
from .record import CLAIMS, FOLDER, Journal, Part, Record, is_entry
from .report import Report, RunFailed, Totals
from .segments import Receipts, indices_of
