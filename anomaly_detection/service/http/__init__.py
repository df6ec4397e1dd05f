"""Requests and answers: the application, bodies, shapes, limits, CryptaNet's contract."""
