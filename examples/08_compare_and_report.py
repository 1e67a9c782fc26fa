"""Compare two neurons with the same settings over several seeds, and write the report page."""

from pipeline import find_preset, override
from tune import compare, load_results, report

if __name__ == "__main__":
    small = {"network.width": 0.25, "schedule.epochs": 2, "batch_size": 8}
    result = compare(
        override(find_preset("gestures-small").config, small),
        ["lif", "clif"],
        seeds=2,
        out="runs/compare",
        cache="cache",
    )
    for difference in result.differences:
        print(f"{difference.neuron} minus {difference.baseline}: {difference.mean:+.2%}, p = {difference.p:.2g}")
    for sentence in result.sentences:
        print(sentence)
    runs = load_results(result.folder)
    print(runs.groupby("neuron.name")["test_accuracy"].agg(["mean", "std", "count"]))
    print(report(result.folder))
