"""A Ray run on two nodes, one of which is killed: compare with a local run, byte for byte.

`python -m tests.two_nodes --work DIR [--store]`. The nodes are Ray's own test cluster on this
machine: each has its raylet, its object store and its workers, and dies with all of them. With
`--store`, dataset and run folder are on an S3 server on loopback, and the nodes share no folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from annotate.runner import job
from annotate.store.remote import Store
from tests.killing import arguments, left_behind, make_dataset, settings, tree
from tests.s3_server import s3_server

BEFORE = 4  # parts, when the second node is killed


def run(work: Path, data: str, out: str, caches: list[Path]) -> tuple[bool, int, str]:
    """Whether the second node was killed during the run, its exit code, and its log."""
    # One processor each, so that each has one of the two workers.
    here, there = ({"ANNOTATE_CACHE": str(cache)} for cache in caches)
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "env_vars": here})
    second = nodes.add_node(num_cpus=1, env_vars=there)
    command = [
        sys.executable, "-m", "annotate", *arguments(Path(), Path())[2:], f"dataset={data}",
        f"out={out}", "executor=ray", f"ray.address={nodes.address}", "ray.workers=2",
    ]  # fmt: skip
    with (work / "two.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **here})
        while process.poll() is None and _parts(out) < BEFORE:
            time.sleep(0.2)
        if killed := process.poll() is None:
            nodes.remove_node(second, allow_graceful=False)
        code = process.wait()
    nodes.shutdown()
    ray.shutdown()
    return killed, code, (work / "two.log").read_text()


def _parts(out: str) -> int:
    if "://" in out:
        return sum(name.endswith(".parquet") for name in Store(out).files("records"))
    return len(list(Path(out).glob("records/part-*")))


def _upload(folder: Path, url: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            Store(url).send(path, path.relative_to(folder).as_posix())


def _download(url: str, folder: Path) -> Path:
    for name in Store(url).files():
        Store(url).fetch(name, folder / name)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="an empty folder")
    parser.add_argument("--stills", type=int, default=60)
    parser.add_argument("--store", action="store_true", help="no folder that both nodes see")
    asked = parser.parse_args()
    work = asked.work.resolve()
    data, out = make_dataset(work / "data", asked.stills), work / "two"
    job.annotate_dataset(settings(data, work / "local"))
    caches = [work / "cache 1", work / "cache 2"]
    with ExitStack() as open_until_the_end:
        if asked.store:
            os.environ.update(open_until_the_end.enter_context(s3_server()))
            import fsspec

            fsspec.filesystem("s3").mkdir("bucket")
            _upload(data, "s3://bucket/data")
            killed, code, log = run(work, "s3://bucket/data", "s3://bucket/run", caches)
            _download("s3://bucket/run", out)
        else:
            killed, code, log = run(work, str(data), str(out), caches)
    print(f"node killed during the run: {killed}; exit code {code}")
    local, made = tree(work / "local"), tree(out)
    wrong = sorted(n for n in local.keys() | made if local.get(n) != made.get(n))
    wrong += left_behind(out)
    print("\n".join(wrong) or f"{len(made)} files of the same bytes, nothing left behind")
    if code:
        print(log[-2000:])
    sys.exit(bool(wrong) or code or not killed)


if __name__ == "__main__":
    main()
