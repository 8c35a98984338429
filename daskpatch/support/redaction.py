"""Texts without secrets: what is stored, logged or raised goes through here.

User info, parameters, query and fragment of a URL hold passwords and signed tokens.
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote, unquote

_URL = re.compile(
    r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,30}://"
    r"[^\s'\"<>|\\]*[^\s'\"<>|\\:.,;)\]]"
)

_WORDS = (
    "token|secret|passw(?:or)?d|pwd|passphrase|signature|credentials?|"
    "(?:access|account|api|functions|private|secret|storage|subscription)[_-]?key"
)

# Everything has a bound: texts are long, and may be anybody's.
_QUOTED = r"'(?:[^'\\\n]|\\.){0,400}'|\"(?:[^\"\\\n]|\\.){0,400}\""

_HELD = r"\{(?:[^{}]|\{[^{}]{0,400}\}){0,400}\}|[\[(][^()\[\]\n]{1,400}[\])]"
"""What is held in braces, brackets or parentheses."""

_NAMED = re.compile(
    r"(?i)(?<![\w-])(?<!nexpected )(?<!nvalid )"
    rf"([\w-]{{0,40}}(?:{_WORDS})(?:[_-]?(?:id|key|value))?"
    r"\\?['\"]?\s{0,4}[=:]\s{0,4})(?!None\b|\*\*\*|expected\b)"
    rf"(?:\w{{1,20}}\()?b?\\?(?:{_QUOTED}|{_HELD}|[^\s,;&)}}\]\\]{{1,400}})"
)

_SHORT = re.compile(
    r"(?i)(?<![\w-])((?:pw|sig|sas|jwt|cookies|(?-i:[A-Z][A-Z0-9_]{0,40}_PASS))['\"]?\s{0,4}[=:]\s{0,4}"
    r"|pass=|['\"]pass['\"]\s{0,4}:\s{0,4})"
    rf"(?!\*\*\*)(?:{_QUOTED}|{_HELD}|[^\s,;&)}}\]]{{1,400}})"
)

_WRAPPED = re.compile(rf"(?i)(\bsecret(?:str|bytes)?\((?:value=)?)b?(?:{_QUOTED})")
"""What settings libraries hold secrets in."""

_ENCODED = re.compile(r"(?i)(?<![\w+.-])[a-z][a-z0-9+.-]{0,30}%3A%2F%2F[^\s'\"<>&|\\]{1,4000}")
"""A URL inside another one, or in a form."""

_ITEM = re.compile(
    rf"(?i)(['\"][\w-]{{0,40}}(?:{_WORDS})['\"]\s{{0,4}},\s{{0,4}})(?!\*\*\*)(?:{_QUOTED})"
)
"""A name and its value as a pair, as headers are told."""

_FLAG = re.compile(rf"(?i)(--[\w-]{{0,40}}(?:{_WORDS})[ =]{{1,4}})(?!\*\*\*)\S{{1,400}}")

_HEADER = re.compile(
    r"(?i)\b(authorization\\?['\"]?\s{0,4}[:=]\s{0,4}|bearer(?:\s{1,4}|:\s{0,4})(?=[\w.~+/=-]{8}))"
    r"(?!\*\*\*)"
    r"['\"]?(?:(?:bearer|basic|token|aws\S{0,20})\s{1,4})?[^\s'\",;]{1,4000}"
)

_PAIR = re.compile(rf"(?i)(?<!\w)(auth['\"]?\s{{0,4}}[=:]\s{{0,4}})(?!\*\*\*)(?:{_HELD})")

_COOKIE = re.compile(
    r"(?i)(?<!\w)((?:set-)?cookie\\?['\"]?\s{0,4}[:=]\s{0,4}['\"]?)(?![*\s])[^\n'\"]{1,400}"
)

# Not of a chunk, which has slashes or dots.
_KEY = re.compile(r"(?i)(?<![\w.-])(key\\?['\"]?\s{0,4}[=:]\s{0,4})['\"][^'\"/.\s]{12,400}['\"]")

_USER = re.compile(
    r"(?i)(?<![\w+.-])((?:https?|s3|gs|ftps?):/{1,3})[^\s/'\"@:]{0,100}:(?!\d+/)[^\s@'\"]{1,400}@"
)
"""User info of a URL that lost a slash, as `pathlib` writes it."""

_BARE_USER = re.compile(
    r"(?<![\w/@.:+-])((?://)?)[\w.+-]{1,60}:(?!\d+[/@])[^\s@/'\"]{1,100}@(?=[\w.-])"
)
"""User info without a scheme."""

_KNOWN = re.compile(
    r"(?<![\w-])((?:hf_|gh[pousr]_)(?=[A-Za-z0-9]{30})|(?:glpat-|xox[abprs]-|github_pat_)(?=[\w-]{20})"
    r"|(?=(?:AKIA|ASIA)[A-Z0-9]{16}(?![\w-])))[\w-]{1,400}"
)
"""Tokens that begin, and are as long, as those of services; and keys of AWS."""

_PEM = re.compile(r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)[\s\S]{1,4000}")

_SPACED = re.compile(
    rf"(?<![\w-])([A-Z][A-Z0-9_]{{0,40}}(?i:{_WORDS})\s{{1,4}})(?=[^\s]{{0,100}}\d)(?!\*\*\*)[^\s,;)}}\]]{{6,400}}"
)
"""A variable of the environment and its value, which has a digit."""

_SAID = re.compile(
    rf"(?i)(?<![\w-])([\w-]{{0,40}}(?:{_WORDS})\s{{1,4}}(?:is|was)\s{{1,4}})(?!\*\*\*)"
    rf"(?:{_QUOTED}|(?=[^\s]{{0,100}}\d)[^\s,;)}}\]]{{6,400}})"
)
"""A secret told in words, which has a digit or is quoted: "the password is …"."""

_CURL = re.compile(
    r"(\bcurl\s(?:[^\n]{0,200}?\s)?(?:-u|--user)[ =]{0,4})(?!\*\*\*)"
    r"(?:'[^'\n]{1,400}'|\"[^\"\n]{1,400}\"|[^\s:'\"]{1,100}:[^\s'\"]{1,400})"
)
"""User and password as curl takes them."""

_CONTAINER = re.compile(r"[a-z0-9$][a-z0-9-]{2,62}")
"""What containers of Azure are called."""

_PARAMETERS = re.compile(r"[?#]|;[\w.-]{1,60}=")
"""Where a URL's place ends."""

