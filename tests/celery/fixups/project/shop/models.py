"""The models of the shop."""

from django.db import models


class Order(models.Model):
    """An order, which a task ships."""

    title = models.CharField(max_length=100)
    is_shipped = models.BooleanField(default=False)

    def __str__(self) -> str:
        return str(self.title)
