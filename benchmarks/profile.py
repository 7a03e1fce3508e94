"""Where a training step spends its time: python benchmarks/profile.py TASK

Two tables: the parts of a step, each against what the machine can do; and the costliest XLA
operations with the lines of source they come from.
"""

import argparse
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.parts import Measured
    from benchmarks.traffic import Product


def _make_way() -> None:
    """The standard library has a `profile` too: this folder is looked through last."""
    here = Path(__file__).resolve().parent
    rest = [path for path in sys.path if Path(path or ".").resolve() != here]
    sys.path[:] = [str(here.parent), *rest, str(here)]


def print_parts(found: dict[str, "Measured"]) -> None:
    """A row for each part; shares of what the machine does with such products, and with copies."""
    from benchmarks.parts import CACHE, MEMORY, TRAIN, copy_rate, product_rate

    rates: dict[Product, float] = {}
    copies, memory = copy_rate(CACHE), copy_rate(MEMORY)
    whole = found[TRAIN].seconds
    print("| part | ms | of a step | MFLOP | of products | MB | of copies | operations | loop |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, (seconds, done) in found.items():
        if done.product is not None and done.product not in rates:
            rates[done.product] = product_rate(done.product)
        share = ""
        if done.product is not None:
            share = f"{done.flops / seconds / rates[done.product]:.0%}"
        loop = ""
        if done.loop is not None and done.loop.iterations:
            loop = f"{done.loop.iterations:.1f} x {done.loop.operations}"
        print(
            f"| {name} | {1e3 * seconds:.3f} | {seconds / whole:.0%} | {1e-6 * done.flops:.2f} | "
            f"{share} | {1e-6 * done.bytes:.2f} | {done.bytes / seconds / copies:.0%} | "
            f"{done.operations:.0f} | {loop} |"
        )
    for name, seconds in differences(found).items():
        print(f"| *{name}* | {1e3 * seconds:.3f} | {seconds / whole:.0%} | | | | | | |")
    print(f"\nCopies: {1e-9 * copies:.1f} GB/s within caches, {1e-9 * memory:.1f} beyond.")
    print("Products:", ", ".join(f"{_shape(x)} {1e-9 * rates[x]:.0f} GFLOP/s" for x in rates))


def differences(found: dict[str, "Measured"]) -> dict[str, float]:
    """Seconds of what has no function of its own."""
    from benchmarks.parts import TRAIN

    names = ("noise", "draw: noise, rollout, rewards", "rewards", "loss", "loss and gradient")
    drawn, draw, reward, loss, both = (found[x].seconds for x in names)
    update, step = found["optimiser"].seconds, found["step"].seconds
    return {
        "rollout alone": draw - drawn - reward,
        "gradient alone": both - loss,
        "rest of a step: norm, diagnostics, sampler": step - draw - both - update,
        "bookkeeping of train(): finite, infos": found[TRAIN].seconds - step,
    }


def _shape(product: "Product") -> str:
    return f"[{product.rows}, {product.inner}] @ [{product.inner}, {product.columns}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task")
    parser.add_argument("--batch", type=int, default=None, help="trajectories per step")
    parser.add_argument("--preset", action="store_true", help="as `gfnjax train` registers it")
    parser.add_argument("--warm", type=int, default=200, help="steps of training before")
    parser.add_argument("--steps", type=int, default=50, help="steps whose operations are traced")
    parser.add_argument("--top", type=int, default=15, help="operations in the second table")
    args = parser.parse_args()
    _make_way()
    from benchmarks import parts, topops
    from benchmarks.tasks import gflownet

    try:
        gfn = gflownet(args.task, args.preset, args.batch)
    except FileNotFoundError as error:
        sys.exit(f"{args.task} is left out: {error}")
    state = topops.trained(gfn, args.warm)
    print(f"{args.task}, batch {gfn.batch_size}, after {args.warm} steps\n")
    print_parts(parts.measure(parts.start(gfn, state)))
    print()
    topops.top_operations(gfn, state, args.steps, args.top)


if __name__ == "profile":  # of a script beside this file, for which the library's was meant
    _make_way()
    del sys.modules["profile"]
    sys.modules["profile"] = importlib.import_module("profile")
elif __name__ == "__main__":
    main()
