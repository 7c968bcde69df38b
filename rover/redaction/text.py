"""Secrets inside one text that is no list of arguments: JSON, queries, connection strings, keys."""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import Final

from rover.redaction.names import speaks_of_secrets
from rover.redaction.urls import MASK, masked_urls

NAME: Final = r"[\w\x80-\xff.@$%/\[\]-]"
"""A character of a name; latin-1, so that those of UTF-8 are among them."""

_ASSIGNMENT: Final = re.compile(
    rf"(?:^|(?<=[&;,?#|(){{}}<>\"'\s=:]))({NAME}{{1,160}})([=:])", re.ASCII
)
"""The begin of ``name=value`` or ``name:value`` within a text."""
TELLING: Final = 64
"""Characters of a value that tell whether it is a secret at all."""
_TUPLES: Final = ('("', "('")
"""How Python's ``auth=("user", "secret")`` begins."""
_PARTING: Final = frozenset("&;,?#|(){}<>\"' \t\n\r\v\f")
"""Signs that part one assignment from the next."""

_QUOTED_NAME: Final = re.compile(
    rf"(\\{{0,8}}[\"'])({NAME}{{1,160}})\\{{0,8}}[\"']\]?\s{{0,8}}(?:=>|[:=])\s*", re.ASCII
)
"""``"name":`` of JSON, also with its quotes escaped, of Python and of Ruby; ``x["name"] =``."""
_QUOTED_SIGN: Final = re.compile(r"[\"']\]?\s{0,8}[:=]", re.ASCII)
_BARE_VALUE_END: Final = re.compile(r"[,}\]\s&;]", re.ASCII)

_ELEMENT: Final = re.compile(rf"<({NAME}{{1,160}})>([^<]+)", re.ASCII)
_SCHEME: Final = re.compile(r"\b(bearer|basic)(\s+)([^\s\"'&;,<>]{8,})", re.ASCII | re.IGNORECASE)
_PLAIN_WORD: Final = re.compile(r"[a-z-]+|[A-Z]?[a-z]+", re.ASCII)

_SHAPES: Final = re.compile(
    r"""-----BEGIN[A-Z ]{0,40}PRIVATE\ KEY(?:\ BLOCK)?-----.*?(?:-----END[A-Z ]{0,40}-----|$)
    | \beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*          # JSON Web Token
    | \bgh[pousr]_\w{20,} | \bgithub_pat_\w{20,} # GitHub
    | \bgl(?:pat|rt|dt|ptt|cbt|soat|ft|imt)-[\w-]{16,} # GitLab
    | \bxox[abeoprs]-[\w-]{10,}                  # Slack
    | \b(?:AKIA|ASIA)[0-9A-Z]{16}\b              # AWS
    | \bAIza[\w-]{35} | \bya29\.[\w-]{20,}       # Google
    | \bsk-[\w-]{20,} | \b[rs]k_live_\w{16,}     # OpenAI, Anthropic, Stripe
    | \bhv[sb]\.[\w-]{20,}                       # Vault
    | \bhf_[A-Za-z]{30,} | \bdckr_[op]at_[\w-]{20,} | \bGOCSPX-[\w-]{20,}
    | \bgl(?:sa|c)_[\w=]{20,}                    # Grafana
    | \bshp(?:at|ss|ca|pa)_\w{20,} | \bwhsec_\w{20,} | \brubygems_\w{30,} | \blin_api_\w{20,}
    | \btskey-[\w-]{16,} | \bNRAK-\w{16,} | \bdapi[0-9a-f]{32} | \bATATT3\w{20,}
    | \bAGE-SECRET-KEY-1\w{20,} | \bSWMTKN-1-[\w-]{20,} | \bsha256~[\w-]{20,}
    | \bntn_\w{30,} | \bsbp_\w{30,} | \bfigd_[\w-]{30,} | \bPMAK-[\w-]{30,} | \bsntry[su]_[\w=]{30,}
    | \b\w{8,16}\.atlasv1\.[\w-]{40,}            # Terraform
    | (?<=hooks\.slack\.com/services/)[\w/]+ | (?<=/api/webhooks/)\d+/[\w-]{20,}
    | (?<=/bot)\d{6,12}:[\w-]{30,}              # Telegram
    | \bnpm_\w{30,} | \bpypi-[\w-]{30,} | \bdop_v1_\w{30,} | \bSG\.[\w-]{16,}\.[\w-]{16,}
    """,
    re.ASCII | re.VERBOSE | re.DOTALL,
)
"""What is a secret by its own looks."""
SHAPE_SIGNS: Final = (
    *(
        "-----BEGIN",
        "eyJ",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat-",
        "xox",
        "AKIA",
        "ASIA",
        "AIza",
        "ya29.",
        "sk-",
        "k_live_",
    ),
    *("hvs.", "hvb.", "npm_", "pypi-", "dop_v1_", "SG."),
    *(
        "glrt-",
        "gldt-",
        "glptt-",
        "glcbt-",
        "glsoat-",
        "glft-",
        "glimt-",
        "hf_",
        "dckr_",
        "GOCSPX-",
    ),
    *("glsa_", "glc_", "shpat_", "shpss_", "shpca_", "shppa_", "whsec_", "rubygems_", "lin_api_"),
    *("tskey-", "NRAK-", "dapi", "ATATT3", "AGE-SECRET", "SWMTKN-", "sha256~", "ntn_", "sbp_"),
    *("figd_", "PMAK-", "sntry", ".atlasv1.", "hooks.slack", "/api/webhooks/", "/bot"),
)


