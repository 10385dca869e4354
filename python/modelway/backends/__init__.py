"""Backends: how each kind of server is asked, behind the one Protocol of ``base``.

``factory.make_backend`` makes the one that a configuration asks for and imports only its module:
``ollama`` (native protocol), ``openai_compat`` (any server with OpenAI's routes), ``llama_cpp`` (child
processes of our own), ``mock_backend`` (a scripted server, for dry runs). What they share: ``lines``
(bytes to records), ``records`` (records to objects), ``exchange`` (one request and its deadlines) and
``refusals`` (a server's no, as an error).
"""
