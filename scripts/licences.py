"""Checks that every crate the server is built from has a licence that deny.toml allows.

Reads `cargo metadata` from standard input and the allow list from the deny.toml named as the argument, so that
cargo-deny, where it is installed, and this script have one list. Exits 1 and names the crates if one does not fit.
"""

import json
import re
import sys
import tomllib


def allowed(expression, allow):
    """Whether an SPDX expression can be met with licences of `allow`. AND binds closer than OR."""
    tokens = re.findall(r"\(|\)|[^\s()/]+", expression.replace("/", " OR "))
    position = 0

    def peek():
        return tokens[position] if position < len(tokens) else None

    def take():
        nonlocal position
        position += 1
        return tokens[position - 1]

    def either():
        met = both()
        while peek() == "OR":
            take()
            met = both() or met
        return met

    def both():
        met = one()
        while peek() == "AND":
            take()
            met = one() and met
        return met

    def one():
        if peek() == "(":
            take()
            met = either()
            take()
            return met
        name = take()
        while peek() == "WITH":
            name = f"{name} {take()} {take()}"
        return name in allow

    return either()


def main():
    with open(sys.argv[1], "rb") as file:
        allow = set(tomllib.load(file)["licenses"]["allow"])
    packages = json.load(sys.stdin)["packages"]
    refused = [p for p in packages if not allowed(p["license"] or "none", allow)]
    for package in refused:
        print(f"{package['name']} {package['version']}: licence {package['license']} is not in deny.toml's allow list")
    print(f"licences: {len(packages) - len(refused)} of {len(packages)} crates allowed")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
