"""Passwords in URLs: ``scheme://user:password@host``."""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "***"

_BEGIN: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://", re.ASCII)
_NO_SCHEME: Final = re.compile(
    r"(?<![\w/@:.-])([\w.-]{1,64}):([^\s@/:\"']+)(?=@(?:tcp\(|unix\(|[\w.-]+(?::\d+)?(?:/|$|\s)))",
    re.ASCII,
)
"""``user:password@tcp(host)``, as Go's drivers have it, and ``user:password@host``."""
_END: Final = re.compile(r"[\s\"'\\]|://", re.ASCII)
_AUTHORITY_END: Final = re.compile(r"[/?#]")
_PORT: Final = re.compile(r"[0-9]{0,5}(?:$|[,/?#])")
_WEB: Final = frozenset({"http", "https", "ws", "wss", "git", "ftp"})
"""Schemes whose paths may hold an @; elsewhere the last one ends the password."""
_TOKENS: Final = frozenset({"redis", "rediss", "nats", "tls"})
"""Schemes in which what stands alone before the host is a secret; they have no users without."""
_JDBC: Final = re.compile(r"(:thin:[^\s/@:]{1,64}/)[^\s@]{1,128}@", re.ASCII)
"""Oracle's ``jdbc:oracle:thin:user/password@host``."""
_TOKEN: Final = 20
"""Characters from which on a user's name alone is a token, as in https://TOKEN@github.com."""


def masked_urls(text: str) -> str:
    """Mask the passwords of all URLs in a text."""
    if "@" not in text:
        return text
    text = _NO_SCHEME.sub(rf"\1:{MASK}", text)
    text = _JDBC.sub(rf"\1{MASK}@", text)
    if "://" not in text:
        return text
    parts, done = [], 0
    for match in _BEGIN.finditer(text):
        begin = match.end()
        if begin < done:
            continue
        end = _END.search(text, begin)
        rest = text[begin : end.start() if end else len(text)]
        masked = _masked(match[1].lower(), rest)
        if masked != rest:
            parts += [text[done:begin], masked]
            done = begin + len(rest)
    return "".join((*parts, text[done:])) if parts else text


def _masked(scheme: str, rest: str) -> str:
    """Mask what stands before the host in what follows the scheme of one URL."""
    authority_end = _AUTHORITY_END.search(rest)
    authority = rest[: authority_end.start()] if authority_end else rest
    at = authority.rfind("@")
    if scheme not in _WEB or at < 0:
        # a password may hold the signs that should have been escaped
        user, colon, password = rest.partition(":")
        likely = colon and "/" not in user and not _PORT.match(password)
        at = rest.rfind("@") if likely else at
    if at < 0:
        return rest
    user, colon, password = rest[:at].partition(":")
    alone = len(user) >= 2 * _TOKEN or scheme in _TOKENS
    if (scheme in _WEB and len(user) >= _TOKEN) or (not colon and alone):
        user = MASK
    return f"{user}{colon}{MASK if password else ''}{rest[at:]}"
