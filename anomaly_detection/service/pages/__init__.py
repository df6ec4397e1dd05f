"""The inbox: pages of the service, which show what its own API answers."""
