"""The command line: one file a command, in ``main`` the group and what errors become.

Command modules import what they need inside their functions, so that ``modelway --version`` and
``modelway route`` never load aiohttp.
"""