_ODD_USER = re.compile(r"[^/?#@\s:]*:(?!\d+(?:[/?#]|$))[^@\s]*@")
"""User info whose password holds what should have been encoded."""

_SIGNED = re.compile(
    r"(?i)(?<!\w)(sig=|x-amz-(?:signature|credential|security-token)=)(?!\*\*\*)[^\s&'\"]{1,4000}"
)

_PATTERNS = (
    *(_HEADER, _NAMED, _SHORT, _WRAPPED, _ITEM, _FLAG, _SIGNED, _PAIR, _COOKIE, _KEY),
    *(_KNOWN, _PEM, _SPACED, _SAID, _CURL),
)
"""What is before the secret is a group of each, and is kept."""

_DUMP = re.compile(
    r"(?i)<(?:!doctype|html|\?xml|head|body|title|center|h[1-6]|error|pre|p|div)\b"
    r"|Debug source:| \[(?:tensorstore_spec|source locat)"
)
"""Where a page of a server begins, or a library's state."""

_MOST = 4000
"""Characters of an error that are looked at."""

_LONGEST, _END, _LEAST = 253, 110, 100
"""Characters of what an error says, of its end, and where there is little room."""

_WHOLE = 500
"""Characters of a sentence around it."""


def without_secrets(url: str) -> str:
    """A URL without user info, parameters, query and fragment; anything else as it is.

    >>> without_secrets("https://me:secret@example.org/a.zarr?token=1")
    'https://example.org/a.zarr'
    """
    if "::" in url:  # fsspec's chains
        return "::".join(map(without_secrets, url.split("::")))
    scheme, mark, rest = url.partition("://")
    if not mark:
        return _USER.sub(r"\1", url)
    rest = _ODD_USER.sub("", rest, count=1) if _ODD_USER.match(rest) else rest
    # What has no secrets stays as it is, letter by letter.
    place = _PARAMETERS.split(rest, maxsplit=1)[0]
    host, slash, path = place.partition("/")
    user, _, named = host.rpartition("@")
    # Of Azure's Data Lake it is the container that stands in front of the account.
    if scheme.lower() in ("abfs", "abfss") and _CONTAINER.fullmatch(user):
        named = host
    return f"{scheme}://{named}{slash}{path}"