_SHAPE_SIGN: Final = re.compile("|".join(map(re.escape, SHAPE_SIGNS)))
"""The same for short texts, in half the time."""


def masked_text(text: str) -> str:
    """Mask the secrets in a text that has no list of arguments in it."""
    if _SHAPE_SIGN.search(text):
        text = _SHAPES.sub(MASK, text)
    text = masked_urls(text)
    if _QUOTED_SIGN.search(text):
        text = _without_quoted(text)
    if "<" in text:
        text = _ELEMENT.sub(_element, text)
    if "=" in text or ":" in text:
        text = _without_assigned(text)
    return _SCHEME.sub(_credentials, text)


def _element(match: re.Match[str]) -> str:
    return f"<{match[1]}>{MASK}" if speaks_of_secrets(match[1], match[2]) else match[0]


def _credentials(match: re.Match[str]) -> str:
    if _PLAIN_WORD.fullmatch(match[3]):  # "basic authentication"
        return match[0]
    return f"{match[1]}{match[2]}{MASK}"


def _without_assigned(text: str) -> str:
    """Mask the values of ``name=value``.

    Such a value ends where the next assignment begins, and at a blank; in a connection string,
    whose parts end in semicolons, it may hold blanks.
    """
    masks: list[tuple[int, int]] = []
    blanks = _Places(" \t\n\r\v\f", text)
    quotes = {quote: _Places(quote, text) for quote in ('"', "'") if quote in text}
    next_name = len(text)
    for match in reversed(list(_ASSIGNMENT.finditer(text))):
        name, begin = match.start(), match.end()
        if quoted := quotes.get(text[begin : begin + 1]):
            end = min(quoted.after(begin + 1) + 1, len(text))
        elif text.startswith(_TUPLES, begin):
            closed = text.find(")", begin)
            end = closed if closed >= 0 else len(text)
        elif text[max(name - 8, 0) : name].rstrip(" ").endswith(";"):
            end = next_name
        else:
            end = min(next_name, blanks.after(begin))
        # a URL's scheme, a volume, an image with its tag
        is_path = match[2] == ":" and (text.startswith("/", begin) or "/" in match[1])
        value = text[begin : min(end, begin + TELLING)]
        if not is_path and speaks_of_secrets(match[1], value):
            while masks and masks[-1][0] < end:
                masks.pop()
            masks.append((begin, end))
        if name and text[name - 1] in _PARTING:
            next_name = name - 1
    parts, done = [], 0
    for begin, end in reversed(masks):
        parts += [text[done:begin], MASK]
        done = end
    return "".join((*parts, text[done:])) if parts else text


class _Places:
    """Where signs stand in a text."""

    def __init__(self, signs: str, text: str) -> None:
        self._places = [match.start() for match in re.finditer(f"[{signs}]", text)]
        self._beyond = len(text)

    def after(self, at: int) -> int:
        """Find the first at or after a place; the text's end where there is none."""
        found = bisect_left(self._places, at)
        return self._places[found] if found < len(self._places) else self._beyond


def _without_quoted(text: str) -> str:
    """Mask the values of quoted names."""
    parts, done = [], 0
    for match in _QUOTED_NAME.finditer(text):
        begin = match.end()
        if match.start() < done:
            continue
        opening, end = _value_end(text, begin, match[1])
        if speaks_of_secrets(match[2], text[begin + opening : end]):
            parts += [text[done : begin + opening], MASK]
            done = end
    return "".join((*parts, text[done:])) if parts else text


def _value_end(text: str, begin: int, quote: str) -> tuple[int, int]:
    """Find a value: the length of the sign that opens it, and where it ends; {} are gone into."""
    for opening in dict.fromkeys((quote, quote[:-1] + '"', quote[:-1] + "'")):
        if text.startswith(opening, begin):
            at = begin + len(opening)
            while (at := text.find(opening, at)) >= 0:
                before = text[begin + len(opening) : at]
                if (len(before) - len(before.rstrip("\\"))) % 2 == 0:
                    return len(opening), at
                at += 1
            return len(opening), len(text)
    if text.startswith("[", begin):
        closed = text.find("]", begin)
        return 1, closed if closed >= 0 else len(text)
    if text.startswith("{", begin):
        return 1, begin + 1
    end = _BARE_VALUE_END.search(text, begin)
    return 0, end.start() if end else len(text)
