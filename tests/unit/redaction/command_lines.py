"""Made-up command lines: ordinary ones, and ones with a known secret in every supported form."""

from __future__ import annotations

import json
import shlex
import string

from hypothesis import strategies as st

BEGIN, END = "q7Zk", "Xw9v"
"""Stand at both ends of every secret, and nowhere else."""

FULL = st.characters(exclude_categories=("Cs",), exclude_characters="\0")
ANY = st.text(FULL, max_size=24)
BLANKLESS = st.text(
    st.characters(exclude_categories=("Cs", "Zs", "Cc", "Zl", "Zp"), exclude_characters="\"'\\"),
    max_size=24,
)
URL_SAFE = st.text(string.ascii_letters + string.digits + "!$*+,;=._~%-", max_size=24)
WORD = st.text(string.ascii_letters + string.digits + "%._~+-", max_size=24)

SECRET_WORDS = st.sampled_from(
    [
        *(["password"], ["passwd"], ["passphrase"], ["pwd"], ["secret"], ["token"]),
        *(["api", "key"], ["apikey"], ["access", "key"], ["access", "token"], ["auth", "token"]),
        *(["client", "secret"], ["private", "key", "password"], ["credential"], ["secret", "key"]),
        *(["secret", "access", "key"], ["key", "store", "password"], ["credentials"], ["auth"]),
    ]
)
OWNERS = st.lists(
    st.sampled_from(["db", "mysql", "my", "app", "admin", "user", "redis", "proxy", "x", "root"]),
    min_size=1,
    max_size=3,
)


def styled(words: list[str], style: str) -> str:
    match style:
        case "pascal":
            return "".join(word.capitalize() for word in words)
        case "joined":
            return "".join(words)
        case "camel":
            return words[0] + "".join(word.capitalize() for word in words[1:])
        case "upper":
            return "_".join(words).upper()
    return style.join(words)


NAMES = st.builds(
    lambda owners, words, style: styled([*owners, *words], style),
    OWNERS,
    SECRET_WORDS,
    st.sampled_from(["-", "_", ".", "camel", "pascal", "upper", "joined"]),
)

ORDINARY = st.sampled_from(
    [
        *("--verbose", "-v", "--port=8080", "-p", "8080", "80:80", "--author=bob", "--authority"),
        *("/usr/bin/tool", "run", "--config", "/etc/app.yaml", "--token-file", "/run/token"),
        *(
            "-Xmx4g",
            "-cp",
            "/a/b.jar:/c/d.jar",
            "com.example.Main",
            "--passwordless",
            "https://h/p",
        ),
        *(
            "--max-tokens",
            "4096",
            "--tokenizer=gpt2",
            "http://h:8080/@scope/x",
            "café",
            "daemon off;",
        ),
        *("PWD=/srv", "--", "-", "x=1", "a:b", "key", "--secret-name", "--password-store=basic"),
        *("--no-password", "--auth-mode=Node,RBAC", "-o", "PasswordAuthentication=no", "monkey=1"),
    ]
)


