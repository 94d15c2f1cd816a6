"""The tasks of the reports."""

import os
from importlib import import_module

shared_task = import_module(os.environ["LIBRARY"]).shared_task


@shared_task
def report():
    from shop.models import Order

    return [str(order) for order in Order.objects.order_by("pk")]
