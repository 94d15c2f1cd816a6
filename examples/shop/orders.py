"""Tasks on orders, receipts, reports and the catalogue. They go to the queue ``orders``, which a container serves."""

import csv
from io import StringIO

from shop import app, services
from taskq_cloud import BoundTask


# A message can be delivered twice, and a worker can die between the charge and the result. So the provider is given the
# task's id, which stays the same over redeliveries and retries, and charges once for each id.
@app.task(
    bind=True,
    autoretry_for=(services.Busy,),
    retry_backoff=True,
    retry_backoff_max=2,
    max_retries=3,
    throws=(services.Declined,),
)
def charge_card(self: BoundTask, order: int, cents: int) -> str:
    """Charge an order's card; returns the provider's reference. A busy provider is asked again, a refusal stands."""
    return services.charge(order, cents, idempotency_key=self.request.id, attempt=self.request.retries)


@app.task
async def send_receipt(order: int, address: str) -> str:
    """Send the receipt of an order by mail."""
    return await services.send_mail(address, f"Your order {order}", "Thank you!")


@app.task(time_limit=2)
def build_report(year: int) -> dict[str, int]:
    """Add up a year's sales. Two seconds are enough where the archive answers; where it does not, the task is ended."""
    sales = list(services.sales_of(year))
    return {"year": year, "sales": len(sales), "cents": sum(sales)}


@app.task
def import_catalogue(lines: str) -> int:
    """Read a supplier's ``name,cents`` lines; returns how many products they hold.

    Raises:
        ValueError: a line is wrong; says which.
    """
    products: dict[str, int] = {}
    for number, row in enumerate(csv.reader(StringIO(lines)), start=1):
        try:
            name, cents = row
            products[name] = int(cents)
        except ValueError:
            raise ValueError(f"line {number} is not 'name,cents': {','.join(row)!r}") from None
    return len(products)
