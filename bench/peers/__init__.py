"""Other programs beside this one: an adapter per peer, which calls the peer's own code unchanged."""
