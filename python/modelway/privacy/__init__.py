"""What must be known before anything is sent: where a server stands, and how free its models are."""
