"""A tokenizer for tests: one token a character."""


class Letters:
    """Each character of `alphabet` is a token; `pairs` are tokens of two."""

    def __init__(self, alphabet, pairs=()):
        self.pieces = [*alphabet, *pairs]

    @property
    def size(self):
        return len(self.pieces)

    def encode(self, text):
        ids = []
        while text:
            piece = max((p for p in self.pieces if text.startswith(p)), key=len)
            ids.append(self.pieces.index(piece))
            text = text[len(piece) :]
        return ids

    def decode(self, ids):
        return "".join(self.pieces[token] for token in ids)

    def piece(self, token):
        return self.pieces[token]

    def __eq__(self, other):
        return isinstance(other, Letters) and self.pieces == other.pieces

    def __hash__(self):
        return hash(tuple(self.pieces))
