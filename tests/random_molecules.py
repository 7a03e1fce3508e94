"""Molecules drawn at random, as lists of blocks and bonds."""

from gfnjax.chemistry.building import from_blocks


def random_molecule(vocabulary, rng, most=8):
    """A state of 1 to `most` blocks, fewer where the stems run out."""
    num_entries = len(vocabulary.smiles)
    blocks, bonds, used = [int(rng.integers(num_entries))], [], set()
    for _ in range(rng.integers(most)):
        free = [
            (block, position)
            for block, entry in enumerate(blocks)
            for position in range(block != 0, len(vocabulary.attachments[entry]))
            if (block, position) not in used
        ]
        if not free:
            break
        block, position = free[rng.integers(len(free))]
        used.add((block, position))
        entry = int(rng.integers(num_entries))
        atom = vocabulary.attachments[blocks[block]][position]
        bonds.append([block, len(blocks), atom, vocabulary.attachments[entry][0]])
        blocks.append(entry)
    return from_blocks(vocabulary, blocks, bonds, max_blocks=most)
