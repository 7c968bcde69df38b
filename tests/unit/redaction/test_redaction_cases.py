"""Command lines as people write them; ``|`` parts the arguments, SECRET is what may not be seen."""

from __future__ import annotations

import pytest

from rover.config.patterns import compile_pattern
from rover.redaction import CommandLineTold, Redaction, url_without_password, without_secrets

REDACTION = Redaction()

SECRETS = """
mysqld|--password=SECRET
mysqld --password=SECRET --port=3306
mysql|-u|root|-pSECRET|db
sudo|-u|dba|mysql|-pSECRET
docker|exec|-i|db|mysqldump|-uroot|-pSECRET
kubectl|exec|db-0|--|mysql|-pSECRET
sh|-c|mysql -u root -pSECRET db
bash|-c|ssh h 'mysql -pSECRET db'
mysqladmin|-u|root|password|SECRET
sshpass|-p|SECRET|ssh|-p|22|host
sshpass|-pSECRET|ssh|-p|22|host
redis-cli|-a|SECRET|ping
redis-cli|AUTH|SECRET
redis-server|--requirepass|SECRET|--masterauth|SECRET
env|PGPASSWORD=SECRET|psql|-h|x
java|-Djavax.net.ssl.keyStorePassword=SECRET|-jar|x.jar
keytool|-storepass|SECRET|-keypass|SECRET
mongosh|-u|a|-p|SECRET
mongodump|-pSECRET
curl|-u|user:SECRET|https://x
curl|--user=user:SECRET
curl|-HX-Api-Key: SECRET
bash|-c|curl -H "Authorization: Bearer SECRET" http://x
bash|-c|echo "a" && PGPASSWORD=SECRET psql
docker|login|-u|x|-p|SECRET
docker|run|-e|DB_PASSWORD=SECRET|-eAPI_TOKEN=SECRET|img
helm|upgrade|--set=auth.password=SECRET
app|--set|a=b,db.password=SECRET
ldapsearch|-x|-w|SECRET
openssl|enc|-pass|pass:SECRET
sqlplus|scott/SECRET@db
rabbitmqctl|add_user|u|SECRET
htpasswd|-b|file|user|SECRET
smbclient|-U|user%SECRET
lftp|-u|user,SECRET
xfreerdp|/u:me|/p:SECRET
erl|-setcookie|SECRET
vault|login|SECRET
aws|configure|set|aws_secret_access_key|SECRET
snmpget|-v2c|-c|SECRET|host
7z|x|-pSECRET|a.7z
AWS_ACCESS_KEY_ID=SECRET|app
app|-pass|SECRET
app|--PassWord|SECRET
app|--password|SECRET with blanks
app|--token|-SECRET!
app|Password = SECRET
app|my.service --secret SECRET
app|Server=h; Password=SECRET with blanks; Database=d
app|{"auth":{"user":"x","password":"SECRET"}}
app|{"tokens":["SECRET","SECRET"]}
app|{\\"password\\": \\"SECRET\\"}
app|{'password': 'SECRET'}
app|{password: SECRET, user: x}
app|<password>SECRET</password>
app|mongodb+srv://u:SECRET@cluster/db
app|amqp://u:SECRET@h,amqp://v:SECRET@h2
app|postgres://u:SECRET/SECRET@h/db
git|clone|https://ghp_SECRETaaaaaaaaaaaaaaaaaaaa@github.com/x
worker: password: SECRET rest
title Authorization: Bearer SECRET
java|-javaagent:/x/sw.jar=agent.authentication=SECRET|-jar|a.jar
git|-c|http.extraHeader=Authorization: Basic SECRET|clone
git|-c|http.extraheader=AUTHORIZATION: bearer SECRET|clone
psql|host=h password=SECRET user=x
psql|-d|host=h password='SECRET SECRET' user=x
systemd-run|--setenv=PASSWORD=SECRET
kubectl|create|secret|generic|x|--from-literal=password=SECRET
curl|-b|session=SECRET
curl|--cookie|session=SECRET
curl|-H|Cookie: session=SECRET
curl|--oauth2-bearer|SECRET
curl|-d|user=a&password=SECRET
curl|--data|password=SECRET&user=a
curl|-X|POST|-d|{"user":"a","secret":SECRET}
app|--spring.datasource.url=jdbc:postgresql://h/db?user=a&password=SECRET
app|--url|mysql://root:SECRET@tcp(h:3306)/db
app|root:SECRET@tcp(h:3306)/db
app|--dsn|user:SECRET@tcp(localhost:3306)/db
app|--proxy|socks5://u:SECRET@h:1
app|--broker|amqps://u:SECRET@h:5671/%2f
app|--ENV|MY-TOKEN=SECRET
node|app.js|--jwtSecret=SECRET
node|app.js|--cookieSecret|SECRET
node|-e|require('x')({password:'SECRET'})
ansible|-e|ansible_become_pass=SECRET
ansible|--extra-vars|{"db_pass": "SECRET"}
mount|-t|cifs|-o|username=u,password=SECRET,uid=1
mount.cifs|//h/s|/m|-o|user=u,pass=SECRET
rclone|--sftp-pass|SECRET
gpg|--batch|--passphrase|SECRET|-d
wget|--user=a|--password=SECRET
wget|--http-password=SECRET
svn|co|--username|a|--password|SECRET
snowsql|--PASSWORD|SECRET
influx|-username|a|-password|SECRET
clickhouse-client|--password|SECRET
vault|kv|put|secret/x|password=SECRET
consul|--token=SECRET
etcdctl|--user|root:SECRET
consul|agent|-encrypt|SECRET
app|-token|SECRET
app|-secret=SECRET
app|--db.pass|SECRET
app|--master-key|SECRET
app|--encryption-key=SECRET
ffmpeg|-decryption_key|SECRET
app|--private-key=SECRET
app|--webhook-secret|SECRET
app|SLACK_TOKEN=SECRET
app|STRIPE_API_KEY=SECRET
app|--x-auth-token|SECRET
app|--access_token:SECRET
app|--client-secret:SECRET
app|/secret=SECRET
app|-Psecret=SECRET
gradle|-PsigningPassword=SECRET
mvn|-Dgpg.passphrase=SECRET
dotnet|x.dll|--ConnectionStrings:Default=Server=h;User Id=a;Password=SECRET;
dotnet|x.dll|--ConnectionStrings:Default=Server=h;Pwd=SECRET
sh|-c|export PASSWORD=SECRET; run
sh|-c|PASSWORD="SECRET y" run
sh|-c|run --password="SECRET y" z
sh|-c|run --password "SECRET y" z
sh|-c|mysql -u root -p"SECRET y" db
sh|-c|mysql -u root -p'SECRET' db
sh|-c|mysql --password=SECRET
sh|-c|sshpass -p SECRET ssh h
sh|-c|echo {"password":"SECRET"} > x
sh|-c|curl -u user:SECRET http://h
sh|-c|curl -u "user:SECRET y" http://h
sh|-c|redis-cli -a SECRET ping
sh|-c|if true; then mysql -pSECRET; fi
sh|-c|(mysql -pSECRET)
sh|-c|x=`mysql -pSECRET`
sh|-c|x=$(mysql -pSECRET)
sh|-c|true&&mysql -pSECRET
supervisord|-c|x|environment=PASSWORD="SECRET",B="c"
mysqld_safe|--init-file=x|--wsrep_sst_auth=root:SECRET
pg_basebackup|-d|postgresql://u@h/db?password=SECRET
postgres: wal receiver password=SECRET host=h
ipmitool|-U|a|-P|SECRET
app|--secret-access-key|SECRET
app|--s3.secret_key=SECRET
app|--aws-secret-key=SECRET
app|sk-proj-SECRETaaaaaaaaaaaaaaaaaaaa
mysql5.7|-pSECRET
mysql.exe|-pSECRET
mysql|-sNpSECRET|db
xtrabackup|--backup|-pSECRET
redis-cli|AUTH|user|SECRET
redis-sentinel|x|--sentinel|auth-pass|mymaster|SECRET
curl|-su|user:SECRET|https://x
curl|-sSLuuser:SECRET|https://x
curl|https://h/x?sv=2020&sig=SECRET&se=2020
curl|https://h/x?X-Amz-Signature=SECRET
curl|https://api.telegram.org/bot123456789:SECRETaaaaaaaaaaaaaaaaaaaaaaaaaa/sendMessage
curl|https://hooks.slack.com/services/T0000/B0000/SECRET
bash|-c|curl -su user:SECRET https://x
docker|build|--build-arg=GH_PAT=SECRET
kubectl|create|secret|generic|x|--from-literal|foo=SECRET
kubectl|create|secret|generic|x|--from-literal=foo=SECRET
kubeadm|init|--certificate-key|SECRET
vault|operator|unseal|SECRET
aws|configure|set|profile.x.aws_secret_access_key|SECRET
java|-Dencrypt.key=SECRET
java|-Dx=jdbc:oracle:thin:scott/SECRET@h:1521:x
npm|config|set|//registry.npmjs.org/:_authToken|SECRET
npm|config|set|_password|SECRET
twine|upload|-u|u|-p|SECRET
consul|agent|-encrypt=SECRET
consul|acl|bootstrap|SECRET
/usr/lib/erlang/erts/bin/beam.smp|-sname|x|-setcookie|SECRET
openssl|dgst|-hmac|SECRET
openssl|passwd|-1|SECRET
ssh|-o|ProxyCommand=sshpass -p SECRET ssh h
isql|dsn|user|SECRET
rman|target|sys/SECRET@d
neo4j-admin|dbms|set-initial-password|SECRET
grafana-cli|admin|reset-admin-password|SECRET
gitlab-runner|register|-r|SECRET
smbclient|//h/s|SECRET
zip|-rP|SECRET|x
pdftk|x|input_pw|SECRET
htpasswd|-nbB|user|SECRET
nmcli|con|modify|x|wifi-sec.psk|SECRET
iwconfig|wlan0|key|SECRET
turnserver|--user=u:SECRET
ngrok|config|add-authtoken|SECRET
doctl|-t|SECRET
mc|alias|set|x|https://h|name|SECRET
transmission-remote|-n|u:SECRET
swaks|-ap|SECRET
python|-c|os.environ['DB_PASSWORD']='SECRET'
python|-c|os.environ["TOKEN"] = "SECRET"
python|-c|requests.get("http://h", auth=("u", "SECRET"))
app|--cred=u:SECRET
app|--enc-key=SECRET
app|--dbpw|SECRET
app|--ssh-key=SECRET
app|-Token|SECRET
app|--contraseña=SECRET
app|--пароль=SECRET
app|--密码|SECRET
app|--wachtwoord=SECRET
app|-----BEGIN RSA PRIVATE KEY----- SECRET -----END RSA PRIVATE KEY-----
app|-----BEGIN PGP PRIVATE KEY BLOCK----- SECRET
app|AGE-SECRET-KEY-1AAAASECRETAAAAAAAAAAAAAAAA
app|dckr_pat_SECRETaaaaaaaaaaaaaaaaaaaa
app|glsa_SECRETaaaaaaaaaaaaaaaaaaaaaaaaaaa
app|GOCSPX-SECRETaaaaaaaaaaaaaaaaaaaaaa
app|redis://SECRET@h:6379/0
ffmpeg|-i|rtmp://live/app/x?streamkey=SECRET
"""

