"""Reads that another user's file system or a stuck process can hold up, in a child of their own.

The kernel may wait without end for the arguments and the environment of a process (its pages may
belong to a file whose server is away) and for any file below a process's root. Only the child
waits; the agent asks it, waits for an answer no longer than a budget allows, and replaces it.

`child`, `strings`, `walk`, `places`, `pace`, `rights` and `wire` run in the child, which imports as
little as it can: nothing of rover but each other. `reads`, `supervisor`, `process`, `lane`,
`blame`, `owners` and `records` are the agent's side.
"""
