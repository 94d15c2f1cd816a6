"""Call the tasks, and print their results: ``python -m news``. A worker has to run."""

from news.tasks import digest_of, fetch

print(fetch.delay("world").get(timeout=20))
print(digest_of.delay(["world", "science"]).get(timeout=20))
