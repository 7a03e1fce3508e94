"""One of several processes that train tiny sweeps: `process_of_sweep.py JOBS`, see test_hosts."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from gfnjax.envs.hypergrid import HypergridConfig
from gfnjax.run.config import Config, UsageError, choose
from gfnjax.run.hosts import Hosts, connect
from gfnjax.run.processes import ProcessError
from gfnjax.run.settings import Training
from gfnjax.run.sweeps import session
from gfnjax.run.sweeps.config import Point, SweepConfig


def config(rates=(0.01, 0.003), steps=8):
    """Two points and three seeds of a 4x4 grid, in chunks of four steps."""
    points = []
    for rate in rates:
        training = Training(
            steps=steps, chunk_size=4, batch_size=4, log_every=4, learning_rate=rate
        )
        network = choose("network", "mlp", hidden_sizes=(8,))
        env = HypergridConfig(num_dims=2, side=4)
        whole = Config("hypergrid", env, training, network=network)
        points.append(Point({"learning_rate": rate}, whole))
    return SweepConfig(tuple(points), (0, 1, 2))


class Scripted:
    """A display that does something in the middle of a chunk."""

    def __init__(self, job, path):
        self.job, self.path = job, path

    def update(self, status):
        if self.job.get("terminate_at") == status.step:
            os.kill(int((self.path / "pid-1").read_text()), signal.SIGTERM)
        if self.job.get("hang_at") == status.step:
            (self.path / "hangs").touch()
            time.sleep(600)

    def close(self):
        pass


def run(job, path):
    output = path / job["output"]
    if job["do"] == "resume":
        return session.resume(output, display=Scripted(job, path))
    described = config(job.get("rates", (0.01, 0.003)), job.get("steps", 8))
    return session.start(described, output, display=Scripted(job, path))


def main():
    about = json.loads(sys.argv[1])
    path = Path(about["path"])
    (path / f"pid-{about['hosts']['process_id']}").write_text(str(os.getpid()))
    connect(Hosts(**about["hosts"]), timeout=60, heartbeat=5)
    for job in about["jobs"]:
        try:
            found = run(job, path)
        except (UsageError, ProcessError) as error:
            print(json.dumps({"error": str(error)}), flush=True)
            continue
        rows = [[row["member"], row["step"]] for row in found.table.rows]
        print(json.dumps({"ending": found.ending, "rows": rows}), flush=True)


if __name__ == "__main__":
    main()
