"""Search for T, tau and the neuron by validation accuracy, then test the selected configuration once."""

from pipeline import find_preset, override
from tune import search

if __name__ == "__main__":
    small = {"network.width": 0.25, "schedule.epochs": 2, "batch_size": 8}
    found = search(
        override(find_preset("gestures-small").config, small),
        {"neuron.name": "lif,clif", "neuron.tau": "1.5:3", "binning.timesteps": "4,8"},
        samples=3,
        final_seeds=1,
        out="runs/search",
        cache="cache",
    )
    print(f"best {found.best}: validation accuracy {found.score:.2%}")
    print(f"test accuracy of the selected configuration: {found.test_accuracies}")
    columns = ["binning.timesteps", "neuron.tau", "neuron.name", "status", "validation_accuracy"]
    print(found.frame()[columns].to_string())
