"""Notes which staged host each process belongs to, by its UTS namespace, until killed. Writes WORK/pids.tsv."""

import os
import sys
import time

work = sys.argv[1]
host_of_namespace = {}
for host in os.listdir(f"{work}/hosts"):
    pid = open(f"{work}/hosts/{host}/pid").read().strip()
    host_of_namespace[os.readlink(f"/proc/{pid}/ns/uts")] = host
seen = {}
with open(f"{work}/pids.tsv", "w", buffering=1) as out:
    while True:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if pid in seen:
                continue
            try:
                host = host_of_namespace.get(os.readlink(f"/proc/{pid}/ns/uts"))
            except OSError:
                continue
            # A process that is not a staged host's now may become one (nsenter), so only hits are remembered.
            if host:
                seen[pid] = host
                out.write(f"{pid}\t{host}\n")
        time.sleep(0.25)
