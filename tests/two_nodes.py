"""A Ray run on two nodes, one of which is killed: compare with a local run, byte for byte.

`python -m tests.two_nodes --work DIR`. The nodes are Ray's own test cluster on this machine: each
has its raylet, its object store and its workers, and dies with all of them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from annotate import job
from tests.killing import arguments, left_behind, make_dataset, settings, tree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="an empty folder")
    parser.add_argument("--stills", type=int, default=60)
    asked = parser.parse_args()
    work = asked.work.resolve()
    data, out = make_dataset(work / "data", asked.stills), work / "two"
    job.annotate_dataset(settings(data, work / "local"))
    # One processor each, so that each has one of the two workers.
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = nodes.add_node(num_cpus=1)
    command = [
        sys.executable, "-m", "annotate", *arguments(data, out),
        "executor=ray", f"ray.address={nodes.address}", "ray.workers=2",
    ]  # fmt: skip
    with (work / "two.log").open("w") as log:
        run = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ.copy())
        while run.poll() is None and len(list(out.glob("records/part-*"))) < 4:
            time.sleep(0.1)
        killed = run.poll() is None
        if killed:
            nodes.remove_node(second, allow_graceful=False)
        code = run.wait()
    nodes.shutdown()
    ray.shutdown()
    print(f"node killed during the run: {killed}; exit code {code}")
    print("\n".join(line for line in (out / "run.log").read_text().split("\n") if "lost" in line))
    local, made = tree(work / "local"), tree(out)
    wrong = sorted(n for n in local.keys() | made if local.get(n) != made.get(n))
    wrong += left_behind(out)
    print("\n".join(wrong) or f"{len(made)} files of the same bytes, nothing left behind")
    sys.exit(bool(wrong) or code or not killed)


if __name__ == "__main__":
    main()
