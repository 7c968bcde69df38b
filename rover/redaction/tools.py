"""Programs that take a secret where no name speaks of one, as mysql does with ``-pSECRET``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from rover.redaction.names import words_of


@dataclass(frozen=True, slots=True)
class Tool:
    """What of a program's arguments is secret; options are given with their dashes."""

    apart: tuple[str, ...] = ()
    """Options whose value is the next argument."""
    joined: tuple[str, ...] = ()
    """Options whose value stands right behind them."""
    after_user: tuple[str, ...] = ()
    """Options, apart or joined, with USER:SECRET for a value."""
    user_ends: str = ":"
    """What parts the user from the secret there; any of these signs."""
    only_with: str = ""
    """A subcommand without which none of this holds."""
    after_word: tuple[tuple[str, int], ...] = ()
    """Words without a dash, and which of the arguments without a dash behind them is the secret."""
    positions: tuple[int, ...] = ()
    """Which arguments without a dash are secret, counted from 1."""
    named: tuple[tuple[str, str], ...] = ()
    """Options whose value is the next argument, and the name that says what it is."""
    flags: str = ""
    """Letters of options without a value, which may stand before another's: ``curl -sSu``."""
    leads: bool = False
    """Its first argument without a dash is a command, which is another program's."""


NOTHING: Final = Tool()

_MYSQL: Final = Tool(joined=("-p",), after_word=(("password", 1),), flags="ABCEGHLNVXbfinqrstvw")
_LOGIN: Final = Tool(
    apart=("-p",), joined=("-p",), after_user=("--creds",), only_with="login", leads=False
)
_EITHER_P: Final = Tool(apart=("-p",), joined=("-p",))
_EITHER_CAPITAL_P: Final = Tool(apart=("-P",), joined=("-P",))
_ZIP: Final = Tool(apart=("-P",), joined=("-P",), flags="0123456789DFJTXdefghjklmoqruvwyz")
_TOKEN_T: Final = Tool(apart=("-t",))
_LDAP: Final = Tool(apart=("-w", "-s", "-a"), joined=("-w",))
_ORACLE: Final = Tool(positions=(1,), user_ends="/")
_RABBIT: Final = Tool(
    after_word=(("add_user", 2), ("change_password", 2), ("authenticate_user", 2)),
)