ORDINARY = """
app|--author|bob|--authority|x|--authority=y
app|--passwordless|x|--passwordless
app|--token-file|/run/x|--token-file=/run/y
/bin/pwd|-L
pwd
app|PWD=/home/x|OLDPWD=/
docker|run|-p|80:80|-p8080:80|nginx
ssh|-p|22|host
ssh|-p22|host
mysqld|-P|3306
mysql|-p|db
mkdir|-p|/x/y
nginx: worker process
/usr/sbin/sshd -D [listener] 0 of 10-100 startups
sshd: root@pts/0
login -p --
Xorg|:0|-auth|/run/user/1000/x
ssh|-o|PasswordAuthentication=no
vllm|--tokenizer|gpt2|--max-tokens|4096|--max-num-batched-tokens=8192
mongod|--auth|--port|27017
kube-apiserver|--token-auth-file=/x|--anonymous-auth=false|--authorization-mode=Node,RBAC
kube-apiserver|--tls-private-key-file=/x|--service-account-key-file=/x|--secure-port=6443
ffmpeg|-pass|1|-i|x
gunicorn: master [auth.wsgi:app]
gunicorn|auth.wsgi:application|-b|0.0.0.0:80
python|-m|secrets.tool|run
npm|--registry|http://registry:4873/@scope/pkg
curl|http://h:8080/a@b
app|http://h/path?x=1&y=2
docker|run|-v|secrets:/run/secrets|repo/auth:1.2
containerd-shim-runc-v2|-namespace|k8s.io|-id|abc
java|-cp|/a/auth-1.jar:/b/token.jar:/c/password.jar|com.Main
/usr/lib/polkit-kde-authentication-agent-1
ssh-agent
systemd-ask-password|--timeout=0
passwd|root
agetty|-o|-p -- \\u|--noclear|tty1
chrome|--password-store=basic|--enable-features=PasswordImport
app|--no-password|--ask-pass|--disable-auth
git|remote-https|origin|https://github.com/a/b
ssh|git@github.com
git|fetch|ssh://git@github.com/a
node|monkey=1|keyboard=us
app|--bypass=x|--pass-through=y|--compass=n
app|--key=/a/b|-k|x
top|-p|123
vault|server|-config|/etc/vault.hcl
curl|-u|user|https://x
redis-server *:6379
postgres: checkpointer
docker|run|nginx:1.25@sha256:0123456789abcdef|repo/img:tag@sha256:01
rsync|-a|me@host:/a/b|/c
scp|me@host:x|y
openvpn|--auth-user-pass|/etc/x
app|me@example.org|a:b
ssh|-o|MACs=hmac-sha2-256|h
gcc|-c|signal.c|--design=x|--pattern=y|--patch=z
git|config|user.name|x
ip|link|set|eth0|up
kubectl|set|image|deployment/x|a=b
kubectl|config|use-context|x
zip|-r9|x.zip|y
curl|-sSLo|out|https://x
curl|-fsSL|https://x
mysql|-Nse|select 1
mc|ls|x/y
sshd|-o|HostKey=/etc/ssh/key
app|--ssh-key=/home/x/.ssh/id_rsa
app|--certificate-key|/etc/x.pem
app|--signature-algorithm=rsa
redis-server|0.0.0.0:6379
vault|status
"""


