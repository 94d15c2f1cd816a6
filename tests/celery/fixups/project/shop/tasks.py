"""The tasks of the shop, declared for whichever application the project has."""

import os
from importlib import import_module

from shop.models import Order

shared_task = import_module(os.environ["LIBRARY"]).shared_task


@shared_task
def ship(order_id):
    order = Order.objects.get(pk=order_id)
    Order.objects.filter(pk=order_id).update(is_shipped=True)
    return order.title


@shared_task
def count_orders():
    return Order.objects.count()


@shared_task(name="rename-order")
def rename_order(order_id, title):
    Order.objects.filter(pk=order_id).update(title=title)


@shared_task(bind=True, max_retries=3)
def ship_later(self, order_id):
    order = Order.objects.filter(pk=order_id).first()
    if order is None and self.request.retries < 1:
        raise self.retry(countdown=0)
    return None if order is None else order.title, self.request.retries
