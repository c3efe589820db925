"""Sums up scripts/bench: medians over the rounds, ratios of Headwater to its peer, a table, and a JSON file.

usage: report.py RESULTS.tsv REPORT.json      columns: section, metric, server, value, unit
"""

import collections
import json
import os
import pathlib
import platform
import statistics
import sys
import time

# What is compared though it does not have the same name on both sides.
COUNTERPARTS = {
    "RTMP in, LL-HLS packaged: CPU per stream": "RTMP in, HLS packaged: CPU per stream",
    "RTMP in, LL-HLS packaged: memory per stream": "RTMP in, HLS packaged: memory per stream",
}

# Whom Headwater is measured beside.
PEERS = ("nginx", "ffmpeg", "pion")

# Small differences of small numbers, which have no meaningful ratio.
UNCOMPARED = {"growth", "cycles that failed"}


def read(path: str) -> dict:
    found = collections.defaultdict(lambda: {"unit": "", "values": []})
    for line in pathlib.Path(path).read_text().splitlines():
        section, metric, server, value, unit = line.split("\t")
        entry = found[section, metric, server]
        entry["unit"] = unit
        entry["values"].append(float(value))
    return found


def rows(found: dict) -> list:
    result = []
    for (section, metric, server), entry in found.items():
        row = {"section": section, "metric": metric, "server": server, "unit": entry["unit"]}
        row |= {"median": statistics.median(entry["values"]), "values": entry["values"]}
        others = (found.get((section, COUNTERPARTS.get(metric, metric), peer)) for peer in PEERS)
        other = next((other for other in others if other), None)
        if server == "headwater" and other and metric not in UNCOMPARED and (base := statistics.median(other["values"])):
            row["ratio_to_peer"] = row["median"] / base
        result.append(row)
    return result


def number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def main() -> None:
    table = rows(read(sys.argv[1]))
    report = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"system": platform.platform(), "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()},
        "results": table,
    }
    pathlib.Path(sys.argv[2]).write_text(json.dumps(report, indent=2) + "\n")
    section = None
    for row in table:
        if row["section"] != section:
            section = row["section"]
            print(f"\n{section:<58}{'server':<11}{'median':>9} {'unit':<12}{'ratio':>7}   rounds")
        ratio = f"{row['ratio_to_peer']:.2f}" if "ratio_to_peer" in row else ""
        values = " ".join(number(value) for value in row["values"]) if len(row["values"]) > 1 else ""
        print(f"{row['metric']:<58}{row['server']:<11}{number(row['median']):>9} {row['unit']:<12}{ratio:>7}   {values}")
    print(f"\nratio: headwater / peer, of medians. All values: {sys.argv[2]}")


main()
