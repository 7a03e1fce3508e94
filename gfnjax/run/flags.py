"""What the library says about its arguments, said about the flags of the command line."""

# Sampling that is not fresh trajectories of the policy alone.
SAMPLING_FLAGS = "--replay, --local-search, --window, --teacher-share and --thompson"
WORDS = {
    'TrajectoryBalance(log_z="flow")': "--objective tb-flow",
    "use sampler=OnPolicy()": f"leave out {SAMPLING_FLAGS}",
    "no Teacher": "leave out --teacher-share",
    "those of an EnsemblePolicy are built by single members": "leave out --thompson",
    "fresh=Windows(...) gives parts of trajectories: TerminalReplay and local_search need whole "
    "ones, from fresh=OnPolicy()": "--window gives parts of trajectories: --replay terminal and "
    "--local-search need whole ones; leave out one or the other",
    "EntropyPPO takes more": "--objective ent-ppo takes more",
    "one whose `incomplete` is True, such as DetailedBalance, SubTrajectoryBalance, their "
    "forward-looking forms or FlowMatching": "--objective db, subtb, fl-db, fl-subtb or fm, or "
    "leave out --window",
    "which is not done for each member of an EnsemblePolicy: use TrajectoryBalance, "
    "DetailedBalance or SubTrajectoryBalance": "which is not done with --thompson: use "
    "--objective tb, db or subtb",
    "of which the members of an EnsemblePolicy have one set each: use TrajectoryBalance, "
    "DetailedBalance or SubTrajectoryBalance": "of which --thompson gives each member one set: use "
    "--objective tb, db or subtb",
    "gfn.sampler is not supported": f"other sampling ({SAMPLING_FLAGS}) is not supported",
    "data must be standardised": "data must be standardised (--standardise)",
    "try a smaller learning_rate for it": "try a smaller --coupling-rate",
    "backward must not be LearnedBackward(), take UniformBackward() or one with a training of its "
    "own": "use --backward uniform, tlm or pessimistic",
}


def in_flags(message: str) -> str:
    """A message of the library for somebody who has typed flags."""
    for words, flags in WORDS.items():
        message = message.replace(words, flags)
    return message
