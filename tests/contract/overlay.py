"""Puts an OpenAPI Overlay over a document, and prints what comes of it as JSON.

    python3 tests/contract/overlay.py DOCUMENT OVERLAY

Knows of JSON Path (RFC 9535) what overlays here need: .name, ['name'] and [?@.name]. A target that is not there is a fault:
what it was to make strict would be unwatched without a word. `tests/it/contract/overlay.rs` does the same for the tests.
"""

import json
import re
import sys

import yaml

STEP = re.compile(r"\.(?P<plain>[^.\[]+)|\['(?P<quoted>[^']+)'\]|\[\?@\.(?P<each_with>[^.\]]+)\]")


def steps(path):
    found, at = [], 1
    while at < len(path):
        step = STEP.match(path, at)
        if not step or path[0] != "$":
            raise SystemExit(f"{path}: only .name, ['name'] and [?@.name] are known here")
        found.append(step)
        at = step.end()
    return found


def places(document, path):
    """What the path leads to, each as (parent, name)."""
    nodes = [(None, None, document)]
    for step in steps(path):
        name, each_with = step["plain"] or step["quoted"], step["each_with"]
        members = [(node, key, value) for _, _, node in nodes if isinstance(node, dict) for key, value in node.items()]
        nodes = [it for it in members if (each_with in it[2] if each_with and isinstance(it[2], dict) else it[1] == name)]
    return [(parent, name) for parent, name, _ in nodes]


def merged(node, update):
    """Objects are merged, lists are joined, and anything else is put in the place of what was there."""
    if isinstance(node, dict) and isinstance(update, dict):
        return {**node, **{name: merged(node.get(name), value) for name, value in update.items()}}
    if isinstance(node, list) and isinstance(update, list):
        return node + update
    return update


def apply(document, overlay):
    for action in overlay["actions"]:
        found = places(document, action["target"])
        if not found:
            raise SystemExit(f"{action['target']} leads nowhere")
        for parent, name in found:
            if action.get("remove"):
                del parent[name]
            else:
                parent[name] = merged(parent[name], action["update"])
    return document


def main():
    document, overlay = (yaml.safe_load(open(path, encoding="utf-8")) for path in sys.argv[1:3])
    json.dump(apply(document, overlay), sys.stdout)


if __name__ == "__main__":
    main()
