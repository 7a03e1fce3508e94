import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from process_of_sweep import config

import gfnjax
from gfnjax.errors import ArgumentError
from gfnjax.run import hosts, meeting, processes
from gfnjax.run.config import UsageError
from gfnjax.run.hosts import Hosts
from gfnjax.run.processes import ProcessError
from gfnjax.run.sweeps import session, shards
from gfnjax.sweeps.placement import Placement

SCRIPT = Path(__file__).with_name("process_of_sweep.py")
LIMIT = 120


def free_port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("host:1", None, None), "num_processes must be given with coordinator"),
        ((None, 2, 0), "coordinator must be given with num_processes"),
        (("host:1", 2, None), "process_id must be given with coordinator"),
        (("host", 2, 0), "coordinator must be host:port, got 'host'"),
        (("host:0", 2, 0), "coordinator must be host:port"),
        (("host:1", 2, 2), "process_id must be below num_processes, which is 2, got 2"),
        (("host:1", 2, -1), "process_id must be at least 0, got -1"),
        (("host:1", 0, 0), "num_processes must be at least 1, got 0"),
        (("host:1", 2, 0, True), "coordinator is detected with detect=True"),
    ],
)
def test_values_that_do_not_fit_together_are_refused(given, message):
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        Hosts(*given)
    assert "\n" not in str(caught.value)
    assert caught.value.about is not None


def test_one_process_has_nothing_to_connect():
    hosts.connect(Hosts())
    hosts.connect(Hosts("nowhere:1", 1, 0))
    assert not jax.distributed.is_initialized()


def meet_all(told, timeout=10.0):
    """What processes end with that were told (num_processes, process_id)."""
    coordinator, found = f"localhost:{free_port()}", [None] * len(told)

    def one(place, count, number):
        try:
            meeting.meet(coordinator, count, number, timeout)
        except UsageError as error:
            found[place] = str(error)

    threads = [threading.Thread(target=one, args=(i, *who)) for i, who in enumerate(told)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_processes_that_agree_meet():
    assert meet_all([(3, 2), (3, 1), (3, 0)]) == [None] * 3


def test_all_processes_say_what_they_disagree_in():
    (problem,) = set(meet_all([(2, 0), (3, 1)]))
    assert problem.startswith("num_processes is 2 for process 0 and 3 for process 1")
    found = meet_all([(3, 0), (3, 1), (3, 1)])
    assert "process_id must differ between processes, got 1 from two of them" in found


def test_another_version_is_refused(monkeypatch):
    own = {"num_processes": 2, "process_id": 0, "versions": {"gfnjax": "1.0"}}
    other = {"num_processes": 2, "process_id": 1, "versions": {"gfnjax": "1.1"}}
    problem = ArgumentError(*meeting._conflict(own, other, {0: own}))
    assert str(problem).startswith("coordinator has gfnjax 1.0, process 1 has 1.1")


def test_processes_that_do_not_come_are_named():
    (problem,) = meet_all([(3, 0)], timeout=0.3)
    assert "has met 1 of 3 processes within 0.3 s: 1, 2 did not come" in problem
    (problem,) = meet_all([(2, 1)], timeout=0.3)
    assert re.search(r"localhost:\d+ cannot be reached within 0.3 s \(.*refused\)", problem)


def test_whoever_else_calls_is_ignored():
    port, found = free_port(), []
    waiting = threading.Thread(target=lambda: found.append(meeting.meet(*where, 0, 10.0)))
    where = f"localhost:{port}", 2
    waiting.start()
    for greeting in (b"GET / HTTP/1.1\r\n\r\n", b"{}\n"):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("localhost", port), 5) as stranger:
                    stranger.sendall(greeting)
                break
            except OSError:
                time.sleep(0.05)
    meeting.meet(*where, 1, 10.0)
    waiting.join()
    assert found == [None]


def test_a_port_in_use_is_named():
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot use port {port} .*in use"):
            meeting.meet(f"localhost:{port}", 2, 0, 1.0)


def test_where_nothing_is_detected_the_flags_are_named(monkeypatch):
    def initialize(*args, **options):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(UsageError, match=r"detect=True finds nothing .*: say coordinator, num_"):
        hosts.connect(Hosts(detect=True))


def test_connecting_too_late_is_refused():
    jax.devices()
    with pytest.raises(UsageError, match="before JAX computes anything"):
        hosts.connect(Hosts(detect=True))


@pytest.fixture
def two(monkeypatch):
    """Two processes, of which the other one says `said`."""
    said = []
    monkeypatch.setattr(processes, "are_several", lambda: True)
    monkeypatch.setattr(processes, "gather", lambda value: [value, *said])
    return said


def test_another_sweep_is_refused(two):
    versions = {"version of gfnjax": processes.version("gfnjax")}
    versions["version of jax"] = jax.__version__
    two[:] = [{**versions, "sweep": "other"}]
    message = "process 1 was given another sweep than process 0"
    with pytest.raises(UsageError, match=message):
        processes.check_same(sweep={"points": []})
    two[:] = [{**versions, "version of gfnjax": "9"}]
    with pytest.raises(UsageError, match="another version of gfnjax"):
        processes.check_same()


