"""Exit codes; 0 is done."""

FAILED = 1
WRONG_USE = 2  # or a configuration that can't be used; click's own code for wrong use
INTERRUPTED = 130  # by Ctrl-C, or because the reader of our output has gone
