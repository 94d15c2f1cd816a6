"""Tasks on photos. They are routed to the queue ``images``, which the Lambda function serves."""

from shop import app, services
from taskq_cloud import BoundTask


class NotAPhoto(ValueError):
    """The bytes are not an image that can be read."""


@app.task(time_limit=10, throws=(NotAPhoto,))
def resize_photo(key: str, width: int) -> dict[str, int | str]:
    """Make a photo at most ``width`` pixels wide, and return the key and size of the small photo."""
    small = scaled(services.read_photo(key), width)
    small_key = f"{width}/{key}"
    services.write_photo(small_key, small)
    return {"key": small_key, "bytes": len(small)}


@app.task(
    bind=True, time_limit=10, autoretry_for=(services.Busy,), retry_backoff=True, retry_backoff_max=2, max_retries=3
)
async def publish_photo(self: BoundTask, key: str) -> str:
    """Upload a photo to the content delivery network, and return its address. A busy network is tried again."""
    return await services.publish(key, attempt=self.request.retries)


def scaled(photo: bytes, width: int) -> bytes:
    """Return a binary PPM image that is at most ``width`` pixels wide; each pixel is the mean of a square of pixels.

    Raises:
        NotAPhoto: the bytes are not a complete binary PPM image.
    """
    try:
        kind, size, depth, pixels = photo.split(b"\n", 3)
        old_width, old_height = map(int, size.split())
    except ValueError:
        raise NotAPhoto("this is not a PPM image") from None
    if (kind, depth) != (b"P6", b"255") or len(pixels) != 3 * old_width * old_height:
        raise NotAPhoto(f"a PPM image of {old_width} x {old_height} pixels can't have {len(pixels)} bytes")
    step = -(-old_width // width)
    new_width, new_height = old_width // step, old_height // step
    small = bytearray()
    for top in range(0, new_height * step, step):
        for left in range(0, new_width * step, step):
            square = [3 * (y * old_width + x) for y in range(top, top + step) for x in range(left, left + step)]
            small.extend(sum(pixels[at + colour] for at in square) // len(square) for colour in range(3))
    return b"P6\n%d %d\n255\n%s" % (new_width, new_height, small)
