"""Result stores: one adapter for each service, and the registry that finds an adapter by its URL."""