def test_what_fails_in_one_process_fails_in_all(two):
    two[:] = [("UsageError", "data must be there")]
    with pytest.raises(UsageError, match="process 1: data must be there"):
        processes.together(lambda: 1)
    two[:] = [("", "OSError: disk full")]
    with pytest.raises(ProcessError, match="process 1: OSError: disk full"):
        processes.together(lambda: 1)
    two[:] = [None]
    assert processes.together(lambda: 1) == 1
    with pytest.raises(ZeroDivisionError):
        processes.together(lambda: 1 // 0)


def test_processes_leave_no_device_out(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ArgumentError, match="num_devices must be 4, all devices"):
        Placement(num_devices=1).devices()
    with pytest.raises(ArgumentError, match="num_batch_devices must divide the 4 devices"):
        Placement(num_batch_devices=3).devices()


def test_sweeps_in_memory_are_those_of_one_process(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ArgumentError, match="placement must be that of one process"):
        gfnjax.sweeps.sweep(None, jax.random.key(0), 1)


def forms(states, count):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((count, *x.shape[1:]), x.dtype), states)


def test_shards_without_a_seal_or_with_other_bytes_are_refused(tmp_path):
    states = {"key": jax.random.split(jax.random.key(0), 3), "none": np.zeros((3, 0), np.int32)}
    path = tmp_path / "step-000000004.orbax"
    shards.write(path, states, {"step": 4})
    read, about = shards.read(path, forms(states, 2))
    assert about["step"] == 4
    assert read["none"].shape == (2, 0)
    words = [np.asarray(jax.random.key_data(tree["key"])) for tree in (read, states)]
    np.testing.assert_array_equal(words[0], words[1][:2])
    with pytest.raises(ValueError, match="belongs to another run"):
        shards.read(path, forms({"key": states["key"]}, 3))
    file = max(path.rglob("d/*"), key=lambda file: file.stat().st_size)
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match="is damaged"):
        shards.read(path, forms(states, 3))
    (path / shards.SEAL).unlink()
    with pytest.raises(ValueError, match="is damaged"):
        shards.read(path, forms(states, 3))
    assert not shards.is_sealed(path)


class Pair:
    """Two processes that do the same jobs, or, of a list of two, their own."""

    def __init__(self, path, *jobs):
        coordinator = f"localhost:{free_port()}"
        self.processes = []
        for number in range(2):
            own = [job[number] if isinstance(job, list) else job for job in jobs]
            where = {"coordinator": coordinator, "num_processes": 2, "process_id": number}
            about = json.dumps({"hosts": where, "path": str(path), "jobs": own})
            self.processes.append(self._start(about))

    def _start(self, about):
        flags = re.sub(r"(device_count)=\d+", r"\1=1", os.environ["XLA_FLAGS"])
        root = str(SCRIPT.parents[2])
        env = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": root}
        env |= {
            "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, str(SCRIPT), about], env=env, **pipes)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.communicate()

    def results(self):
        """What each process has printed, job by job."""
        found = []
        for process in self.processes:
            out, err = process.communicate(timeout=LIMIT)
            assert process.returncode == 0, err
            found.append([json.loads(line) for line in out.splitlines() if line[0] == "{"])
        return found

    def wait_for(self, path):
        deadline = time.monotonic() + LIMIT
        while not path.exists():
            for process in self.processes:
                assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)


def table(path):
    with open(path / "results.csv") as file:
        return list(csv.DictReader(file))


def assert_same(found, expected):
    assert len(found) == len(expected) > 0
    for row, other in zip(found, expected, strict=True):
        assert row.keys() == other.keys()
        for name in row.keys() - {"seconds", "status"}:
            value, wanted = (float(x[name] or "nan") for x in (row, other))
            assert value == pytest.approx(wanted, abs=1e-5, nan_ok=True), name
        assert row["status"] == other["status"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Where one process has trained the sweep."""
    path = tmp_path_factory.mktemp("alone") / "sweep"
    session.start(config(), path, Placement(num_devices=1), display=Quiet())
    return path


class Quiet:
    def update(self, status):
        pass

    def close(self):
        pass


@pytest.mark.long
def test_two_processes_give_what_one_gives_and_stop_together(tmp_path, alone):
    shutil.copytree(alone, tmp_path / "one")  # as one process leaves it in the middle
    (tmp_path / "one/checkpoints/round-0/step-000000008.ckpt").unlink()
    jobs = (
        [{"do": "start", "output": "x", "rates": [rate]} for rate in (0.1, 0.2)],
        {"do": "start", "output": "whole"},
        {"do": "start", "output": "parts", "terminate_at": 4},
        {"do": "resume", "output": "parts"},
        {"do": "resume", "output": "one"},
    )
    with Pair(tmp_path, *jobs) as pair:
        first, second = pair.results()
    assert first == second
    error, whole, stopped, *resumed = first
    assert "process 1 was given another sweep than process 0" in error["error"]
    assert not (tmp_path / "x").exists()
    assert {each["ending"] for each in (whole, *resumed)} == {"finished"}
    assert stopped["ending"] == "interrupted"
    assert max(step for _, step in stopped["rows"]) == 4
    for name in ("whole", "parts", "one"):
        assert_same(table(tmp_path / name), table(alone))


@pytest.mark.long
def test_killed_processes_leave_what_two_or_one_can_resume(tmp_path, alone):
    with Pair(tmp_path, {"do": "start", "output": "a", "hang_at": 8}) as pair:
        pair.wait_for(tmp_path / "hangs")
        for process in pair.processes:
            process.send_signal(signal.SIGKILL)
    (tmp_path / "hangs").unlink()
    jobs = {"do": "resume", "output": "a"}, {"do": "start", "output": "b", "hang_at": 8}
    with Pair(tmp_path, *jobs) as pair:
        pair.wait_for(tmp_path / "hangs")
        pair.processes[1].send_signal(signal.SIGKILL)
        assert pair.processes[0].wait(timeout=60) != 0
    assert_same(table(tmp_path / "a"), table(alone))
    found = session.resume(tmp_path / "b", Placement(num_devices=1), display=Quiet())
    assert found.ending == "finished"
    assert_same(table(tmp_path / "b"), table(alone))
