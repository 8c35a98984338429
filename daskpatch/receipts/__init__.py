"""What a run leaves behind: receipts, failures, claims, and the document that guards resume."""

from .claim import Claim, ClaimedError, holders, refuse_claimed
from .fingerprint import Fingerprint, as_json, check_same
from .receipt import FailedBlock, Receipt, digest_of
from .record import FOLDER, FORMAT, Journal, Part, Record
from .report import Report, RunFailed, Totals
from .segments import Receipts

__all__ = [
    "FOLDER",
    "FORMAT",
    "Claim",
    "ClaimedError",
    "FailedBlock",
    "Fingerprint",
    "Journal",
    "Part",
    "Receipt",
    "Receipts",
    "Record",
    "Report",
    "RunFailed",
    "Totals",
    "as_json",
    "check_same",
    "digest_of",
    "holders",
    "refuse_claimed",
]