TOOLS: Final = {
    name: tool
    for names, tool in (
        (
            (
                "mysql mysqldump mysqladmin mysqlimport mysqlcheck mysqlshow mysqlslap mysqlpump "
                "mysqlbinlog mysqlsh mariadb mariadb-dump mariadb-admin mariadb-import "
                "mariadb-check mariadb-show mariadb-slap mariadb-binlog mydumper myloader mytop "
                "mariabackup mariadb-backup xtrabackup innobackupex"
            ),
            _MYSQL,
        ),
        (
            (
                "mongo mongosh mongodump mongorestore mongoexport mongoimport mongostat mongotop "
                "mongofiles rdesktop cqlsh yt-dlp youtube-dl useradd usermod hydra ncftp ncftpget "
                "ncftpput twine rabbitmqadmin cypher-shell couchbase-cli cbbackupmgr cbrestoremgr "
                "supervisorctl racadm crackmapexec netexec nxc"
            ),
            _EITHER_P,
        ),
        ("sshpass", Tool(apart=("-p",), joined=("-p",), leads=True)),
        (
            "redis-cli valkey-cli keydb-cli",
            Tool(apart=("-a",), after_word=tuple((w, n) for w in ("AUTH", "auth") for n in (1, 2))),
        ),
        (
            "redis-server redis-sentinel valkey-server valkey-sentinel keydb-server",
            Tool(after_word=(("auth-pass", 2), ("requirepass", 1), ("masterauth", 1))),
        ),
        (
            "curl",
            Tool(
                apart=("--pass",),
                after_user=("-u", "-U", "-E", "--user", "--proxy-user", "--cert", "--proxy-cert"),
                named=(("-b", "cookie"),),
                flags="#0123469BGIJLMNORSVZafgijklnpqsv",
            ),
        ),
        ("http https xh", Tool(after_user=("-a", "--auth"))),
        ("etcdctl", Tool(after_user=("--user",))),
        (
            "consul nomad serf",
            Tool(apart=("-encrypt", "--encrypt"), after_word=(("bootstrap", 1),)),
        ),
        ("ab", Tool(after_user=("-A", "-P"))),
        ("lftp", Tool(after_user=("-u",), user_ends=",")),
        ("smbclient", Tool(after_user=("-U", "--user"), user_ends="%", positions=(2,))),
        ("rpcclient net smbget winexe", Tool(after_user=("-U", "--user"), user_ends="%")),
        (
            (
                "ldapsearch ldapmodify ldapadd ldapdelete ldappasswd ldapwhoami ldapcompare "
                "ldapmodrdn ldapexop ldapurl"
            ),
            _LDAP,
        ),
        (
            ("sqlcmd bcp osql tsql ipmitool mosquitto_pub mosquitto_sub mosquitto_rr"),
            _EITHER_CAPITAL_P,
        ),
        ("zip unzip zipcloak zipnote", _ZIP),
        ("isql iusql", Tool(apart=("-P",), positions=(3,))),
        ("7z 7za 7zr 7zz", Tool(joined=("-p",))),
        ("rar unrar", Tool(joined=("-p", "-hp"))),
        (
            "openssl",
            Tool(
                apart=("-k", "-K", "-pass", "-passin", "-passout", "-hmac", "-psk"),
                after_word=(("passwd", 1),),
            ),
        ),
        ("sqlplus sqlldr expdp impdp exp imp", _ORACLE),
        (
            "rman",
            Tool(
                after_word=(("target", 1), ("catalog", 1), ("auxiliary", 1)),
                user_ends="/",
            ),
        ),
        (
            "snmpget snmpwalk snmpset snmpbulkget snmpbulkwalk snmptrap snmptable",
            Tool(apart=("-A", "-X", "-c"), joined=("-c",)),
        ),
        ("rabbitmqctl", _RABBIT),
        ("htpasswd", Tool(positions=(2, 3))),  # a file comes first, or none
        ("mosquitto_passwd", Tool(positions=(3,))),
        ("wpa_passphrase", Tool(positions=(2,))),
        ("xfreerdp wlfreerdp xfreerdp3 sdl-freerdp freerdp", Tool(joined=("/p:", "/gp:"))),
        ("plink pscp psftp", Tool(apart=("-pw",))),
        ("erl iex elixir epmd beam.smp rabbitmq-server", Tool(apart=("-setcookie", "--cookie"))),
        ("docker podman nerdctl helm oras skopeo buildah crane oc az cf", _LOGIN),
        ("kubectl", Tool(apart=("--from-literal",), leads=True)),
        (
            "vault bao",
            Tool(after_word=(("login", 1), ("unwrap", 1), ("unseal", 1), ("revoke", 1))),
        ),
        ("gitlab-runner", Tool(apart=("-r",))),
        ("doctl fly flyctl", _TOKEN_T),
        ("mc mcli", Tool(after_word=(("set", 4), ("add", 4)))),
        ("pdftk", Tool(after_word=(("input_pw", 1), ("user_pw", 1), ("owner_pw", 1)))),
        ("qpdf", Tool(apart=("--encrypt",))),
        ("turnserver coturn", Tool(after_user=("-u", "--user"))),
        ("transmission-remote", Tool(after_user=("-n", "--auth"))),
        ("swaks", Tool(apart=("-ap",))),
        ("sendemail sendEmail", Tool(apart=("-xp",))),
        ("squidclient", Tool(apart=("-w", "-W"))),
        ("zerotier-cli", Tool(joined=("-T",))),
        ("iwconfig", Tool(after_word=(("key", 1), ("enc", 1)))),
        ("aws", Tool(after_word=(("aws_secret_access_key", 1), ("aws_session_token", 1)))),
        # that their -p is none of a program before them
        (
            (
                "ssh scp sftp rsync psql pg_dump python python3 node java nginx ssh-keygen tar cp "
                "mkdir ls kill ps nc ncat wget git make iptables ip cat grep sed tail gdb"
            ),
            NOTHING,
        ),
    )
    for name in names.split()
}
"""By the name of the program."""

VERSIONED: Final = re.compile(
    r"(?<![\w.-])([A-Za-z][A-Za-z_-]*?)"
    r"(?=[\d.-])(?:-?\d[\d.]*)?(?:\.(?:exe|cmd|bat|sh|py|pl|bin))?(?![\w.-])",
    re.ASCII,
)
"""A program's name with a version or an extension, as mysql5.7 or mysql.exe."""


def tool_of(name: str) -> Tool | None:
    """Find what is known of a program, also by a name with a version or an extension."""
    tool = TOOLS.get(name)
    if tool is None and (match := VERSIONED.fullmatch(name)):
        tool = TOOLS.get(match[1])
    return tool


TAKING_SECRETS: Final = frozenset(name for name, tool in TOOLS.items() if tool is not NOTHING)

LEADERS: Final = words_of(
    "sudo doas su env nice ionice nohup timeout time watch xargs setsid chroot unshare nsenter "
    "docker podman nerdctl crictl ctr kubectl oc ssh sh bash dash ash zsh ksh fish busybox "
    "strace ltrace stdbuf systemd-run flock sshpass runuser gosu su-exec tini dumb-init "
    "docker-init catatonit s6-setuidgid chpst setpriv taskset numactl script expect parallel "
    "firejail bwrap proot faketime torsocks proxychains proxychains4 screen tmux exec retry"
)
"""Programs that run another one, whose name stands among their arguments."""
