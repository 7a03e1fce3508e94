import os
import tracemalloc
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gfnjax.hyperparameters import Hyperparameters
from gfnjax.run import checkpoint
from gfnjax.run.checkpoint import CheckpointError, DamagedCheckpointWarning
from gfnjax.state import Params, TrainState

NAN_WITH_PAYLOAD = np.array([0x7FC12345], np.uint32).view(np.float32)


def state_at(step, seed=0):
    """Every kind of leaf a state may hold; no two steps alike."""
    rng = np.random.default_rng([seed, step])
    policy = {
        "float32": jnp.asarray(np.append(rng.normal(size=5).astype(np.float32), -0.0)),
        "bfloat16": jnp.asarray(rng.normal(size=(2, 3)), jnp.bfloat16),
        "special": jnp.asarray(np.append(NAN_WITH_PAYLOAD, np.float32([np.inf, -np.inf, 1e-45]))),
        "uint8": jnp.asarray(rng.integers(0, 255, size=4, dtype=np.uint8)),
        "bool": jnp.asarray([True, False]),
        "empty": jnp.zeros((0, 3), jnp.float32),
    }
    numbers = Hyperparameters.only(
        learning_rate=jnp.float32(1e-3),
        log_z_learning_rate=jnp.float32(0.1),
        temperature=jnp.float32(1.0),
    )
    opt_state = (policy["float32"] * 2, (), {"count": jnp.int32(step)})
    key = jax.random.key(step + 1)
    params = Params(policy, jnp.float32(rng.normal()))
    return TrainState(params, opt_state, None, numbers, key, jnp.int32(step))


def bits(state):
    leaves, structure = jax.tree.flatten(state._replace(key=jax.random.key_data(state.key)))
    return structure, [(x.dtype, x.shape, np.asarray(x).tobytes()) for x in leaves]


def test_a_state_comes_back_bit_for_bit(tmp_path):
    state = state_at(7)

    path = checkpoint.save(tmp_path, state)
    loaded, found = checkpoint.load_latest(tmp_path, state_at(0, seed=1))

    assert found == path
    assert bits(loaded) == bits(state)
    assert loaded.key.dtype == state.key.dtype
    assert not any(x.weak_type for x in jax.tree.leaves(loaded.params))


def test_double_precision_is_kept(tmp_path, x64):
    state = state_at(0)._replace(step=jnp.asarray(1 / 3, jnp.float64))
    checkpoint.write(tmp_path / "x.ckpt", state)
    assert bits(checkpoint.read(tmp_path / "x.ckpt", state)) == bits(state)


def test_only_the_newest_three_are_kept_and_other_files_left_alone(tmp_path):
    checkpoint.write(tmp_path / "nan-before-step-3.ckpt", state_at(3))
    for step in (0, 9, 10, 100, 1_000):
        checkpoint.save(tmp_path, state_at(step))

    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "nan-before-step-3.ckpt",
        "step-000000010.ckpt",
        "step-000000100.ckpt",
        "step-000001000.ckpt",
    ]
    assert int(checkpoint.load_latest(tmp_path, state_at(0))[0].step) == 1_000


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "step-000000000.ckpt"
    checkpoint.write(path, state_at(0))
    return path.read_bytes()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_any_changed_byte_is_noticed(stored, tmp_path, place, flip):
    content = bytearray(stored)
    content[int(place * len(content))] ^= flip
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.ckpt"):
        checkpoint.read(tmp_path / "x.ckpt", state_at(0))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_any_truncation_is_noticed(stored, tmp_path, share):
    (tmp_path / "x.ckpt").write_bytes(stored[: int(share * len(stored))])
    with pytest.raises(CheckpointError, match=r"x\.ckpt"):
        checkpoint.read(tmp_path / "x.ckpt", state_at(0))


def test_the_last_good_one_replaces_damaged_ones_with_a_warning_each(tmp_path):
    paths = [checkpoint.save(tmp_path, state_at(step)) for step in (1, 2, 3)]
    paths[2].write_bytes(paths[2].read_bytes()[:-1])
    paths[1].write_bytes(b"")

    with pytest.warns(DamagedCheckpointWarning) as caught:
        state, path = checkpoint.load_latest(tmp_path, state_at(0))

    assert path == paths[0]
    assert bits(state) == bits(state_at(1))
    messages = [str(w.message) for w in caught]
    assert len(messages) == 2
    assert str(paths[2]) in messages[0]
    assert str(paths[1]) in messages[1]
    assert all(paths[0].name in m for m in messages)


