"""Which names speak of secrets: of options, variables, properties, headers, keys of JSON.

A name is taken apart into words at signs, at digits and where its case changes, so that
``--db-password``, ``DB_PASSWORD``, ``dbPassword`` and ``db.password`` are one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import Final

LONGEST_NAME: Final = 160
_NAMES_KEPT: Final = 512


def words_of(text: str) -> frozenset[str]:
    """Make a set of words that blanks part."""
    return frozenset(text.split())


_DEFINING: Final = re.compile(r"^-[A-Z](?=[a-z])")
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", re.ASCII)

_STRONG: Final = (
    "password",
    "passwords",
    "passwd",
    "passphrase",
    "passphrases",
    "passcode",
    "pwd",
    "pswd",
    "passwort",
    "kennwort",
    "motdepasse",
    "contrasena",
    "senha",
    "wachtwoord",
    "losenord",
    "salasana",
    "passkey",
    "secret",
    "secrets",
    "token",
    "tokens",
    "credential",
    "credentials",
    "creds",
    "jwt",
    "bearer",
    "psk",
    "masterauth",
    *(
        f"{of}key{more}"
        for of in words_of(
            "api access secret sec private priv auth encryption decryption enc crypt signing "
            "master shared account session stream"
        )
        for more in ("", "s")
    ),
)
"""Ends of a word that make its name a secret's, wherever in the name the word stands."""

_WEAK: Final = words_of(
    "auth oauth authorization authentication pass pw cookie cookies otp userpass cred mdp hmac "
    "sig signature parola haslo heslo clave"
)
"""Words that do so at the end of a name only, and not with every value."""

_NO_PASS: Final = ("bypass", "compass", "encompass", "overpass", "surpass", "trespass", "underpass")

_KEYS_OF: Final = words_of(
    "api access secret sec private priv auth encryption encrypt decryption decrypt enc crypt "
    "signing sign master shared account session storage subscription license licence fernet hmac "
    "aes admin deploy consumer app application service webhook certificate ssh stream"
)
"""What stands before ``key`` where the key is a secret."""

_PATHS: Final = frozenset({"private", "priv", "certificate", "ssh"})
"""What stands before ``key`` where the value is mostly the path of a file with it."""

FOREIGN: Final = tuple(
    word.encode().decode("latin-1")
    for word in words_of(
        "contraseña lösenord hasło şifre jelszó пароль 密码 密碼 パスワード 비밀번호 κωδικός סיסמה"
    )
)
"""Passwords in other letters, as bytes of UTF-8 read as latin-1: no word ends within them."""

_PERSONAL: Final = words_of("github gitlab gh gl azure azdo ado devops bitbucket")
"""What stands before ``pat`` where that is a personal access token."""

_ABOUT: Final = words_of(
    "file files filename path paths dir directory folder type types url uri endpoint host port "
    "name names ttl age expiry expire expires expiration lifetime duration timeout interval "
    "period length len size limit limits count min max header policy alg algo algorithm "
    "algorithms method methods mode provider providers class plugin plugins format prompt "
    "required enable enabled disable disabled stdin env var variable mount ref manager source "
    "server service audience issuer scope scopes realm version encoding charset cache pool "
    "retries attempts rate window budget store kubeconfig config through thru "
    "rotation reviewer controller agent user users username"
)
"""Last words of names of what is about a secret, and none."""

_NONE: Final = words_of("no not without skip disable enable ignore allow ask prompt max min num")
"""First words of such names."""

_PLAIN: Final = words_of("true false yes no on off none null nil undefined")
"""Values that are no secrets, whatever their name."""

_KINDS: Final = words_of(
    "basic digest ntlm negotiate bearer oauth oauth2 oidc ldap pam kerberos gssapi md5 trust "
    "peer plain login any anonymous always default allow deny required optional internal "
    "external iam jwt cert token password sasl tls mtls x509 scram-sha-256 scram-sha-1 sha1 "
    "sha256 sha384 sha512 v2 v4 s3v4"
)
"""Values of the weak names that say which kind of authentication there is."""


def speaks_of_secrets(name: str, value: str) -> bool:
    """Tell whether a value is to be masked because of its name."""
    strength = _strength(name) if len(name) <= LONGEST_NAME else _strength(name[-LONGEST_NAME:])
    if not strength or not value or value.lower() in _PLAIN:
        return False
    if strength == "pwd":  # the working directory goes by the name of PWD
        return not value.startswith(("/", "~", "."))
    if strength == "tokens":  # so many of them, mostly
        return not value.isdigit()
    if strength == "path":
        return not value.startswith(("/", "./", "../", "~"))
    if strength == "weak":
        is_path = value.startswith(("/", "./", "../", "~"))
        return not (is_path or value.lower() in _KINDS or (len(value) == 1 and value.isdigit()))
    return True


def is_secret_option(name: str) -> bool:
    """Tell whether some value of a name would be masked."""
    return bool(name) and bool(_strength(name[-LONGEST_NAME:]))


@lru_cache(maxsize=_NAMES_KEPT)
def _strength(name: str) -> str:
    """Say how sure it is that a name speaks of a secret; "" where it does not."""
    if any(map(name.__contains__, FOREIGN)):
        return "strong"
    strength = _strength_of_words(name)
    if not strength and _DEFINING.match(name):
        # java -Dencrypt.key, gradle -Psigning.key: the letter is no part of the name
        strength = _strength_of_words(name[2:])
    return strength


def _strength_of_words(name: str) -> str:
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[0] in _NONE or words[-1] in _ABOUT:
        return ""
    if words in (["pwd"], ["oldpwd"]):
        return "pwd"
    return _strength_of_parts(words) or _strength_of_end(words[-1])


def _strength_of_parts(words: list[str]) -> str:
    secret = [word for word in words if word.endswith(_STRONG)]
    if secret:
        if all(word.endswith("tokens") for word in secret):
            return "tokens"
        return "path" if words[-1] == "key" and words[-2] in _PATHS else "strong"
    if "".join(words).endswith(_STRONG):  # passWord
        return "strong"
    if words[-1] in ("key", "keys", "id"):
        for of, key in pairwise(words):
            if key in ("key", "keys") and of in _KEYS_OF:
                return "path" if of in _PATHS else "strong"
    return "strong" if words[-1] == "pat" and not _PERSONAL.isdisjoint(words) else ""


def _strength_of_end(last: str) -> str:
    if last in _WEAK or last.endswith(("auth", "pw")):
        return "weak"
    return "strong" if last.endswith("pass") and not last.endswith(_NO_PASS) else ""
