"""A small Llama in files whose tokens are single characters, for tasks on texts."""

import json
import string

import numpy as np
from small_language_models import LLAMA, llama_tensors

CHARACTERS = string.digits + string.ascii_letters + ".,:?+-='"
END = "<|end|>"
# As a byte-level vocabulary has them: a blank and a line break are letters there.
TOKENS = [END, "Ġ", "Ċ", *CHARACTERS]
SIZES = {"vocab_size": len(TOKENS), "max_position_embeddings": 256, "num_hidden_layers": 1}
CONFIG = LLAMA | SIZES


def tensors():
    found = {name: x for name, x in llama_tensors().items() if ".layers.1." not in name}
    size = found["model.embed_tokens.weight"].shape[1]
    table = np.random.default_rng(7).normal(size=(len(TOKENS), size)) * 0.3
    return found | {"model.embed_tokens.weight": table.astype(np.float32)}


def character_tokenizer():
    import tokenizers

    vocabulary = {token: i for i, token in enumerate(TOKENS)}
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.add_special_tokens([END])
    return backend


def write_model(folder, tokenizer=True, **changes):
    """config.json, model.safetensors and, unless left out, tokenizer.json."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    save_file(tensors(), folder / "model.safetensors")
    if tokenizer:
        (folder / "tokenizer.json").write_text(character_tokenizer().to_str())
    return folder


def ids(text):
    """Of a text of these characters."""
    return [TOKENS.index({" ": "Ġ", "\n": "Ċ"}.get(c, c)) for c in text]
