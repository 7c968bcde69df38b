"""Programs that take a secret where no name speaks of one, as mysql does with ``-pSECRET``."""

from __future__ import annotations

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
    """Which arguments without a dash are secret, counted from 1; -1 is the last."""
    named: tuple[tuple[str, str], ...] = ()
    """Options whose value is the next argument, and the name that says what it is."""
    leads: bool = False
    """Its first argument without a dash is a command, which is another program's."""


NOTHING: Final = Tool()

_MYSQL: Final = Tool(joined=("-p",), after_word=(("password", 1),))
_LOGIN: Final = Tool(
    apart=("-p",), joined=("-p",), after_user=("--creds",), only_with="login", leads=False
)
_EITHER_P: Final = Tool(apart=("-p",), joined=("-p",))
_EITHER_CAPITAL_P: Final = Tool(apart=("-P",), joined=("-P",))
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
                "mariadb-check mariadb-show mariadb-slap mariadb-binlog mydumper myloader mytop"
            ),
            _MYSQL,
        ),
        (
            (
                "mongo mongosh mongodump mongorestore mongoexport mongoimport mongostat mongotop "
                "mongofiles rdesktop cqlsh yt-dlp youtube-dl useradd usermod hydra ncftp"
            ),
            _EITHER_P,
        ),
        ("sshpass", Tool(apart=("-p",), joined=("-p",), leads=True)),
        (
            "redis-cli valkey-cli keydb-cli",
            Tool(apart=("-a",), after_word=(("AUTH", 1), ("auth", 1))),
        ),
        (
            "curl",
            Tool(
                apart=("--pass",),
                after_user=("-u", "-U", "-E", "--user", "--proxy-user", "--cert", "--proxy-cert"),
                named=(("-b", "cookie"),),
            ),
        ),
        ("http https xh", Tool(after_user=("-a", "--auth"))),
        ("etcdctl", Tool(after_user=("--user",))),
        ("consul nomad serf", Tool(apart=("-encrypt", "--encrypt"))),
        ("ab", Tool(after_user=("-A", "-P"))),
        ("lftp", Tool(after_user=("-u",), user_ends=",")),
        ("smbclient rpcclient net smbget", Tool(after_user=("-U", "--user"), user_ends="%")),
        (
            (
                "ldapsearch ldapmodify ldapadd ldapdelete ldappasswd ldapwhoami ldapcompare "
                "ldapmodrdn ldapexop ldapurl"
            ),
            _LDAP,
        ),
        (
            (
                "sqlcmd bcp isql osql tsql zip unzip ipmitool mosquitto_pub mosquitto_sub "
                "mosquitto_rr zipcloak"
            ),
            _EITHER_CAPITAL_P,
        ),
        ("7z 7za 7zr 7zz", Tool(joined=("-p",))),
        ("rar unrar", Tool(joined=("-p", "-hp"))),
        ("openssl", Tool(apart=("-k", "-K", "-pass", "-passin", "-passout"))),
        ("sqlplus sqlldr rman expdp impdp exp imp", _ORACLE),
        (
            "snmpget snmpwalk snmpset snmpbulkget snmpbulkwalk snmptrap snmptable",
            Tool(apart=("-A", "-X", "-c"), joined=("-c",)),
        ),
        ("rabbitmqctl", _RABBIT),
        ("htpasswd", Tool(positions=(3,))),
        ("wpa_passphrase", Tool(positions=(2,))),
        ("xfreerdp wlfreerdp xfreerdp3 sdl-freerdp", Tool(joined=("/p:", "/gp:"))),
        ("plink pscp psftp", Tool(apart=("-pw",))),
        ("erl iex elixir epmd", Tool(apart=("-setcookie", "--cookie"))),
        ("docker podman nerdctl helm oras skopeo buildah crane oc az cf", _LOGIN),
        ("vault bao", Tool(after_word=(("login", 1),))),
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

TAKING_SECRETS: Final = frozenset(name for name, tool in TOOLS.items() if tool is not NOTHING)

LEADERS: Final = words_of(
    "sudo doas su env nice ionice nohup timeout time watch xargs setsid chroot unshare nsenter "
    "docker podman nerdctl crictl ctr kubectl oc ssh sh bash dash ash zsh ksh fish busybox "
    "strace ltrace stdbuf systemd-run flock sshpass runuser gosu su-exec tini dumb-init "
    "docker-init catatonit s6-setuidgid chpst setpriv taskset numactl script expect parallel "
    "firejail bwrap proot faketime torsocks proxychains proxychains4 screen tmux exec retry"
)
"""Programs that run another one, whose name stands among their arguments."""
