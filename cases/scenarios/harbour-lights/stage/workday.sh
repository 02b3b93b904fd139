#!/bin/bash
# The people of Harbour Lights at work, run inside the unaudited host `desk`. Argument: who.
export HOME=/home/$1
S="ssh -q -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=/tmp/known-$1"
D=harbourlights.example
nap() { sleep "$(( $1 + RANDOM % ($2 - $1 + 1) ))"; }
pw() { local p=$1; shift; sshpass -p "$p" "$@"; }

mira() {   # administrator: by the jump host, and with sudo where needed
  local round=0 me="timeout 25 $S -i $HOME/.ssh/id_ed25519 -b 10.20.20.71"
  while :; do
    case $((round % 9)) in
      0) $me mira@web1.$D 'uptime; df -h /; tail -n 20 /var/log/nginx/error.log; echo Lantern-77-quay | sudo -S -p "" tail -n 30 /var/log/nginx/access.log' ;;
      1) $me -tt mira@admin-ws.$D <<< $'id\nuptime\nls -la\nssh -n db1.harbourlights.example uptime\nssh -n files1.harbourlights.example df -h\nexit' ;;
      2) $me mira@db1.$D 'ps aux | head -5; ss -tlnp; echo Lantern-77-quay | sudo -S -p "" -u postgres psql -d shipments -c "select count(*) from rate"' ;;
      3) $me mira@app1.$D 'dpkg -l | grep -c ^ii; apt-cache policy openssl; git --version; free -m; last -n 5' ;;
      4) $me mira@files1.$D 'echo Lantern-77-quay | sudo -S -p "" sh -c "id -u lena >/dev/null 2>&1 || useradd -m -s /bin/bash lena; du -sh /srv/documents; chmod 750 /var/backups/docs"' ;;
      5) $me mira@app1.$D 'echo Lantern-77-quay | sudo -S -p "" sed -i "s/^#Banner.*/#Banner none/" /etc/ssh/sshd_config; echo Lantern-77-quay | sudo -S -p "" ss -tlnp; echo wrong-one | sudo -S -p "" -k true' ;;
      6) $me -tt mira@web1.$D <<< $'echo Lantern-77-quay | sudo -S -p "" -l\nps aux\nip a\nuname -a\nvim -es -c ":q" /etc/nginx/nginx.conf < /dev/null\ncurl -sI http://127.0.0.1/\nexit' ;;
      7) $me mira@log1.$D 'ls -l /var/log/remote; grep -c sshd /var/log/remote/web1/auth.log; tail -n 3 /var/log/remote/gw1/syslog' ;;
      8) $me mira@db1.$D 'echo Lantern-77-quay | sudo -S -p "" sh -c "ls -l /etc/cron.d; echo \"5 3 * * * root /usr/bin/find /var/lib/postgresql -name core -delete\" > /etc/cron.d/tidy"' ;;
    esac
    round=$((round + 1)); nap 6 16
  done
}
jonas() {  # developer: edits, commits, deploys
  local round=0 me="timeout 25 $S -i $HOME/.ssh/id_ed25519 -b 10.20.20.72"
  $me jonas@app1.$D 'git config --global user.email jonas@harbourlights.example; git config --global user.name jonas; mkdir -p site; cd site; git init -q .; echo start > README; git add .; git commit -qm start'
  while :; do
    case $((round % 6)) in
      0) $me jonas@app1.$D "cd site; vim -es -c 'normal Gonote $round' -c ':wq' README; git add -A; git commit -qm 'note $round'; git log --oneline | head -3" ;;
      1) $me -tt jonas@app1.$D <<< $'cd site\nls\ngit status\ngrep -rn note . | head\nps aux | grep python\nexit' ;;
      2) $me jonas@web1.$D 'curl -s -o /dev/null http://127.0.0.1/app/rates; cat /etc/os-release; python3 --version; tail -n 2 /var/log/nginx/error.log' ;;
      3) scp -q -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=/tmp/known-jonas -i "$HOME/.ssh/id_ed25519" /etc/services jonas@app1.$D:/tmp/services.txt ;;
      4) $me jonas@app1.$D 'find site -name "*.py" -newer site/README; tar czf /tmp/site.tgz site; rm -f /tmp/site.tgz; host mirror.example; which gcc python3 perl' ;;
      5) $me jonas@app1.$D 'python3 -c "import json,sys; print(json.dumps({1:2}))"; cat /etc/passwd | cut -d: -f1 | head -3; env | sort | head -3; crontab -l' ;;
    esac
    round=$((round + 1)); nap 7 20
  done
}
ada() {    # office: documents, with a mistyped password now and then
  local round=0
  while :; do
    [ $((round % 4)) = 1 ] && pw SpringTide2025 $S -b 10.20.20.73 -o NumberOfPasswordPrompts=1 ada@files1.$D true
    case $((round % 3)) in
      0) pw SpringTide2026 $S -b 10.20.20.73 ada@files1.$D 'ls -l /srv/documents/letters | tail -3; cat /srv/documents/letters/letter-07.txt; wc -l /srv/documents/rates/*.csv | tail -1' ;;
      1) pw SpringTide2026 scp -q -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=/tmp/known-ada ada@files1.$D:/srv/documents/contracts/charter-0$((1 + RANDOM % 9)).txt /tmp/ ;;
      2) pw SpringTide2026 $S -b 10.20.20.73 ada@files1.$D "echo 'dear captain' > /srv/documents/letters/letter-$((RANDOM % 40)).txt; gzip -k -f /srv/documents/rates/sheet-01.csv" ;;
    esac
    round=$((round + 1)); nap 12 30
  done
}
names() {  # browsers and mail clients asking for names
  while :; do
    for n in $(shuf -n 3 -e weather.example harbour-news.example maps.example mail.example cdn.example git.example registry.example tides.example pool.ntp.org mirror.example portal.harbourlights.example files1.harbourlights.example nosuch.example wpad.harbourlights.example); do dig +short "@10.20.20.1" "$n" "$(shuf -n 1 -e A A A AAAA MX TXT)" > /dev/null; done
    sleep "0.$((RANDOM % 10))"; nap 0 2
  done
}
"$1"
