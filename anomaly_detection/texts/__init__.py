"""What people read: texts that can be said in other languages, and the catalogues of these."""
