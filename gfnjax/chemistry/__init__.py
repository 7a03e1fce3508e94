"""Molecules of fragments: vocabularies, states, symmetries; RDKit is asked on the host alone."""
