"""Result stores: one adapter a file, and the registry that finds them by URL."""
