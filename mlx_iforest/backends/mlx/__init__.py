"""The backend on MLX: Metal, CUDA, or its CPU operations."""
