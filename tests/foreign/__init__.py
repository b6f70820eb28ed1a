"""Stand-ins for services of the Go example: they know the contract and nothing else of this project."""
