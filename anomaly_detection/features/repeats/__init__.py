"""Records that say what others say: copies, amended ones, those of before."""
