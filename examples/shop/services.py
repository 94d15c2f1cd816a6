"""Simulated services of the shop: a photo bucket, a delivery network, a payment provider, mail and a sales archive.

They need no account. Their failures depend only on the number of the order, photo or year, so the outcome of every call
is known in advance.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from hashlib import sha256

PHOTO_WIDTH, PHOTO_HEIGHT = 192, 128
FIRST_FAST_YEAR = 2000


class Busy(ConnectionError):
    """The service is busy; a later attempt may succeed."""


class Declined(Exception):
    """The bank has declined the card; another attempt would not help."""


def times_busy(number: int) -> int:
    """Return how many attempts for this order or photo find a service busy, before one succeeds."""
    return {3: 1, 7: 2, 19: 99}.get(number % 20, 0)


def is_declined(order: int) -> bool:
    """Return whether the bank declines the card of this order."""
    return order % 20 == 11


def is_damaged(key: str) -> bool:
    """Return whether only half of this photo was uploaded."""
    return int(key.removesuffix(".ppm")) % 15 == 4


def read_photo(key: str) -> bytes:
    """Return a photo from the bucket, a PPM image."""
    colour = sha256(key.encode()).digest()[:3]
    photo = b"P6\n%d %d\n255\n%s" % (PHOTO_WIDTH, PHOTO_HEIGHT, colour * (PHOTO_WIDTH * PHOTO_HEIGHT))
    return photo[: len(photo) // 2] if is_damaged(key) else photo


def write_photo(key: str, photo: bytes) -> None:
    """Write a photo to the bucket."""
    del key, photo


async def publish(key: str, *, attempt: int) -> str:
    """Upload a photo to the delivery network, and return its address.

    Raises:
        Busy: the network has no room for the photo now.
    """
    await asyncio.sleep(0.01)
    if attempt < times_busy(int(key.removesuffix(".ppm"))):
        raise Busy(f"the delivery network has no room for {key} now")
    return f"https://photos.example/{key}"


def charge(order: int, cents: int, *, idempotency_key: str, attempt: int) -> str:
    """Charge a card once for each idempotency key, and return the provider's reference.

    Raises:
        Busy: the payment provider is busy.
        Declined: the bank has declined the card.
    """
    if is_declined(order):
        raise Declined(f"the card of order {order} was declined for {cents} cents")
    if attempt < times_busy(order):
        raise Busy(f"the payment provider is busy, attempt {attempt + 1} for order {order}")
    return f"payment-{idempotency_key[:8]}"


async def send_mail(address: str, subject: str, text: str) -> str:
    """Send a mail, and return its id."""
    await asyncio.sleep(0.01)
    return sha256(f"{address}{subject}{text}".encode()).hexdigest()[:12]


def sales_of(year: int) -> Iterator[int]:
    """Yield the amounts of a year's sales, in cents. The archive of the years before 2000 takes a minute to answer."""
    if year < FIRST_FAST_YEAR:
        time.sleep(60)
    yield from range(100, 20_000)
