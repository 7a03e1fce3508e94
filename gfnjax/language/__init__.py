"""Files of language models: architectures, weights, tokenizers."""

from gfnjax.language.architectures import Config, GPT2Config, LlamaConfig
from gfnjax.language.loading import Pretrained, load
from gfnjax.language.tokenizer import Tokenizer

__all__ = ["Config", "GPT2Config", "LlamaConfig", "Pretrained", "Tokenizer", "load"]
