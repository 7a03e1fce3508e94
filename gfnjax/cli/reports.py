"""What is said at the end of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gfnjax import run
from gfnjax.plot import pictures
from gfnjax.run.display import duration
from gfnjax.run.graphs import told

# What some environments measure besides, and how it is printed.
OTHERS = {
    "part_error": ("largest error of a marginal", ".4f"),
    "modes_found": ("modes found", ".0f"),
    "modes_seen": ("modes seen in training", ".0f"),
    "mode_distance": ("bits from the nearest mode", ".1f"),
    "best_parsimony": ("fewest changes", ".0f"),
    "parsimony": ("changes on average", ".1f"),
    "proxy": ("proxy on average", ".3f"),
    "best_proxy": ("best proxy", ".3f"),
    "score": ("score on average", ".2f"),
    "neg_log_rmse": ("-log RMSE of the couplings", ".3f"),
    "acceptance": ("acceptance", ".3f"),
    "valid_mass": ("probability of what is valid", ".4f"),
    "valid_share": ("share of valid texts", ".3f"),
    "accuracy": ("right results", ".3f"),
    "voting_accuracy": ("right by vote", ".3f"),
    "log_ratio_std": ("std of log R - log q", ".3f"),
    "log_likelihood": ("log-likelihood on average", ".2f"),
    "distinct_2": ("different pairs of tokens", ".3f"),
    "kernel_jsd": ("JSD of a kernel density", ".4f"),
    "worst_total_variation": ("at the worst condition TV", ".4f"),
    "expected_length": ("states on the way", ".3f"),
    "cut": ("share cut", ".4f"),
    "fixed_points_l1": ("L1 of fixed points", ".4f"),
    "mean_reward_error": ("relative error of the mean reward", ".4f"),
}


def conclude(outcome: run.Outcome) -> int:
    """Print how a run has ended, and draw it; the exit code."""
    directory, step = outcome.run.path, int(outcome.state.step)
    if outcome.ending == "interrupted":
        print(f"stopped at step {step:,}; go on with: gfnjax resume {directory}", flush=True)
        return 128 + (outcome.signal or 0)
    if outcome.ending == "nothing to do":
        print(f"{directory} is finished; to extend it: gfnjax resume {directory} --steps N")
        print(_results(step, outcome))
        return 0
    print(_results(step, outcome), flush=True)
    written = pictures.draw(outcome)
    if (solutions := told(directory)) is not None:
        print(f"solutions  {solutions}")
    print(f"pictures   {names(written)}")
    return 0


def _results(step: int, outcome: run.Outcome) -> str:
    found = outcome.evaluation
    speed = "" if outcome.rate is None else f", {outcome.rate:,.0f} steps/s once compiled"
    truth = ""  # Markov chains have no log Z
    reached = " (stopped at the wanted total variation)" if outcome.ending == "reached" else ""
    if "total_variation" in found:
        # Divergences below rounding errors can come out negative.
        kl, reverse, jsd = (max(found[k], 0.0) for k in ("kl", "reverse_kl", "jsd"))
        quality = (
            f"exact TV   {found['total_variation']:.4f}  "
            f"(KL {kl:.2g}, reverse KL {reverse:.2g}, JSD {jsd:.2g} nats)"
        )
        truth = f"truth {found['true_log_z']:.4f}"
        if "log_z_error" in found:
            truth += f", error {found['log_z_error']:.4f}"
    elif "elbo" not in found:
        quality = f"log R      {found['log_reward']:.4f} on average over objects visited"
    else:
        quality = f"ELBO       {found['elbo']:.4f} nats, from samples: too many states to enumerate"
        truth = f"by importance sampling {found['importance_log_z']:.4f}"
        if "true_log_z" in found:
            truth = f"truth {found['true_log_z']:.4f}, {truth}"
    if "sampled_tv" in found:
        tv, floor = found["sampled_tv"], found["noise_floor"]
        quality += f"; their TV {tv:.4f} (independent draws {floor:.4f})"
    lines = [f"steps      {step:,}{reached} in {duration(outcome.seconds)}{speed}", quality]
    if truth:
        # Of many conditions there may be no estimate.
        estimate = f"{found['log_z']:.4f}  ({truth})" if "log_z" in found else truth
        lines.append(f"log Z      {estimate}")
    if "eubo" in found:
        lines.append(_bounds(found))
    others = [
        f"{label} {found[name]:{form}}" for name, (label, form) in OTHERS.items() if name in found
    ]
    return "\n".join([*lines, *([f"also       {', '.join(others)}"] if others else [])])


def _bounds(found: Mapping[str, float]) -> str:
    """What exact samples tell, and a warning where the lower bound alone would deceive."""
    below = found["true_log_z"] - found["elbo"]
    above = found["eubo"] - found["true_log_z"]
    lines = [
        f"bounds     log Z - ELBO {below:.4f}, EUBO - log Z {above:.4f}, "
        f"effective share {found['effective_share']:.3f}"
    ]
    if "wasserstein" in found:
        lines.append(
            f"distance   W2 {found['wasserstein']:.3f}, between exact samples "
            f"{found['wasserstein_floor']:.3f}"
        )
    else:
        lines.append("distance   W2 needs POT: pip install 'gfnjax[diffusion]'")
    missing = found.get("num_modes", 0.0) - found.get("modes_found", 0.0)
    if missing > 0 or above > 3 * below + 1:
        modes = f"{missing:.0f} of {found['num_modes']:.0f} modes are" if missing > 0 else "mass is"
        lines.append(
            f"warning    {modes} missed, which ELBO, importance sampling and effective share "
            "cannot see: they know only what is sampled (one well of each pair of many-well 32 "
            "costs 2.7078); go by EUBO, modes and W2"
        )
    return "\n".join(lines)


def names(paths: Sequence[Path]) -> str:
    """Files by their folders."""
    folders = {path.parent: [p.name for p in paths if p.parent == path.parent] for path in paths}
    return "; ".join(f"{folder}: {', '.join(files)}" for folder, files in folders.items())
