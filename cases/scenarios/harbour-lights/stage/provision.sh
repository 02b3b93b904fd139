# What is installed where: users, keys, services, cron jobs, documents. Sourced by record.sh.
# Every password, key and document here is made for the staging and thrown away with it.

prepare_base() {
  # One directory for all hosts (as with LDAP), so that a user id means the same person everywhere and
  # auditd's enrichment (AUID="mira") holds for each of them.
  local c="chroot $BASE"
  for u in mira:1001 jonas:1002 ada:1003 deploy:1004 vault:1005 portal:1006; do
    $c useradd -m -s /bin/bash -u "${u#*:}" "${u%:*}"
  done
  $c usermod -aG sudo,adm mira
  printf 'mira:Lantern-77-quay\njonas:copper.wire.12\nada:SpringTide2026\n' | $c chpasswd
  sed -i 's/module(load="imklog".*//' "$BASE/etc/rsyslog.conf"
  printf 'Host *\n  StrictHostKeyChecking accept-new\n  ConnectTimeout 5\n' > "$BASE/etc/ssh/ssh_config.d/site.conf"
  printf 'PasswordAuthentication yes\nLogLevel INFO\nUseDNS no\n' > "$BASE/etc/ssh/sshd_config.d/site.conf"
  echo 'Defaults !fqdn' > "$BASE/etc/sudoers.d/site"; chmod 440 "$BASE/etc/sudoers.d/site"
  rm -f "$BASE"/etc/cron.daily/* "$BASE"/etc/cron.weekly/* "$BASE/etc/cron.d/e2scrub_all"
  rm -f "$BASE/etc/audit/plugins.d/laurel.conf"
  rm -rf "$BASE"/var/lib/apt/lists/* "$BASE"/etc/apt/sources.list* "$BASE"/etc/apt/apt.conf.d/* "$BASE"/var/log/*.log "$BASE"/var/log/apt
  echo 'deb http://mirror.example/debian bookworm main' > "$BASE/etc/apt/sources.list"
  ln -sf /usr/share/zoneinfo/UTC "$BASE/etc/localtime"
}

keypair() { ssh-keygen -q -t ed25519 -N '' -C "$2" -f "$1"; }

provision() {
  local K=$WORK/keys h r; mkdir -p "$K"
  for k in mira:mira@admin-ws jonas:jonas@desk deploy:deploy@web1 vault:vault@app1 evil:ops; do keypair "$K/${k%:*}" "${k#*:}"; done
  R() { echo "$WORK/hosts/$1/root"; }
  authorise() { local d; d=$(R "$1")/home/$2/.ssh; mkdir -p "$d"; cat "$K/$3.pub" >> "$d/authorized_keys"; chmod 700 "$d"; chmod 600 "$d/authorized_keys"; chown -R "$4:$4" "$d"; }
  hold_key() { local d=$(R "$1")$2; mkdir -p "$d"; cp "$K/$3" "$d/id_ed25519"; chmod 700 "$d"; chmod 600 "$d/id_ed25519"; chown -R "$4:$4" "$d"; }
  for h in web1 app1 db1 files1 log1; do authorise $h mira mira 1001; done
  authorise admin-ws mira mira 1001; authorise app1 jonas jonas 1002; authorise web1 jonas jonas 1002
  authorise app1 deploy deploy 1004; authorise files1 vault vault 1005
  hold_key admin-ws /home/mira/.ssh mira 1001; cat "$K/mira.pub" > "$(R admin-ws)/home/mira/.ssh/authorized_keys"; chown 1001:1001 "$(R admin-ws)/home/mira/.ssh/authorized_keys"
  hold_key desk /home/mira/.ssh mira 1001; hold_key desk /home/jonas/.ssh jonas 1002
  hold_key web1 /opt/portal/keys deploy 1006; hold_key app1 /root/.ssh vault 0
  hold_key ext /root evil 0; cp "$K/evil.pub" "$(R ext)/root/evil.pub"

  # web1: nginx in front of the portal
  r=$(R web1); mkdir -p "$r"/opt/portal/{bin,uploads,hooks,templates} "$r/var/www/html"
  cp "$STAGE/portal.py" "$r/opt/portal/portal.py"
  printf '#!/bin/sh\necho "label in $1"\n' > "$r/opt/portal/bin/label"; chmod 755 "$r/opt/portal/bin/label"
  printf '[database]\nhost = db1\nuser = portal\npassword = tide-Pool-4411\nname = shipments\n' > "$r/opt/portal/config.ini"
  for p in index about contact; do head -c 2000 /dev/zero | tr '\0' 'h' > "$r/var/www/html/$p.html"; done
  echo 'body{}' > "$r/var/www/html/style.css"; head -c 3000 /dev/zero > "$r/var/www/html/logo.png"
  chown -R 1006:1006 "$r/opt/portal"; chmod 600 "$r/opt/portal/config.ini"
  rm "$r/etc/nginx/sites-enabled/default"   # a link with an absolute target, which out here is this machine's
  cat > "$r/etc/nginx/sites-enabled/default" <<'E'
server { listen 80 default_server; root /var/www/html;
  location /app/ { proxy_pass http://127.0.0.1:8000; proxy_set_header Host $host; }
  location / { try_files $uri $uri/ =404; } }
E
  echo "127.0.0.1 portal" >> "$r/etc/hosts"
  printf '* * * * * root /usr/bin/curl -s -o /dev/null http://127.0.0.1/app/\n*/2 * * * * portal /usr/bin/rsync -a -e "ssh -i /opt/portal/keys/id_ed25519" deploy@app1.harbourlights.example:/srv/templates/ /opt/portal/templates/\n* * * * * portal PGPASSWORD=tide-Pool-4411 /usr/bin/psql -h db1.harbourlights.example -U portal -d shipments -c "select count(*) from shipment" > /dev/null\n*/3 * * * * root find /opt/portal/uploads -type f -mmin +2 -name "scan-*" -delete\n' > "$r/etc/cron.d/portal"

  # app1: templates, the site's git, a sudo rule that is wider than its author thought
  r=$(R app1); mkdir -p "$r/srv/templates" "$r/srv/app"
  for i in $(seq 1 12); do echo "template $i" > "$r/srv/templates/label-$i.txt"; echo "module $i" > "$r/srv/app/module$i.py"; done
  echo 'deploy ALL=(root) NOPASSWD: /usr/bin/tar' > "$r/etc/sudoers.d/deploy"; chmod 440 "$r/etc/sudoers.d/deploy"
  printf '*/3 * * * * root rsync -a -e "ssh -i /root/.ssh/id_ed25519" /srv/app/ vault@files1.harbourlights.example:app1/\n* * * * * root df -h / > /dev/null; uptime > /dev/null\n*/2 * * * * deploy sudo tar -czf /var/tmp/app-nightly.tgz -C /srv app\n' > "$r/etc/cron.d/app"
  rm -f "$r/usr/bin/sshpass"

  # db1: PostgreSQL
  r=$(R db1)
  printf "listen_addresses = '*'\nlog_connections = on\nlog_disconnections = on\nlog_statement = 'ddl'\nlog_min_duration_statement = 0\nlog_line_prefix = '%%m [%%p] %%q%%u@%%d %%h '\nshared_buffers = 16MB\nlog_timezone = 'Etc/UTC'\n" > "$r/etc/postgresql/15/main/conf.d/site.conf"
  echo 'host all all 10.20.0.0/16 scram-sha-256' >> "$r/etc/postgresql/15/main/pg_hba.conf"
  printf '*/2 * * * * postgres /usr/bin/psql -d shipments -c "vacuum analyze" > /dev/null\n* * * * * root df -h /var/lib/postgresql > /dev/null\n' > "$r/etc/cron.d/db"

  # files1: documents and a nightly archive (every three minutes here)
  r=$(R files1); mkdir -p "$r/srv/documents"/{contracts,rates,letters} "$r/var/backups/docs"
  for i in $(seq -w 1 40); do
    head -c $((3000 + 10#$i * 700)) /dev/urandom | base64 > "$r/srv/documents/contracts/charter-$i.txt"
    echo "rate sheet $i" > "$r/srv/documents/rates/sheet-$i.csv"; echo "letter $i" > "$r/srv/documents/letters/letter-$i.txt"
  done
  chown -R 1003:1003 "$r/srv/documents"; chmod -R o+rX "$r/srv/documents"; chown 1005:1005 "$r/var/backups/docs"
  printf '*/3 * * * * vault tar -czf /var/backups/docs/docs-$(date +\\%%H\\%%M).tgz -C /srv/documents rates letters\n* * * * * root find /var/backups/docs -name "*.tgz" -mmin +30 -delete\n*/4 * * * * vault PGPASSWORD=tide-Pool-4411 pg_dump -h db1.harbourlights.example -U portal -t rate shipments > /var/backups/docs/rate.sql\n' > "$r/etc/cron.d/files"

  # gw1: DNS for everybody, flow export to a collector on itself
  r=$(R gw1)
  { echo "no-resolv"; echo "no-hosts"; echo "log-queries=extra"; echo "user=dnsmasq"; echo "local-ttl=60"
    for z in example debian.org ntp.org; do echo "local=/$z/"; done
    for h in web1:10.20.10.10 app1:10.20.10.20 db1:10.20.20.30 files1:10.20.20.40 admin-ws:10.20.20.50 log1:10.20.20.60; do echo "host-record=${h%:*}.harbourlights.example,${h#*:}"; done
    echo "host-record=portal.harbourlights.example,192.0.2.10"; echo "host-record=cdn.updates-mirror.example,203.0.113.67"
    for n in mirror.example pool.ntp.org weather.example harbour-news.example maps.example mail.example cdn.example git.example registry.example tides.example; do echo "host-record=$n,198.51.100.2"; done
  } > "$r/etc/dnsmasq.conf"; mkdir -p "$r/var/lib/flows"
  printf '* * * * * root ip -s link > /dev/null\n' > "$r/etc/cron.d/gw"
  r=$(R log1); printf '* * * * * root du -s /var/log/remote > /dev/null\n*/5 * * * * root find /var/log/remote -name "*.gz" -mtime +90 -delete\n' > "$r/etc/cron.d/log"
  r=$(R admin-ws); printf '*/2 * * * * mira ssh -o BatchMode=yes log1.harbourlights.example tail -n 5 /var/log/remote/web1/auth.log > /dev/null\n* * * * * root uptime > /dev/null\n' > "$r/etc/cron.d/admin"
  printf '[Journal]\nStorage=volatile\nAudit=\nReadKMsg=no\nForwardToSyslog=yes\nRateLimitIntervalSec=0\n' > "$r/etc/systemd/journald.conf"
  sed -i 's|module(load="imuxsock").*|module(load="imuxsock" SysSock.Name="/run/systemd/journal/syslog")|' "$r/etc/rsyslog.conf"

  # Everybody sends syslog to log1 and keeps a local copy.
  for h in $AUDITED; do
    r=$(R "$h"); printf 'SHELL=/bin/sh\nPATH=/usr/local/sbin:/usr/local/bin:/sbin:/bin:/usr/sbin:/usr/bin\n' | cat - "$r"/etc/cron.d/* > "$r/etc/cron.site"; rm -f "$r"/etc/cron.d/*; cp "$r/etc/cron.site" "$r/etc/cron.d/site"; rm "$r/etc/cron.site"
    [ "$h" = log1 ] || echo '*.* action(type="omfwd" target="10.20.20.60" port="514" protocol="tcp" template="RSYSLOG_ForwardFormat" queue.type="LinkedList" action.resumeRetryCount="-1")' > "$r/etc/rsyslog.d/forward.conf"
    sed -i 's/^session.*pam_\(systemd\|limits\).*//' "$r"/etc/pam.d/*
  done
  mkdir -p "$(R log1)/var/log/remote"
  cat > "$(R log1)/etc/rsyslog.d/collect.conf" <<'E'
module(load="imtcp")
template(name="auth" type="string" string="/var/log/remote/%HOSTNAME%/auth.log")
template(name="rest" type="string" string="/var/log/remote/%HOSTNAME%/syslog")
ruleset(name="remote") {
  if $syslogfacility-text == "auth" or $syslogfacility-text == "authpriv" then action(type="omfile" dynaFile="auth" fileCreateMode="0644" template="RSYSLOG_FileFormat")
  else action(type="omfile" dynaFile="rest" fileCreateMode="0644" template="RSYSLOG_FileFormat")
}
input(type="imtcp" port="514" ruleset="remote")
if $syslogfacility-text == "auth" or $syslogfacility-text == "authpriv" then action(type="omfile" dynaFile="auth" fileCreateMode="0644")
else action(type="omfile" dynaFile="rest" fileCreateMode="0644")
E
}

start_services() {
  local h
  in_host log1 rsyslogd
  in_host admin-ws /lib/systemd/systemd-journald < /dev/null > /dev/null 2>&1 &
  for h in $AUDITED; do
    [ "$h" = admin-ws ] && { sleep 0.5; ln -sf /run/systemd/journal/dev-log /proc/"$(cat "$WORK/hosts/$h/pid")"/root/dev/log; }
    [ "$h" = log1 ] || in_host "$h" rsyslogd
    in_host "$h" /usr/sbin/sshd
    in_host "$h" cron
  done
  in_host gw1 dnsmasq
  in_host gw1 mkdir -p /run/softflowd/chroot
  in_host gw1 sh -c 'nfcapd -D -w /var/lib/flows -p 9995 -t 3600 -P /run/nfcapd.pid > /dev/null 2>&1'
  for s in dmz lan; do in_host gw1 softflowd -i "br-$s" -n 127.0.0.1:9995 -v 9 -t maxlife=30s -t general=20s -t tcp=20s -t tcp.rst=5s -t tcp.fin=5s -t udp=10s -t icmp=10s -p "/run/softflowd-$s.pid" -c "/run/softflowd-$s.ctl"; done
  in_host db1 pg_ctlcluster 15 main start
  sleep 2
  in_host db1 su postgres -c "psql -q -c \"create role portal login password 'tide-Pool-4411'\" -c 'create database shipments owner portal'"
  in_host db1 su postgres -c "psql -q -d shipments -c 'set role portal; create table shipment(id serial, ref text, contents text); insert into shipment(ref, contents) select i::text, md5(i::text) from generate_series(1,4000) i; create table rate(id serial, price int); insert into rate(price) select i from generate_series(1,100) i'"
  in_host web1 nginx
  in_host web1 setpriv --reuid portal --regid portal --clear-groups env HOME=/opt/portal python3 /opt/portal/portal.py < /dev/null > /dev/null 2>&1 &
  in_host ext sh -c 'mkdir -p /srv/pub /srv/loot; cp /usr/bin/sshpass /srv/pub/p; echo "id > /dev/null" > /srv/pub/u'
  in_host ext python3 -c '
import http.server, os
class H(http.server.SimpleHTTPRequestHandler):
    def do_PUT(self):
        n = int(self.headers["Content-Length"]); data = self.rfile.read(n)
        open("/srv/loot/" + os.path.basename(self.path), "wb").write(data)
        self.send_response(201); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *a): pass
os.chdir("/srv/pub"); http.server.ThreadingHTTPServer(("0.0.0.0", 80), H).serve_forever()' < /dev/null > /dev/null 2>&1 &
}
