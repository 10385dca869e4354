"""The gateway: one address for many models, in the protocols that programs already speak.

A request passes the guard (who may ask, in what form), is translated by the protocol's parser into the
conductor's terms, and its events are framed back into the same protocol. The gateway decides nothing
about models: it reads the conductor's events and shows them.
"""
