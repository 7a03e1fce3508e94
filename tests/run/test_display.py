import io
import json
import sys
from types import ModuleType

import pytest
from rich.console import Console

from gfnjax.run import display
from gfnjax.run.choices import configure
from gfnjax.run.config import UsageError
from gfnjax.run.directory import RunDirectory
from gfnjax.run.display import PlainLines, ProgressBar, Status, duration, make_display
from gfnjax.run.loggers import make_loggers

EXACT = {"log_z": 5.6999, "total_variation": 0.01234, "true_log_z": 5.7}
SAMPLED = {"log_z": float("nan"), "elbo": -1.5}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (0.2, "0:01"),
        (59.5, "1:00"),
        (61, "1:01"),
        (3600, "1:00:00"),
        (7322, "2:02:02"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (Status(0, 1_000, None, EXACT, None), "log Z 5.700  TV 0.0123"),
        (
            Status(250, 1_000, 0.0432, EXACT, 12.5),
            "loss 4.32e-02  log Z 5.700  TV 0.0123  12 steps/s  ETA 1:00",
        ),
        (Status(9, 10, 1.0, SAMPLED, 0.25), "loss 1.00e+00  ELBO -1.5000  0.25 steps/s  ETA 0:04"),
    ],
)
def test_a_status_says_what_is_known(status, text):
    assert str(status) == text


def test_plain_lines_come_at_most_once_a_second_and_at_the_end(capsys, monkeypatch):
    times = iter([0.0, 0.5, 1.2, 1.3])
    monkeypatch.setattr(display.time, "monotonic", lambda: next(times))
    lines = PlainLines()
    for step in (0, 10, 20, 30):
        lines.update(Status(step, 30, 0.5, EXACT, 10.0))
    lines.close()

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["0/30", "20/30", "30/30"]


def test_a_terminal_gets_a_bar_and_anything_else_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    screen = io.StringIO()
    bar = make_display(Console(file=screen, force_terminal=True, width=100))
    assert isinstance(bar, ProgressBar)
    bar.update(Status(0, 1_000, None, EXACT, None))
    bar.update(Status(250, 1_000, 0.0432, EXACT, 12.5))
    bar.close()
    shown = screen.getvalue()
    assert "250/1,000" in shown
    assert "loss 4.32e-02  log Z 5.700  TV 0.0123  12 steps/s  ETA 1:00" in shown

    assert isinstance(make_display(Console(file=io.StringIO())), PlainLines)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_display(Console(file=screen, force_terminal=True)), PlainLines)


class FakeWriter:
    def __init__(self, directory, purge_step):
        self.directory, self.purge_step, self.scalars, self.closed = (
            directory,
            purge_step,
            [],
            False,
        )

    def add_scalar(self, name, value, step):
        self.scalars.append((name, value, step))

    def close(self):
        self.closed = True


class FakeWandb(ModuleType):
    Error = RuntimeError

    def __init__(self):
        super().__init__("wandb")
        self.calls = []
        self.refuses = False

    def init(self, **arguments):
        if self.refuses:
            raise RuntimeError("no network")
        self.calls.append(("init", arguments))
        return self

    def log(self, values, step):
        self.calls.append(("log", values, step))

    def finish(self):
        self.calls.append(("finish",))


def config(*loggers):
    return configure("hypergrid", loggers=loggers)


RECORD = {"kind": "train", "step": 7, "seconds": 1.5, "loss": 0.25}


def test_tensorboard_gets_every_scalar_and_forgets_what_is_redone(tmp_path, monkeypatch):
    module = ModuleType("tensorboardX")
    module.SummaryWriter = FakeWriter
    monkeypatch.setitem(sys.modules, "tensorboardX", module)

    (logger,) = make_loggers(config("tensorboard"), RunDirectory(tmp_path), step=6)
    logger.write(RECORD)
    logger.close()

    writer = logger._writer
    assert writer.directory == str(tmp_path / "tensorboard")
    assert writer.purge_step == 7
    assert writer.scalars == [("train/seconds", 1.5, 7), ("train/loss", 0.25, 7)]
    assert writer.closed


def test_wandb_goes_on_with_the_same_run(tmp_path, monkeypatch):
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    for _ in range(2):
        (logger,) = make_loggers(config("wandb"), RunDirectory(tmp_path), step=0)
        logger.write(RECORD)
        logger.close()

    inits = [call[1] for call in wandb.calls if call[0] == "init"]
    assert len(inits) == 2
    assert inits[0]["id"] == inits[1]["id"] == (tmp_path / "wandb-id").read_text()
    assert inits[0]["resume"] == "allow"
    assert inits[0]["config"]["objective"]["name"] == "tb"
    json.dumps(inits[0]["config"])
    assert wandb.calls[1] == ("log", {"train/seconds": 1.5, "train/loss": 0.25}, 7)
    assert wandb.calls[2] == ("finish",)
    wandb.refuses = True
    with pytest.raises(UsageError, match="wandb: no network"):
        make_loggers(config("wandb"), RunDirectory(tmp_path), step=0)


@pytest.mark.parametrize(("extra", "module"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")])
def test_a_missing_package_names_the_extra(tmp_path, monkeypatch, extra, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf'pip install "gfnjax\[{extra}\]"'):
        make_loggers(config(extra), RunDirectory(tmp_path), step=0)
    assert make_loggers(config(), RunDirectory(tmp_path), step=0) == []
