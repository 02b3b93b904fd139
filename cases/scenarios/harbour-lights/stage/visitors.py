"""Ordinary visitors of the portal, with their bots, typos and password guessers, until killed.

Every client has an address of its own on the documentation network 198.51.100.0/24.
"""

import http.client
import random
import subprocess
import threading
import time

AGENTS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Safari/605.1.15",
]
BOTS = ["Mozilla/5.0 (compatible; HarbourBot/2.1; +http://bot.example/)", "Mozilla/5.0 (compatible; seekbot/1.0)", "curl/7.88.1", "python-requests/2.31.0", "Go-http-client/1.1"]
PAGES = ["/", "/app/", "/app/track?ref=HL-%d", "/app/rates", "/app/login", "/style.css", "/logo.png", "/app/label?fmt=pdf&ref=HL-%d", "/about.html", "/contact.html"]
MISTAKES = ["/favicon.ico", "/apple-touch-icon.png", "/abuot.html", "/robots.txt", "/old/rates.html", "/app/trakc"]
# What every public server is asked all day by strangers; none of these exist here.
PROBES = ["/wp-login.php", "/.env", "/phpmyadmin/index.php", "/.git/config", "/admin.php", "/xmlrpc.php", "/boaform/admin/formLogin", "/cgi-bin/luci"]
GUESSES = ["admin", "test", "oracle", "ubuntu", "pi", "git"]


def ask(address: str, path: str, agent: str, method: str = "GET", body: bytes | None = None) -> None:
    link = http.client.HTTPConnection("192.0.2.10", 80, timeout=5, source_address=(address, 0))
    try:
        link.request(method, path, body, {"User-Agent": agent, "Referer": "http://portal.harbourlights.example/" if random.random() < 0.3 else "-"})
        link.getresponse().read()
    except OSError:
        pass
    finally:
        link.close()


def visitor(number: int) -> None:
    address, agent = f"198.51.100.{10 + number}", random.choice(AGENTS)
    while True:
        time.sleep(random.expovariate(1 / 5))
        for _ in range(random.randint(1, 6)):
            path = random.choice(PAGES)
            ask(address, path % random.randint(10000, 99999) if "%d" in path else path, agent)
            time.sleep(random.uniform(0.05, 0.8))
        if random.random() < 0.2:
            ask(address, random.choice(MISTAKES), agent)
        if random.random() < 0.15:
            ask(address, "/app/login", agent, "POST", b"user=x&password=" + random.choice([b"wrong", b"right", b"right"]))
        if random.random() < 0.08:
            ask(address, f"/app/upload?name=scan-{random.randint(1, 999)}.pdf", agent, "POST", b"%PDF-1.4 staged\n" * 50)


def bot(number: int) -> None:
    address, agent = f"198.51.100.{60 + number}", BOTS[number % len(BOTS)]
    while True:
        time.sleep(random.expovariate(1 / 12))
        for path in random.sample(PROBES, random.randint(1, 3)) if number % 2 else ["/robots.txt", "/", "/app/rates"]:
            ask(address, path, agent)


def guesser() -> None:
    while True:
        time.sleep(random.uniform(25, 50))
        address = f"198.51.100.{random.randint(60, 69)}"
        subprocess.run(["sshpass", "-p", "123456", "ssh", "-b", address, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                        "-o", "NumberOfPasswordPrompts=1", "-o", "PubkeyAuthentication=no", f"{random.choice(GUESSES)}@192.0.2.10", "id"], capture_output=True)


for n in range(22):
    threading.Thread(target=visitor, args=(n,), daemon=True).start()
for n in range(6):
    threading.Thread(target=bot, args=(n,), daemon=True).start()
guesser()