def test_shapes_alone_will_do_for_a_template(tmp_path):
    state = state_at(3)
    checkpoint.write(tmp_path / "x.ckpt", state)
    template = jax.eval_shape(lambda: state_at(0))
    assert bits(checkpoint.read(tmp_path / "x.ckpt", template)) == bits(state)


def test_another_kind_of_key_is_another_run(tmp_path):
    state = state_at(3)
    checkpoint.write(tmp_path / "x.ckpt", state)
    other = state._replace(key=jax.random.key(0, impl="rbg"))
    with pytest.raises(CheckpointError, match=r"another run: \.key must be key<rbg>"):
        checkpoint.read(tmp_path / "x.ckpt", other)
    checkpoint.write(tmp_path / "y.ckpt", other)
    assert bits(checkpoint.read(tmp_path / "y.ckpt", other)) == bits(other)


def test_the_format_before_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "x.ckpt").write_bytes(b"gfnjax checkpoint 1\n" + b"0" * 200)
    with pytest.raises(CheckpointError, match=r"x\.ckpt was written by an older version"):
        checkpoint.read(tmp_path / "x.ckpt", state_at(0))


def test_what_follows_a_checkpoint_is_noticed(stored, tmp_path):
    (tmp_path / "x.ckpt").write_bytes(stored + b"\n")
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.read(tmp_path / "x.ckpt", state_at(0))


def test_writing_copies_nothing_and_reading_no_more_than_the_state(tmp_path):
    size, count = 4 * 2**20, 16
    memory = [jnp.full(size // 4, i, jnp.float32) for i in range(count)]
    state = state_at(0)._replace(memory=memory)

    def peak(act):
        tracemalloc.start()  # counts NumPy and bytes, and not what JAX holds
        result = act(tmp_path / "x.ckpt", state)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result, used

    assert peak(checkpoint.write)[1] < 1.5 * size
    loaded, used = peak(checkpoint.read)
    assert used < (count + 1.5) * size
    assert bits(loaded) == bits(state)


def test_no_good_checkpoint_is_one_error_that_names_all(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        checkpoint.load_latest(tmp_path, state_at(0))
    for step in (1, 2):
        checkpoint.save(tmp_path, state_at(step)).write_bytes(b"junk")
    with (
        warnings.catch_warnings(),
        pytest.raises(CheckpointError, match=r"no good .*000002\.ckpt.*000001\.ckpt"),
    ):
        checkpoint.load_latest(tmp_path, state_at(0))


def other_shape(state):
    return state._replace(step=jnp.zeros(2, jnp.int32))


def other_dtype(state):
    return state._replace(step=jnp.float32(0))


def target_network(state):
    return state._replace(target=state.params.policy)


def other_structure(state):
    return state._replace(opt_state=(state.opt_state[0],))


@pytest.mark.parametrize("change", [other_shape, other_dtype, target_network, other_structure])
def test_the_state_of_another_run_is_refused(tmp_path, change):
    state = state_at(0)
    for written, wanted in ((state, change(state)), (change(state), state)):
        checkpoint.write(tmp_path / "x.ckpt", written)
        with pytest.raises(CheckpointError, match="another run"):
            checkpoint.read(tmp_path / "x.ckpt", wanted)


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = checkpoint.save(tmp_path, state_at(5))
    before = path.read_bytes()

    def crash(*_):
        raise OSError("power cut")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="power cut"):
        checkpoint.write(path, state_at(5, seed=1))
    with pytest.raises(OSError, match="power cut"):
        checkpoint.save(tmp_path, state_at(6))

    assert path.read_bytes() == before
    assert checkpoint.load_latest(tmp_path, state_at(0))[1] == path
    assert len(list(tmp_path.iterdir())) > 1
    monkeypatch.undo()
    newer = checkpoint.save(tmp_path, state_at(7))
    assert set(tmp_path.iterdir()) == {path, newer}


def test_many_small_arrays_do_not_overwrite_each_other(tmp_path):
    # Memory that serves for one array after the other is read before JAX has copied it.
    rng = np.random.default_rng(0)
    for trial in range(30):
        sizes = rng.integers(1, 60, 40)
        many = [jnp.asarray(rng.integers(0, 2**31 - 1, n, np.int32)) for n in sizes]
        state = state_at(trial)._replace(memory=many)
        path = checkpoint.save(tmp_path, state)
        assert bits(checkpoint.read(path, state)) == bits(state)
