"""The chords of a backend that can't count members by itself, and hooks of Celery's that mean nothing here."""

from __future__ import annotations

from typing import Any

from taskq_cloud.celery.exceptions import NotRegistered

_ROUTING = ("exchange", "exchange_type", "routing_key", "headers")


class Chords:
    """The part of ``Backend`` that starts chords."""

    app: Any

    def ensure_chords_allowed(self) -> None:
        """Refuse chords if the backend can't have any."""

    def add_to_chord(self, chord_id: Any, result: Any) -> Any:
        """Add a result to a chord that runs.

        Raises:
            NotImplementedError: always; a task adds to its chord by ``self.add_to_chord``.
        """
        raise NotImplementedError("Backend does not support add_to_chord")

    def set_chord_size(self, group_id: Any, chord_size: int) -> None:
        """Tell the backend how many members a chord has; the members' messages say it themselves."""

    def apply_chord(self, header_result_args: Any, body: Any, **kwargs: Any) -> None:
        """Prepare the chord of a header, before the header is sent.

        Args:
            header_result_args: the arguments of the header's result.
            body: the body's signature.
            kwargs: as for ``fallback_chord_unlock``.
        """
        self.ensure_chords_allowed()
        self.fallback_chord_unlock(self.app.GroupResult(*header_result_args), body, **kwargs)

    def fallback_chord_unlock(self, header_result: Any, body: Any, countdown: float = 1, **kwargs: Any) -> None:
        """Call the task that waits for the end of a header, and then calls the body.

        Args:
            header_result: the header's result.
            body: the body's signature.
            countdown: the seconds until the task looks for the first time.
            kwargs: arguments of the task.
        """
        kwargs["result"] = [each.as_tuple() for each in header_result]
        try:
            kind = getattr(body, "type", None)
        except NotRegistered:
            kind = None
        queue = body.options.get("queue", getattr(kind, "queue", None))
        if queue is None:
            queue = self.app.amqp.router.route(kwargs, body.name)["queue"].name
        stamps = body.options.get("stamped_headers", ())
        routing = {name: body.options.get(name) for name in _ROUTING if name not in stamps}
        routing = {name: value for name, value in routing.items() if value is not None}
        if "exchange_type" not in routing:
            try:
                known = self.app.amqp.queues[queue] if isinstance(queue, str) else queue
                routing["exchange_type"] = known.exchange.type
            except (AttributeError, KeyError):
                routing.pop("exchange_type", None)
        if "exchange_type" in routing:
            kwargs["_chord_unlock_exchange_type"] = routing["exchange_type"]
        self.app.tasks["celery.chord_unlock"].apply_async(
            (header_result.id, body),
            kwargs,
            countdown=countdown,
            queue=queue,
            priority=body.options.get("priority", getattr(kind, "priority", 0)),
            **routing,
        )

    def on_task_call(self, producer: Any, task_id: Any) -> dict[str, Any]:
        """Called before a task's message is sent; returns further properties of the message."""
        return {}

    def cleanup(self) -> None:
        """Remove expired results, if the store doesn't do so by itself."""

    def process_cleanup(self) -> None:
        """Called at the end of a worker's process."""
