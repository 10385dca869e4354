"""What the protocols share on the wire: ``lines`` (bytes to records), ``records`` (records to objects),
``exchange`` (one request and its deadlines) and ``refusals`` (a server's no, as an error)."""
