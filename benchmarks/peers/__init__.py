"""Other libraries on the same problems, through their public interfaces.

Each file here runs with the Python of that library's environment (`python -m benchmarks peers`),
where gfnjax cannot be imported.
"""
