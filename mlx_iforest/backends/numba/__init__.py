"""The backend that Numba compiles for any CPU."""
