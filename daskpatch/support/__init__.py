"""Small things that serve all rooms: options, checks, optional packages, tables, memory in use."""

from .checks import (
    as_count,
    as_dtype,
    as_flag,
    as_id,
    as_optional_count,
    as_voxels,
    checked_shape,
    holds_numbers,
    is_integer,
    is_number,
    need,
    unmasked,
    within_xarray,
)
from .constraints import Natural, Positive, Seconds
from .daemon_threads import DaemonThreads
from .extras import installed_version, is_available, load_extra
from .heap import Heap
from .mapped_files import MappedFiles
from .options import (
    Declaration,
    Options,
    changed,
    declarations,
    hint_for_word,
    narrowed_to,
    option,
    recorded,
    refuse_unknown,
    required,
    restored,
    taken,
    with_parameters_of_bases,
    with_signature,
    with_words,
    words_of,
)
from .pacing import DEFAULT_PACING, Pacing
from .parsing import (
    CHANNELS,
    DTYPES,
    FACTORS,
    FILE,
    INTEGER,
    KINDS,
    NAME,
    NAMES,
    NORMALIZATION,
    NUMBER,
    OME,
    PYRAMID,
    REGION,
    RESOURCES,
    SCALES,
    SECONDS,
    SHARE,
    SIZES,
    SIZES_OR_AUTO,
    SKIP_EMPTY,
    Parser,
)
from .redaction import (
    all_said_by,
    as_shown,
    cause_of,
    failure_told,
    redacted,
    said_by,
    text_of,
    without_secrets,
)
from .resident import give_back_freed, peak_memory, peak_memory_anew, resident_bytes
from .tables import html_table, text_table
from .typed import converted, decoded, parsed
from .wording import counted, shown, speed_of, what_is
