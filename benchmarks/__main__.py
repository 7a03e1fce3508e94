"""`python -m benchmarks COMMAND`: each command is a module with a `main(arguments)`."""

import sys
from importlib import import_module

# Imported when they are called: most commands need neither a device nor the other libraries.
COMMANDS = {
    "run": ("benchmarks.run", "steps per second of training, of gfnjax and its peers"),
    "quality": (
        "benchmarks.convergence",
        "seconds of training to an exact distance from the target",
    ),
    "growth": ("benchmarks.growth", "cost of a step by batch, horizon, actions and so on"),
    "sweeps": ("benchmarks.sweeps", "many runs in one program against one after another"),
    "diffusion": ("benchmarks.diffusion", "samplers of densities, bounds of log Z from both sides"),
    "continuous-box": ("benchmarks.continuous_box", "the unit square by continuous steps, JSD"),
    "cyclic": ("benchmarks.cyclic", "state graphs with cycles, beside published distances"),
    "consistency": ("benchmarks.consistency", "FCS beside the exact distance, rank correlation"),
    "language": ("benchmarks.language", "samplers of texts, exact distances and tokens a second"),
    "molecules": ("benchmarks.molecules", "methods at equal numbers of molecules visited"),
    "graph-problems": (
        "benchmarks.graph_problems",
        "independent sets, cliques, dominating sets and cuts: exact distances, gaps to the optimum",
    ),
    "peers": ("benchmarks.peers.install", "install the peers, each in an environment of its own"),
}


def main() -> int:
    name, *arguments = sys.argv[1:] or ["--help"]
    if name not in COMMANDS:
        lines = [f"  {name:14} {summary}" for name, (_, summary) in COMMANDS.items()]
        usage = "\n".join(["usage: python -m benchmarks COMMAND [--help]", *lines])
        if name in ("-h", "--help"):
            print(usage)
            return 0
        print(f"{usage}\nthere is no command {name!r}", file=sys.stderr)
        return 2
    return import_module(COMMANDS[name][0]).main(arguments) or 0


if __name__ == "__main__":
    sys.exit(main())
