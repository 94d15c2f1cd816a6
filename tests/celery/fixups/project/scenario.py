"""Runs the project as Celery's guide for Django tells, and prints what each part gives as JSON."""

import json
import os
import sys
import time
import warnings
from importlib import import_module
from typing import Any

LIBRARY = os.environ["LIBRARY"]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")

import django

django.setup()

from django.core.management import call_command
from django.db import connection, transaction
from proj import celery_app as app
from proj.celery import debug_task
from shop.models import Order
from shop.tasks import count_orders, rename_order, ship, ship_later

found: dict[str, Any] = {}


def get(result: Any) -> Any:
    return result.get(timeout=10, interval=0.01)


def raised(function: Any) -> str:
    try:
        function()
    except Exception as error:
        return type(error).__name__
    return "nothing"


call_command("migrate", verbosity=0, run_syncdb=True)
found["settings"] = [
    app.conf.task_default_queue,
    app.conf.task_time_limit,
    str(app.timezone),
    sorted(app.conf.beat_schedule),
    app.conf.broker_url == os.environ.get("BROKER", "memory://"),
]
found["fixup"] = [type(each).__name__ for each in app._fixups]
found["task class"] = [app.Task.__mro__[1].__name__, hasattr(ship, "delay_on_commit"), isinstance(ship, app.Task)]
before = sorted(name for name in app.tasks if not name.startswith("celery."))
app.loader.import_default_modules()
found["discovered"] = [before, sorted(name for name in app.tasks if not name.startswith("celery."))]
found["as functions"] = [count_orders(), raised(lambda: ship(1)), debug_task().startswith("Request: ")]

order = Order.objects.create(title="book")
found["in place"] = [ship.apply((order.pk,)).get(), Order.objects.get(pk=order.pk).is_shipped]

start_worker = import_module(f"{LIBRARY}.contrib.testing.worker").start_worker
with start_worker(app, perform_ping_check=False, pool="solo", loglevel="CRITICAL"):
    found["delayed"] = [get(count_orders.delay()), get(ship.delay(order.pk)), raised(lambda: get(ship.delay(99)))]
    found["workflow"] = get((rename_order.si(order.pk, "novel") | ship.si(order.pk)).apply_async())
    found["by name"] = get(app.send_task("reports.tasks.report"))
    found["retried"] = list(get(ship_later.delay(77)))

    with transaction.atomic():
        second = Order.objects.create(title="second")
        inside = [
            ship.delay_on_commit(second.pk),
            rename_order.apply_async_on_commit((second.pk, "renamed"), countdown=0),
        ]
        found["on commit, before"] = [inside, len(connection.run_on_commit)]
    for _ in range(1000):
        if Order.objects.filter(pk=second.pk, is_shipped=True, title="renamed").exists():
            break
        time.sleep(0.01)
    found["on commit, after"] = Order.objects.filter(pk=second.pk, is_shipped=True, title="renamed").exists()

    def rolled_back() -> None:
        with transaction.atomic():
            ship.delay_on_commit(order.pk)
            raise ValueError

    Order.objects.update(is_shipped=False)
    found["rolled back"] = [
        raised(rolled_back),
        get(count_orders.delay()),
        Order.objects.filter(is_shipped=True).count(),
    ]
    found["outside of transactions"] = ship.delay_on_commit(order.pk)

app.conf.task_always_eager = True
with transaction.atomic():
    ship.delay_on_commit(second.pk)
found["eager"] = [Order.objects.get(pk=second.pk).is_shipped, count_orders.delay().get()]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    os.environ["CELERY_LOADER"] = "django"
    found["loader of django-celery"] = raised(lambda: type(app)("other", set_as_current=False))
    found["warnings"] = sorted({each.category.__name__ for each in caught})
sys.stdout.write(json.dumps(found) + "\n")