def lines(text):
    return [line for line in text.splitlines() if line]


def told(line: str, redaction: Redaction = REDACTION) -> str:
    text = line.replace("|", "\0").encode()
    return redaction.arguments(text).decode().replace("\0", "|")


@pytest.mark.parametrize("line", lines(SECRETS))
def test_a_secret_is_masked_and_the_rest_stays(line):
    shown = told(line)
    assert "SECRET" not in shown
    assert "***" in shown
    assert shown.startswith(line[:3])


@pytest.mark.parametrize("line", lines(ORDINARY))
def test_an_ordinary_command_line_stays_as_it_is(line):
    assert told(line) == line


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("app --password=a --port=1", "app --password=*** --port=1"),
        ("sh|-c|run --token 'a b' -x", "sh|-c|run --token '***' -x"),
        ("curl|https://h/?token=a&b=c", "curl|https://h/?token=***&b=c"),
        ("psql|postgresql://u:p@h:5432/d", "psql|postgresql://u:***@h:5432/d"),
        ("app|Server=h;Password=a b;Database=d", "app|Server=h;Password=***;Database=d"),
        ('app|{"password":"a","b":1}', 'app|{"password":"***","b":1}'),
        ("app|--secret|a|b", "app|--secret|***|b"),
    ],
)
def test_no_more_is_masked_than_the_secret(line, shown):
    assert told(line) == shown


