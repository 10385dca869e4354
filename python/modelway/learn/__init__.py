"""Learning: measuring the classifier on labelled prompts, and training weights of one's own, on this machine.

Loaded by the commands ``modelway eval`` and ``modelway train`` alone. numpy is an extra of the package
(``modelway[learn]``): nothing that routes needs it.
"""
