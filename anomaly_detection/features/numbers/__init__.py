"""Numbers beside what foretells them: groups, other numbers, exact ties, what they always were."""
