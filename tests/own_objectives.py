"""One of each objective of the library: for tests that go through all of them."""

import dataclasses
import inspect

import gfnjax

NESTED = {
    "fl": gfnjax.objectives.ForwardLooking(gfnjax.SubTrajectoryBalance()),
    "led": gfnjax.objectives.LEDGFN(gfnjax.SubTrajectoryBalance()),
    "ga": gfnjax.objectives.GAFlowNet(gfnjax.SubTrajectoryBalance()),
    "munchausen": gfnjax.objectives.SoftDQN(0.15),
    "raptb, silent": gfnjax.objectives.RapTB(tolerance=1e3, min_prefix=0),
    "sac, learned": gfnjax.algorithms.RewardSAC(target_entropy=0.5),
}


def own_objectives():
    """One of each objective of the library, by class, and some in others."""
    found = {}
    for module in (gfnjax.objectives, gfnjax.algorithms):
        for name, cls in inspect.getmembers(module, inspect.isclass):
            if issubclass(cls, gfnjax.Objective) and cls is not gfnjax.Objective:
                needed = [
                    f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING
                ]
                found[name] = cls(**dict.fromkeys(needed, gfnjax.DetailedBalance()))
    return found | NESTED
