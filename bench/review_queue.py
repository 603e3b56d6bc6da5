"""How well the review queue leads to what is wrong: `-m bench.review_queue`, after `make demo`.

An instance is wrong where no object of its class overlaps it with `--iou`. AUC is the share of
pairs of a wrong and a right instance in which the wrong one has the higher doubt.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.stats import mannwhitneyu

from annotate.evaluate import uncertainty
from annotate.evaluate.evaluation import agreeing_instances
from annotate.evaluate.truth import read_truth
from annotate.record.run_folder import Run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--run", type=Path, default=Path("runs/demo"))
    parser.add_argument("--truth", type=Path, default=Path("data/demo/truth.json"))
    parser.add_argument("--threshold", type=float, default=0.3)
    parser.add_argument("--iou", type=float, default=0.6)
    options = parser.parse_args()
    run = Run.open(options.run)
    truth = read_truth(options.truth, threshold=options.threshold)
    uncertainty.write(run, options.threshold)
    rows = [r for r in uncertainty.read(run).to_pylist() if r["instance_id"]]
    right = agreeing_instances(run, truth, iou=options.iou)
    wrong = np.array([r["instance_id"] not in right for r in rows])
    print(f"{len(rows)} instances, {wrong.sum()} wrong ({wrong.mean():.1%})\n")
    print("| doubt | AUC | of the wrong ones in the top tenth |")
    print("|---|---|---|")
    for name in ("doubt", *uncertainty.SIGNALS):
        doubts = np.array([r[name] or 0 for r in rows])
        auc = mannwhitneyu(doubts[wrong], doubts[~wrong]).statistic / (wrong.sum() * (~wrong).sum())
        top = np.argsort(-doubts, kind="stable")[: len(rows) // 10]
        print(f"| {name} | {auc:.3f} | {wrong[top].sum() / wrong.sum():.1%} |")


if __name__ == "__main__":
    main()
