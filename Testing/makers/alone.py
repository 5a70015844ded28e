"""``casr`` as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

ALONE = """\
import json, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
from casr_net.cli import main
code = main(json.loads(sys.argv[1]))
print(json.dumps([code, sorted({"torch", "monai", "ignite"} & {name.split(".")[0] for name in sys.modules})]))
"""


def start_alone(words: Sequence[str]) -> subprocess.Popen[str]:
    """Start a command; the last line of its output is its exit code and which network libraries it has imported."""
    line = [sys.executable, "-c", ALONE, json.dumps(list(words))]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables)


def run_alone(words: Sequence[str]) -> list[str]:
    """Run a command that fails at most for some files; gives the network libraries that it has imported."""
    process = start_alone(words)
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    code, imported = json.loads(out.splitlines()[-1])
    assert code in (0, 1), errors
    return list(imported)
