"""Tasks on orders, reports and the catalogue. They are routed to the queue ``orders``, which a container serves."""

import csv
from io import StringIO

from shop import app, services
from taskq_cloud import BoundTask


# A message can be delivered twice, and a worker can die after the charge but before it stores the result. The task's id
# stays the same over redeliveries and retries, so it serves as the idempotency key: the provider charges once for it.
@app.task(
    bind=True,
    autoretry_for=(services.Busy,),
    retry_backoff=True,
    retry_backoff_max=2,
    max_retries=3,
    throws=(services.Declined,),
)
def charge_card(self: BoundTask, order: int, cents: int) -> str:
    """Charge the card of an order, and return the provider's reference. A busy provider is tried again."""
    return services.charge(order, cents, idempotency_key=self.request.id, attempt=self.request.retries)


@app.task
async def send_receipt(order: int, address: str) -> str:
    """Send the receipt of an order by mail, and return the mail's id."""
    return await services.send_mail(address, f"Your order {order}", "Thank you!")


@app.task(time_limit=2)
def build_report(year: int) -> dict[str, int]:
    """Add up a year's sales. If the archive needs longer than two seconds, the task is stopped."""
    sales = list(services.sales_of(year))
    return {"year": year, "sales": len(sales), "cents": sum(sales)}


@app.task
def import_catalogue(lines: str) -> int:
    """Read the ``name,cents`` lines of a supplier, and return the number of products in them.

    Raises:
        ValueError: a line is not ``name,cents``; the message gives its number.
    """
    products: dict[str, int] = {}
    for number, row in enumerate(csv.reader(StringIO(lines)), start=1):
        try:
            name, cents = row
            products[name] = int(cents)
        except ValueError:
            raise ValueError(f"line {number} is not 'name,cents': {','.join(row)!r}") from None
    return len(products)
