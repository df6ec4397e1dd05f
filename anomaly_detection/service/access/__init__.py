"""Who may do what: users, keys, sessions, and what is masked."""
