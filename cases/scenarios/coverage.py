"""What a scan of a scenario's logs found of the truth: `reeve scan SCENARIO/logs | coverage.py SCENARIO`.

Prints each step with the rules that explain it, then what was found besides the steps. Exit 1 if a step has no finding.
"""

import collections
import json
import pathlib
import sys


def main() -> int:
    scenario = pathlib.Path(sys.argv[1])
    truth = json.loads((scenario / "truth.json").read_text())
    steps_of = collections.defaultdict(set)
    for step in truth["steps"]:
        for entry in step["records"]:
            for number in entry.get("lines", []) + entry.get("objects", []):
                steps_of[entry["file"], number].add(step["id"])
    found, besides = collections.defaultdict(collections.Counter), collections.Counter()
    for line in sys.stdin:
        finding = json.loads(line)
        title = finding["finding_info"]["analytic"]["name"]
        steps = set()
        for evidence in finding.get("evidences", []):
            data = evidence["data"]
            file = "logs/" + str(data["source"]).split("/logs/")[-1]
            records = data["record"] if isinstance(data["record"], list) else [data["record"]]
            steps |= {step for number in records for step in steps_of.get((file, number), ())}
        for step in steps:
            found[step][title] += 1
        if not steps:
            besides[title] += 1
    for step in truth["steps"]:
        print(step["id"], step["title"])
        for title, count in found[step["id"]].most_common():
            print(f"      {count:4} {title}")
    print("besides")
    for title, count in besides.most_common():
        print(f"      {count:4} {title}")
    return 1 if any(not found[step["id"]] for step in truth["steps"]) else 0


sys.exit(main())
