"""Our own API, ``/v1``: what each operation does, in a module a noun."""