def redacted(text: str) -> str:
    """A text whose URLs have no secrets, nor what is named as one.

    >>> redacted("GET https://me:pw@example.org/a?sig=1 failed (api_key='k3y')")
    'GET https://example.org/a failed (api_key=***)'
    """
    text = _URL.sub(lambda found: without_secrets(found.group()), text)
    text = _ENCODED.sub(lambda found: quote(without_secrets(unquote(found.group())), ""), text)
    text = _USER.sub(r"\1", text)
    text = _BARE_USER.sub(r"\1", text)
    for pattern in _PATTERNS:
        text = pattern.sub(r"\1***", text)
    return text


def text_of(error: BaseException) -> str:
    """What an error says; its class, where it cannot even say that."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 (code of whoever made the class)
        return type(error).__name__


def said_by(error: BaseException) -> str:
    r"""What an error says, fit to be shown: one line, no secrets, no page of a server.

    Nor a full stop: it is part of a sentence.

    Object stores append pages of their inner state, servers answer in HTML.

    >>> said_by(OSError("GET http://h/a?key=1: 500\n\nDebug source: …"))
    'GET http://h/a: 500'
    """
    first = text_of(error)[:_MOST].strip().partition("\n")[0]
    return _cut(redacted(_DUMP.split(first)[0]).strip(" :,-").removesuffix("."))


def all_said_by(error: BaseException) -> str:
    r"""All of what an error says, on one line and without secrets: begin and end, where it is long.

    A model's own errors put what matters last, below a traceback in text.

    >>> all_said_by(ValueError("bad shapes:\n (1, 2)"))
    'bad shapes: (1, 2)'
    """
    return _cut(redacted(" ".join(text_of(error).split())).removesuffix("."))


def failure_told(what: str, error: BaseException, advice: str = "") -> str:
    """What failed, all that the error says, and advice, in 500 characters where those allow it.

    >>> failure_told("The model failed", ValueError("bad shapes"), "Give others.")
    'The model failed: ValueError: bad shapes. Give others.'
    """
    begin, end = f"{what}: {type(error).__name__}: ", f". {advice}" if advice else ""
    said = all_said_by(error)
    return f"{begin}{_cut(said, max(_WHOLE - len(begin) - len(end), _LEAST))}{end}"


def _cut(text: str, longest: int = _LONGEST) -> str:
    """A text's begin and end, where it is long: either may say what matters."""
    if len(text) <= longest:
        return text
    end = longest * _END // _LONGEST
    return f"{text[: longest - end - 3]} … {text[-end:]}"


def cause_of(error: BaseException) -> BaseException | None:
    """What another error may name as its cause: none where a traceback would tell secrets."""
    seen: BaseException | None = error
    while seen is not None:
        if any(redacted(text) != text for text in (text_of(seen), _repr_of(seen))):
            return None
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return error


def _repr_of(error: BaseException) -> str:
    """What a debugger shows: of some libraries' errors the headers of the request that failed."""
    try:
        return repr(error)
    except Exception:  # noqa: BLE001 (code of whoever made the class)
        return ""


def _names_nothing(error: OSError) -> bool:
    """Whether an error is the system's own words, and no file with them."""
    if error.errno is None or error.filename is not None or isinstance(error, PermissionError):
        return False
    return error.strerror == os.strerror(error.errno)


def as_shown(error: Exception, what: str) -> Exception:
    """The error itself, where it is fit to be shown; else one of its built-in kind that is.

    Libraries' own kinds, which nobody expects, become an `OSError` that says what failed; what the
    system says of a place without naming it ("No space left on device") gets what failed, too.
    """
    kinds = [k for k in type(error).__mro__ if k.__module__ == "builtins"]
    kinds = [k for k in kinds if k not in (Exception, BaseException, object)]
    if not kinds:
        return OSError(f"{what} failed: {type(error).__name__}: {said_by(error)}")
    if isinstance(error, OSError) and _names_nothing(error):
        return OSError(error.errno, f"{what} failed: {error.strerror}")
    if redacted(text_of(error)) == text_of(error):
        return error
    kind = next((k for k in kinds if issubclass(k, OSError)), kinds[0])
    shown: Exception = kind(said_by(error))
    if isinstance(error, OSError) and isinstance(shown, OSError):
        shown.errno = error.errno
    return shown