def secret(inside: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return inside.map(lambda text: f"{BEGIN}{text}{END}")


def form(inside, make):
    """Make arguments of a name and a secret."""
    return st.builds(make, NAMES, secret(inside))


PROGRAMS = st.sampled_from(["mysql", "/usr/bin/mysqldump", "mariadb", "mysqladmin"])
LEADERS = st.sampled_from([[], ["sudo"], ["timeout", "5"], ["docker", "exec", "-i", "db"], ["env"]])

BY_NAME = {
    "--x=v": form(ANY, lambda name, it: [f"--{name}={it}"]),
    "-x=v": form(ANY, lambda name, it: [f"-{name}={it}"]),
    "--x v": form(ANY, lambda name, it: [f"--{name}", it]),
    "-x v": form(ANY, lambda name, it: [f"-{name}", it]),
    "x=v": form(ANY, lambda name, it: [f"{name}={it}"]),
    "x:v": form(ANY, lambda name, it: [f"{name}:{it}"]),
    "/x:v": form(ANY, lambda name, it: [f"/{name}:{it}"]),
    "--x:v": form(ANY, lambda name, it: [f"--{name}:{it}"]),
    "-Dx=v": form(ANY, lambda name, it: [f"-D{name}={it}"]),
    "--set=x=v": form(ANY, lambda name, it: [f"--set={name}={it}"]),
    "-e x=v": form(ANY, lambda name, it: ["-e", f"{name}={it}"]),
    "header": form(ANY, lambda name, it: ["-H", f"{name}: {it}"]),
    "JSON": form(ANY, lambda name, it: [json.dumps({"a": 1, name: it, "b": [2]})]),
    "JSON of others": form(
        ANY,
        lambda name, it: [json.dumps({name: it}, separators=(",", ":"))],
    ),
    "JSON in JSON": form(WORD, lambda name, it: [json.dumps({"x": json.dumps({name: it})})]),
    "Python": form(WORD, lambda name, it: ["-c", f"connect(host='h', {name}='{it}', port=1)"]),
    "query": form(WORD, lambda name, it: [f"https://h/p?a=1&{name}={it}&b=2"]),
    "JDBC": form(WORD, lambda name, it: [f"jdbc:mysql://h/db?user=u&{name}={it}"]),
    "connection string": form(
        WORD, lambda name, it: [f"Server=h;User=u;{name}={it} {it};Database=d"]
    ),
    "XML": form(WORD, lambda name, it: [f"<{name}>{it}</{name}>"]),
    "sh -c x=v": form(ANY, lambda name, it: ["sh", "-c", f"run --{name}={shlex.quote(it)} -x"]),
    "sh -c x v": form(ANY, lambda name, it: ["sh", "-c", f"run --{name} {shlex.quote(it)} -x"]),
    "sh -c env": form(ANY, lambda name, it: ["sh", "-c", f"A=1 {name}={shlex.quote(it)} run"]),
    "sh -c header": form(WORD, lambda name, it: ["bash", "-c", f'curl -H "{name}: {it}" http://h']),
}

BY_FORM = {
    "URL": secret(URL_SAFE).map(lambda it: [f"postgres://u:{it}@h:5432/db"]),
    "URL with odd signs": secret(BLANKLESS).map(lambda it: [f"amqp://u:{it}@h:5432/db"]),
    "web URL": secret(URL_SAFE).map(lambda it: [f"--proxy=http://u:{it}@h:3128/@x/y"]),
    "URL of no user": secret(URL_SAFE).map(lambda it: [f"redis://:{it}@h/0"]),
    "bearer": secret(WORD).map(lambda it: ["-H", f"Authorization: Bearer {it}"]),
    "basic": secret(WORD).map(lambda it: [f"-HAuthorization: Basic {it}"]),
    "bearer alone": secret(WORD).map(lambda it: ["--header", f"Bearer {it}"]),
    "GitHub": st.just(["clone", f"ghp_{BEGIN}{'a' * 30}{END}"]),
    "JWT": st.just(["eyJhbGciOiJI." + f"{BEGIN}AAAAAAAA" + f".{END}BBBBBBBB"]),
    "mysql -p": st.builds(
        lambda leader, program, it: [*leader, program, "-uroot", f"-p{it}", "db"],
        LEADERS,
        PROGRAMS,
        secret(ANY),
    ),
    "sh -c mysql -p": st.builds(
        lambda program, it: ["sh", "-c", f"exec {program} -u root -p{shlex.quote(it)} db"],
        PROGRAMS,
        secret(ANY),
    ),
    "sshpass": secret(ANY).map(lambda it: ["sshpass", "-p", it, "ssh", "-p", "22", "h"]),
    "redis-cli": secret(ANY).map(lambda it: ["redis-cli", "-h", "x", "-a", it, "ping"]),
    "curl -u": secret(ANY).map(lambda it: ["curl", "-u", f"user:{it}", "https://h"]),
    "curl -u joined": secret(ANY).map(lambda it: ["curl", f"-uuser:{it}", "https://h"]),
    "mongo": secret(ANY).map(lambda it: ["mongosh", "-u", "a", "-p", it]),
    "docker login": secret(ANY).map(lambda it: ["docker", "login", "-u", "a", "-p", it]),
    "ldap": secret(ANY).map(lambda it: ["ldapsearch", "-x", "-w", it]),
    "openssl": secret(ANY).map(lambda it: ["openssl", "rsa", "-passin", f"pass:{it}"]),
    "sqlplus": secret(WORD).map(lambda it: ["sqlplus", f"scott/{it}@db"]),
    "smbclient": secret(ANY).map(lambda it: ["smbclient", "-U", f"user%{it}"]),
}

TITLES = {
    "title --x=v": form(BLANKLESS, lambda name, it: f"server: worker --{name}={it} --port 1"),
    "title --x v": form(BLANKLESS, lambda name, it: f"server: worker --{name} {it} --port 1"),
    "title x=v": form(BLANKLESS, lambda name, it: f"server {name}={it} running"),
    "title x: v": form(WORD, lambda name, it: f"server {name}: {it} running"),
    "title URL": secret(URL_SAFE).map(lambda it: f"worker amqp://u:{it}@h ready"),
    "title mysql": secret(BLANKLESS).map(lambda it: f"mysql -uroot -p{it} db"),
    "title bearer": secret(WORD).map(lambda it: f"curl -H Authorization: Bearer {it} http://h"),
}
