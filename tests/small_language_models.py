"""Small language models in files, written by the packages, and their logits by NumPy alone."""

import json

import numpy as np

# Tokens of a small byte-level vocabulary: one that ends texts, digits, a space, letters, pairs.
TOKENS = ["<|end|>", *"0123456789", "Ġ", *"abcdefghijklmnopqrst", "ab", "Ġa", "Ġab", "12", "cd"]
TOKENS += ["ef", "gh", "Ġc"]
MERGES = ["a b", "Ġ a", "Ġ ab", "1 2", "c d", "e f", "g h", "Ġ c"]
VOCABULARY = len(TOKENS)  # 40
LLAMA = {
    "model_type": "llama",
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "rope_theta": 1000.0,
    "rms_norm_eps": 1e-3,
    "tie_word_embeddings": True,
    "eos_token_id": 0,
}
GPT2 = {
    "model_type": "gpt2",
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "layer_norm_epsilon": 1e-3,
    "activation_function": "gelu_new",
    "eos_token_id": 0,
}


def llama_tensors(tied=True, seed=0):
    """Of a file for `transformers`: matrices are `[out, in]`."""
    shapes = {"model.embed_tokens.weight": (VOCABULARY, 32), "model.norm.weight": (32,)}
    for i in range(2):
        layer = {
            "self_attn.q_proj": (32, 32),
            "self_attn.k_proj": (16, 32),
            "self_attn.v_proj": (16, 32),
            "self_attn.o_proj": (32, 32),
            "mlp.gate_proj": (64, 32),
            "mlp.up_proj": (64, 32),
            "mlp.down_proj": (32, 64),
            "input_layernorm": (32,),
            "post_attention_layernorm": (32,),
        }
        shapes |= {f"model.layers.{i}.{name}.weight": shape for name, shape in layer.items()}
    if not tied:
        shapes["lm_head.weight"] = (VOCABULARY, 32)
    return _drawn(shapes, seed)


def gpt2_tensors(seed=0):
    """Of a file for `transformers`: matrices are `[in, out]`."""
    shapes = {"wte.weight": (VOCABULARY, 32), "wpe.weight": (64, 32)}
    shapes |= {"ln_f.weight": (32,), "ln_f.bias": (32,)}
    for i in range(2):
        matrices = {
            "attn.c_attn": (32, 96),
            "attn.c_proj": (32, 32),
            "mlp.c_fc": (32, 128),
            "mlp.c_proj": (128, 32),
        }
        for name, shape in matrices.items():
            shapes |= {f"h.{i}.{name}.weight": shape, f"h.{i}.{name}.bias": shape[1:]}
        for name in ("ln_1", "ln_2"):
            shapes |= {f"h.{i}.{name}.weight": (32,), f"h.{i}.{name}.bias": (32,)}
    return _drawn(shapes, seed)


def _drawn(shapes, seed):
    rng = np.random.default_rng(seed)
    return {
        name: (rng.normal(size=shape) * (0.3 if len(shape) == 2 else 1.0)).astype(np.float32)
        for name, shape in shapes.items()
    }


def llama_logits(tensors, ids, neighbours=False, config=LLAMA):
    """`[n, V]`; with `neighbours` numbers 2 j and 2 j + 1 of a head turn together."""
    t = {name: np.asarray(x, np.float64) for name, x in tensors.items()}
    n, size = len(ids), config["head_dim"]

    def norm(x, scale):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + config["rms_norm_eps"]) * scale

    def turned(x):  # [n, heads * size]: a pair is a complex number, turned by a complex factor
        x = x.reshape(n, -1, size)
        half = size // 2
        a, b = (x[..., ::2], x[..., 1::2]) if neighbours else (x[..., :half], x[..., half:])
        angle = np.arange(n)[:, None] * config["rope_theta"] ** (-2.0 * np.arange(half) / size)
        z = (a + 1j * b) * np.exp(1j * angle)[:, None]
        return np.concatenate([z.real, z.imag], axis=-1)

    x = t["model.embed_tokens.weight"][ids]
    for i in range(config["num_hidden_layers"]):
        w = {k: t[f"model.layers.{i}.{k}.weight"] for k in _names(tensors, f"model.layers.{i}.")}
        y = norm(x, w["input_layernorm"])
        q, k = (turned(y @ w[f"self_attn.{name}_proj"].T) for name in "qk")
        v = (y @ w["self_attn.v_proj"].T).reshape(n, -1, size)
        x = x + attention(q, k, v) @ w["self_attn.o_proj"].T
        y = norm(x, w["post_attention_layernorm"])
        gate = y @ w["mlp.gate_proj"].T
        units = gate / (1 + np.exp(-gate)) * (y @ w["mlp.up_proj"].T)
        x = x + units @ w["mlp.down_proj"].T
    head = t.get("lm_head.weight", t["model.embed_tokens.weight"])
    return norm(x, t["model.norm.weight"]) @ head.T


