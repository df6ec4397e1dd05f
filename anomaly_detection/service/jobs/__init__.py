"""Long work: jobs as rows with leases, and the processes that do them."""
