"""A campaign of damaged files and odd arguments: ``python -m tests.fuzz --cases 100000``.

A *kind* is a format or an interface. A *case* of a kind is a payload of bytes that a seed and a
number determine. Every case runs in a child process, which may crash or hang.
"""
