"""Backends: how each kind of server is asked, behind the one Protocol of ``base``.

``factory.make_backend`` makes the one that a configuration asks for and imports only its package:
``ollama`` (its own protocol), ``openai_compat`` (any server with OpenAI's routes), ``llama_cpp`` (child
processes of our own), ``mock`` (a scripted server, for dry runs). ``wire`` is what they share.
"""
