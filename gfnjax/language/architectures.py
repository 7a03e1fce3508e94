"""Sizes of language models, and the names and shapes of their arrays.

An array has one name here, whatever file it comes from: that of its module in
`policies/decoder.py`. Matrices are `[in, out]`, tables `[rows, width]`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gfnjax.arguments import settle
from gfnjax.errors import ArgumentError, require

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LlamaConfig:
    """Sizes of a Llama: RMS norms, rotary positions, grouped heads, gated hidden layers.

    Attributes:
        vocabulary: V, tokens.
        width: W of the hidden state.
        hidden: units of a hidden layer.
        num_layers: of attention and hidden layer.
        num_heads: H of the queries.
        num_key_value_heads: K, a divisor of H: each serves H / K heads of queries.
        head_size: D, an even number.
        context: the longest text, in tokens.
        rotary_base: the slowest pair of a head turns by one radian in nearly that many positions.
        epsilon: added to the mean square in norms.
        tied: whether the table of the embedding is also the head.

    Raises:
        ValueError: if a size is out of range.
    """

    vocabulary: int
    width: int
    hidden: int
    num_layers: int
    num_heads: int
    num_key_value_heads: int
    head_size: int
    context: int
    rotary_base: float = 10_000.0
    epsilon: float = 1e-5
    tied: bool = True

    architecture: ClassVar[str] = "llama"
    projections: ClassVar[tuple[str, ...]] = ("q", "k", "v", "o", "gate", "up", "down")
    learned_positions: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _settle(self, num_key_value_heads=1, head_size=2)
        require(self.head_size % 2 == 0, "head_size", "must be even", self.head_size)
        if self.num_heads % self.num_key_value_heads:
            raise ArgumentError(
                "num_heads",
                f"must be a multiple of num_key_value_heads = {self.num_key_value_heads}, "
                f"got {self.num_heads}",
            )

    def projection(self, name: str) -> Shape:
        """Inputs and outputs of one of the `projections`."""
        heads = self.num_heads * self.head_size
        groups = self.num_key_value_heads * self.head_size
        return {
            "q": (self.width, heads),
            "k": (self.width, groups),
            "v": (self.width, groups),
            "o": (heads, self.width),
            "gate": (self.width, self.hidden),
            "up": (self.width, self.hidden),
            "down": (self.hidden, self.width),
        }[name]

    def shapes(self) -> dict[str, Shape]:
        """The shape of each array, by name."""
        layer = {f"{name}.kernel": self.projection(name) for name in self.projections}
        layer |= {f"{name}.scale": (self.width,) for name in ("attention_norm", "hidden_norm")}
        shapes = {"embedding.table": (self.vocabulary, self.width)} | _repeat(layer, self)
        shapes["norm.scale"] = (self.width,)
        return shapes if self.tied else shapes | {"head.table": (self.vocabulary, self.width)}


@dataclass(frozen=True)
class GPT2Config:
    """Sizes of a GPT-2: layer norms, learned positions, biases everywhere, GELU.

    Attributes:
        vocabulary: V, tokens.
        width: W of the hidden state, a multiple of `num_heads`.
        hidden: units of a hidden layer.
        num_layers: of attention and hidden layer.
        num_heads: of the attention.
        context: the longest text, in tokens.
        epsilon: added to the variance in norms.
        tied: whether the table of the embedding is also the head.

    Raises:
        ValueError: if a size is out of range.
    """

    vocabulary: int
    width: int
    hidden: int
    num_layers: int
    num_heads: int
    context: int
    epsilon: float = 1e-5
    tied: bool = True

    architecture: ClassVar[str] = "gpt2"
    projections: ClassVar[tuple[str, ...]] = ("q", "k", "v", "o", "up", "down")
    learned_positions: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _settle(self)
        if self.width % self.num_heads:
            raise ArgumentError(
                "width", f"must be a multiple of num_heads = {self.num_heads}, got {self.width}"
            )

    @property
    def num_key_value_heads(self) -> int:
        return self.num_heads

    @property
    def head_size(self) -> int:
        return self.width // self.num_heads

    def projection(self, name: str) -> Shape:
        """Inputs and outputs of one of the `projections`."""
        hidden = {"up": (self.width, self.hidden), "down": (self.hidden, self.width)}
        return hidden.get(name, (self.width, self.width))

    def shapes(self) -> dict[str, Shape]:
        """The shape of each array, by name."""
        layer: dict[str, Shape] = {}
        for name in self.projections:
            shape = self.projection(name)
            layer |= {f"{name}.kernel": shape, f"{name}.bias": shape[1:]}
        for name in ("attention_norm", "hidden_norm"):
            layer |= {f"{name}.scale": (self.width,), f"{name}.bias": (self.width,)}
        shapes = {
            "embedding.table": (self.vocabulary, self.width),
            "positions.table": (self.context, self.width),
        }
        shapes |= _repeat(layer, self)
        shapes |= {"norm.scale": (self.width,), "norm.bias": (self.width,)}
        return shapes if self.tied else shapes | {"head.table": (self.vocabulary, self.width)}


Config = LlamaConfig | GPT2Config


def _settle(config: Config, **least: int) -> None:
    sizes = ("vocabulary", "width", "hidden", "num_layers", "num_heads", "context")
    settle(config, **dict.fromkeys(sizes, 1), **least)


def _repeat(layer: Mapping[str, Shape], config: Config) -> dict[str, Shape]:
    return {
        f"layer_{i}.{name}": shape
        for i in range(config.num_layers)
        for name, shape in layer.items()
    }
