"""What the shop works with: a photo bucket, a delivery network, a payment provider, mail, a sales archive.

They are pretended, so that the shop needs no account anywhere, and their troubles are a matter of the order, photo or
year they are asked for: whoever calls a task knows what it must come to.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from hashlib import sha256

PHOTO_WIDTH, PHOTO_HEIGHT = 192, 128
FIRST_ANSWERED_YEAR = 2000


class Busy(ConnectionError):
    """The service has no time now; later it may."""


class Declined(Exception):
    """The bank says no, and will say so again."""


def times_busy(number: int) -> int:
    """How often a service is busy when it is asked about this order or photo, before it answers."""
    return {3: 1, 7: 2, 19: 99}.get(number % 20, 0)


def is_declined(order: int) -> bool:
    """Whether the bank refuses this order's card."""
    return order % 20 == 11


def is_damaged(key: str) -> bool:
    """Whether only half of this photo was uploaded."""
    return int(key.removesuffix(".ppm")) % 15 == 4


def read_photo(key: str) -> bytes:
    """A photo from the bucket: a PPM image."""
    colour = sha256(key.encode()).digest()[:3]
    photo = b"P6\n%d %d\n255\n%s" % (PHOTO_WIDTH, PHOTO_HEIGHT, colour * (PHOTO_WIDTH * PHOTO_HEIGHT))
    return photo[: len(photo) // 2] if is_damaged(key) else photo


def write_photo(key: str, photo: bytes) -> None:
    """Put a photo into the bucket."""
    del key, photo


async def publish(key: str, *, attempt: int) -> str:
    """Put a photo on the delivery network.

    Raises:
        Busy: ask again.
    """
    await asyncio.sleep(0.01)
    if attempt < times_busy(int(key.removesuffix(".ppm"))):
        raise Busy(f"no room for {key} now")
    return f"https://photos.example/{key}"


def charge(order: int, cents: int, *, idempotency_key: str, attempt: int) -> str:
    """Charge a card, once for each idempotency key.

    Raises:
        Busy: ask again.
        Declined: don't.
    """
    if is_declined(order):
        raise Declined(f"the card of order {order} was declined for {cents} cents")
    if attempt < times_busy(order):
        raise Busy(f"the payment provider is busy, attempt {attempt + 1} for order {order}")
    return f"payment-{idempotency_key[:8]}"


async def send_mail(address: str, subject: str, text: str) -> str:
    """Send a mail; returns its id."""
    await asyncio.sleep(0.01)
    return sha256(f"{address}{subject}{text}".encode()).hexdigest()[:12]


def sales_of(year: int) -> Iterator[int]:
    """The amounts of a year's sales, in cents. The tape archive of the first years is very slow."""
    if year < FIRST_ANSWERED_YEAR:
        time.sleep(60)
    yield from range(100, 20_000)