def test_only_the_first_argument_is_told_where_names_are_asked_for():
    redaction = Redaction(CommandLineTold.NAME_ONLY)
    assert told("/usr/bin/app|--x|y", redaction) == "/usr/bin/app"
    assert told("server: worker --x", redaction) == "server:"
    assert told("password=SECRET|x", redaction) == "password=***"


@pytest.mark.parametrize(
    ("pattern", "line", "shown"),
    [
        (r"--licen[cs]e[= ](\S+)", "app|--license|AB12|x", "app --license *** x"),
        (r"AB\d+", "app|AB12|AB34", "app *** ***"),
        (r"(?:(a)|(b))=", "app|a=1|b=2", "app ***=1 ***=2"),
        (r"((x)y)", "app|xy", "app ***"),
        (r"é(.)", "app|éü", "app é***"),
        (r"z*", "app|y", "app|y"),
    ],
)
def test_own_patterns_mask_their_groups_or_all_they_match(pattern, line, shown):
    for mode in (CommandLineTold.REDACTED, CommandLineTold.FULL):
        assert told(line, Redaction(mode, (compile_pattern(pattern),))) == shown


def test_properties_are_masked_by_their_name_and_by_what_is_in_them():
    assert REDACTION.property("db.password", "hunter2") == "***"
    assert REDACTION.property("os", "linux é") == "linux é"
    assert REDACTION.property("args", "-Dx.password=a -Xmx1g") == "-Dx.password=*** -Xmx1g"
    assert Redaction(CommandLineTold.FULL).property("db.password", "hunter2") == "hunter2"


def test_a_message_of_any_kind_is_told_without_its_secrets():
    assert without_secrets("é fails: --token=abc, x") == "é fails: --token=*** x"
    assert without_secrets("plain \udcff text") == "plain \ufffd text"


def test_a_url_in_a_message_loses_its_password():
    assert url_without_password("proxy http://u:p@h:1/ fails") == "proxy http://u:***@h:1/ fails"
