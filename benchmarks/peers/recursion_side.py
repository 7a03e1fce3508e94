"""Trajectories a second of recursionpharma/gflownet on its task seh_frag, on this machine.

    PYTHON benchmarks/peers/recursion_side.py SOURCE WEIGHTS [--batch 4 64] [--seconds 20]

PYTHON has torch, torch-geometric, rdkit, omegaconf, tensorboard, gitpython, botorch and what they
need; SOURCE is a clone of the repository (read at f064713), WEIGHTS `seh/proxy_weights.npz`. Its
compiled companions torch-scatter and torch-sparse are replaced by PyTorch's own operations, wandb
by nothing; no database of samples is written, and no worker processes are started. The rest is its
own: TB, 72 fragments of up to 9, graph transformer of 4 layers and width 128, proxy by molecules
from RDKit, temperature drawn from [0, 64].
"""

import argparse
import json
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--batch", type=int, nargs="+", default=[4, 64])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--threads", type=int, help="of PyTorch")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    _replace_modules()
    sys.path.insert(0, str(options.source / "src"))
    _give_weights(options.weights)
    for batch in options.batch:
        print(json.dumps(measure(batch, options.seconds)), flush=True)


def measure(batch: int, seconds: float) -> dict[str, Any]:
    """Steps as its trainer takes them, after three that are not counted."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(batch, folder)
        batches = iter(trainer.build_training_data_loader())
        step, lengths, taken = 0, 0, 0
        start = cpu = 0.0
        while step < 4 or time.perf_counter() - start < seconds:
            if step == 3:
                start, cpu = time.perf_counter(), time.process_time()
                lengths = 0
            drawn = next(batches)
            trainer.train_batch(drawn, 0, 0, step + 1)
            lengths += int(drawn.traj_lens.sum())
            step += 1
        taken = step - 3
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {
        "library": "recursionpharma/gflownet",
        "batch_size": batch,
        "steps": taken,
        "trajectories_per_second": taken * batch / seconds,
        "cpu_seconds_per_step": cpu / taken,
        "mean_length": lengths / taken / batch,
        "num_parameters": sum(x.numel() for x in trainer.model.parameters()),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def _trainer(batch: int, folder: str) -> Any:
    from gflownet.config import Config, init_empty
    from gflownet.tasks.seh_frag import SEHFragTrainer

    config = init_empty(Config())
    config.log_dir, config.device, config.overwrite_existing_exp = folder, "cpu", True
    config.num_workers, config.num_training_steps = 0, 1_000_000
    config.algo.num_from_policy = batch
    config.cond.temperature.sample_dist = "uniform"
    config.cond.temperature.dist_params = [0, 64.0]
    trainer = SEHFragTrainer(config, print_config=False)
    trainer.cfg.log_dir = ""
    return trainer


def _give_weights(path: Path) -> None:
    """In the order of its pickle, where a download would have put them."""
    from gflownet.models import bengio2021flow

    z = np.load(path)
    names = ("lin0.weight", "lin0.bias", "conv.root", "conv.bias")
    edges = [f"conv.edge_mlp.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")]
    gru = [f"gru.{kind}_{way}" for kind in ("weight", "bias") for way in ("ih", "hh")]
    read = [f"set2set.lstm.{kind}_{way}" for kind in ("weight", "bias") for way in ("ih", "hh")]
    unused = [None] * 4
    params = [z[x] for x in (*names, *edges, *gru)] + unused
    params += [z[x] for x in (*read, "lin3.weight", "lin3.bias")]
    bengio2021flow.load_weights = lambda cache, location: params


def _replace_modules() -> None:
    from torch_geometric.utils import coalesce, scatter

    def scatter_max(src: Any, index: Any, dim: int, out: Any) -> tuple[Any, Any]:
        assert dim == 0
        rows = index[:, None].expand_as(src)
        most = out.scatter_reduce(0, rows, src, "amax", include_self=True)
        number = torch.arange(len(src))[:, None].expand_as(src)
        number = torch.where(src == most[index], number, len(src))
        last = torch.full(out.shape, len(src))
        return most, last.scatter_reduce(0, rows, number, "amin", include_self=True)

    def add(src: Any, index: Any, dim: int = 0, dim_size: int | None = None) -> Any:
        return scatter(src, index, dim, dim_size, "sum")

    def reduced(
        src: Any, index: Any, dim: int = 0, dim_size: int | None = None, reduce: str = "sum"
    ) -> Any:
        return scatter(src, index, dim, dim_size, reduce)

    _module("torch_scatter", scatter=reduced, scatter_sum=add, scatter_add=add)
    sys.modules["torch_scatter"].scatter_max = scatter_max  # type: ignore[attr-defined]
    _module(
        "torch_sparse",
        coalesce=lambda index, value, m, n: coalesce(index, value, max(m, n)),
        SparseTensor=None,
    )
    _module("wandb", run=None)


def _module(name: str, **content: Any) -> None:
    module = types.ModuleType(name)
    module.__dict__.update(content)
    sys.modules[name] = module


if __name__ == "__main__":
    main()