def gpt2_logits(tensors, ids, config=GPT2):
    """`[n, V]`."""
    t = {name: np.asarray(x, np.float64) for name, x in tensors.items()}

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + config["layer_norm_epsilon"])
        return x * t[f"{name}.weight"] + t[f"{name}.bias"]

    def linear(x, name):
        return x @ t[f"{name}.weight"] + t[f"{name}.bias"]

    x = t["wte.weight"][ids] + t["wpe.weight"][: len(ids)]
    for i in range(config["n_layer"]):
        y = linear(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn")
        q, k, v = (part.reshape(len(ids), config["n_head"], -1) for part in np.split(y, 3, -1))
        x = x + linear(attention(q, k, v), f"h.{i}.attn.c_proj")
        y = linear(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc")
        units = 0.5 * y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))
        x = x + linear(units, f"h.{i}.mlp.c_proj")
    return norm(x, "ln_f") @ t["wte.weight"].T


def attention(q, k, v):
    """`[n, H D]` of `[n, H, D]` and twice `[n, K, D]`, head by head, token by token."""
    n, num_heads, size = q.shape
    out = np.zeros((n, num_heads, size))
    for head in range(num_heads):
        shared = head // (num_heads // k.shape[1])
        for i in range(n):
            scores = k[: i + 1, shared] @ q[i, head] / np.sqrt(size)
            weights = np.exp(scores - scores.max())
            out[i, head] = weights / weights.sum() @ v[: i + 1, shared]
    return out.reshape(n, -1)


def _names(tensors, prefix):
    return [
        name.removeprefix(prefix).removesuffix(".weight")
        for name in tensors
        if name.startswith(prefix)
    ]


def write_folder(folder, config, tensors, tokenizer=True):
    """config.json, model.safetensors and tokenizer.json."""
    from safetensors.numpy import save_file

    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    if tokenizer:
        (folder / "tokenizer.json").write_text(small_tokenizer().to_str())
    return folder


def small_tokenizer():
    """Made by the package itself."""
    import tokenizers

    vocabulary = {token: i for i, token in enumerate(TOKENS)}
    merges = [tuple(merge.split()) for merge in MERGES]
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.add_special_tokens(["<|end|>"])
    return backend


GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.layers": "blk",
    "wte": "token_embd",
    "wpe": "position_embd",
    "ln_f": "output_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
}


def gguf_tensors(tensors):
    """By their names in a GGUF file, matrices `[out, in]`; nothing is permuted here."""
    found = {}
    for name, x in tensors.items():
        conv = any(part in name for part in (".c_attn.", ".c_proj.", ".c_fc."))
        new = "blk." + name.removeprefix("h.") if name.startswith("h.") else name
        for theirs, ours in GGUF_NAMES.items():
            new = new.replace(theirs + ".", ours + ".")
        found[new] = np.ascontiguousarray(x.T) if conv and x.ndim == 2 else x
    return found


def write_gguf(path, config, tensors, kinds=None, splitter="gpt-2", **metadata):
    """A file with `tensors` by their names there; `kinds` says in which type, F32 otherwise."""
    import gguf

    writer = gguf.GGUFWriter(path, config["model_type"])
    if config["model_type"] == "llama":
        writer.add_embedding_length(32)
        writer.add_feed_forward_length(64)
        writer.add_block_count(2)
        writer.add_head_count(4)
        writer.add_head_count_kv(2)
        writer.add_context_length(64)
        writer.add_rope_freq_base(config["rope_theta"])
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    else:
        writer.add_embedding_length(32)
        writer.add_feed_forward_length(128)
        writer.add_block_count(2)
        writer.add_head_count(4)
        writer.add_context_length(64)
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splitter)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] + [1] * (VOCABULARY - 1))
    writer.add_token_merges(MERGES)
    writer.add_eos_token_id(0)
    for name, value in metadata.items():
        writer.add_string(name.replace("__", "."), value)
    for name, x in tensors.items():
        kind = (kinds or {}).get(name)
        if kind is None:
            writer.add_tensor(name, x)
        else:
            kind = gguf.GGMLQuantizationType[kind]
            writer.add_tensor(name, gguf.quants.quantize(x, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def permuted(tensors):
    """Queries and keys as a GGUF file has them: pairs that turn together are neighbours."""

    def rows(x):
        heads = x.reshape(-1, 8, x.shape[1])
        order = [j + half for j in range(4) for half in (0, 4)]
        return heads[:, order].reshape(x.shape)

    return {
        name: rows(x) if ".attn_q." in name or ".attn_k." in name else x
        for name, x in tensors.items()
    }
