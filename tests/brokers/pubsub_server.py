"""A gRPC server with the APIs of Pub/Sub and Cloud Tasks for the tests; ``pubsub_state`` has its messages.

A test can have calls fail, can take permissions away, and can count calls. The server keeps its messages when it is
stopped and started again.
"""

import json
import re
import threading
import time
from base64 import b64decode
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self

import grpc
from google.cloud.tasks_v2 import types as tasks
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.protobuf import any_pb2, empty_pb2
from google.protobuf.message import Message
from google.pubsub_v1 import types as pubsub
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status  # type: ignore[import-untyped]  # the package has no types

from tests.brokers.pubsub_state import DELETED_TOPIC, Fault, State, Subscription

LARGEST_REQUEST_BYTES = 10_000_000
LARGEST_ACKNOWLEDGEMENT_BYTES = 524_288
LONGEST_PULL_SECONDS = 90
LOOK_SECONDS = 0.02


class PubSubServer:
    """A server with the APIs of Pub/Sub and Cloud Tasks.

    Attributes:
        host: the address, for PUBSUB_EMULATOR_HOST and CLOUD_TASKS_EMULATOR_HOST.
        calls: method -> how often it was called.
        denied: the methods that answer with PERMISSION_DENIED.
        tasks: the tasks that Cloud Tasks was given.
        policies: full name of a topic or a subscription -> role -> members.
    """

    def __init__(self, project: str = "test-project") -> None:
        self.project = project
        self.state = State()
        self.calls: Counter[str] = Counter()
        self.denied: set[str] = set()
        self.tasks: list[tasks.Task] = []
        self.task_queues: set[str] = set()
        self.policies: dict[str, dict[str, list[str]]] = {}
        self.host = "127.0.0.1:0"
        self._faults: defaultdict[str, deque[tuple[str, bool, dict[str, str]]]] = defaultdict(deque)
        self._lock = threading.RLock()
        self._server: Any = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        # A server that is started again takes its old port.
        options = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
        self._server = grpc.server(ThreadPoolExecutor(64), options=options)
        self._server.add_generic_rpc_handlers(_handlers(self))
        port = self._server.add_insecure_port(self.host)
        self.host = f"127.0.0.1:{port}"
        self._server.start()

    def stop(self) -> None:
        """Break all connections."""
        self._server.stop(None).wait()

    def advance(self, seconds: float) -> None:
        """Move the server's time ahead."""
        with self._lock:
            self.state.advance(seconds)

    def fail_next(
        self,
        method: str,
        code: str,
        *,
        after: bool = False,
        times: int = 1,
        details: Mapping[str, str] | None = None,
    ) -> None:
        """Answer the next calls of a method with a status, either before or after they take effect."""
        self._faults[method].extend([(code, after, dict(details or {}))] * times)

    def make_topic(self, name: str) -> str:
        topic = f"projects/{self.project}/topics/{name}"
        with self._lock:
            self.state.topics.add(topic)
        return topic

    def make_queue(self, name: str, **options: Any) -> Subscription:
        """Make a topic and its subscription."""
        topic = self.make_topic(name)
        subscription = Subscription(f"projects/{self.project}/subscriptions/{name}", topic, **options)
        with self._lock:
            self.state.subscriptions[subscription.name] = subscription
        return subscription

    def left(self, name: str) -> int:
        """Count the messages that a subscription still has."""
        with self._lock:
            return len(self.state.subscriptions[f"projects/{self.project}/subscriptions/{name}"].messages)

    def send_copies(self, name: str, count: int) -> None:
        """Publish messages of a queue once more, as if the service delivered them twice."""
        subscription = self.state.subscriptions[f"projects/{self.project}/subscriptions/{name}"]
        with self._lock:
            stored = list(subscription.messages.values())[:count]
            self.state.publish(subscription.topic, [(each.data, each.attributes, each.ordering_key) for each in stored])

    def answer(self, method: str, request: Any, context: Any) -> Any:
        """Answer a call."""
        details: dict[str, str] = {}
        with self._lock:
            self.calls[method] += 1
            code, after, details = self._faults[method].popleft() if self._faults[method] else ("", False, {})
        try:
            if code and not after:
                raise Fault(code, "as ordered", details)
            if method in self.denied:
                raise Fault("PERMISSION_DENIED", "User not authorized to perform this action.")
            snake_case = re.sub("(?<!^)([A-Z])", r"_\1", method).lower()
            result = getattr(self, f"_{snake_case}")(request, context)
            if code:
                raise Fault(code, "as ordered", details)
        except Fault as fault:
            return _abort(context, fault)
        return result

    # -- Publisher

    def _publish(self, request: Any, context: Any) -> Any:
        self._check_project(request.topic)
        size = pubsub.PublishRequest.pb(request).ByteSize()
        if size > LARGEST_REQUEST_BYTES or not 0 < len(request.messages) <= 1_000:
            raise Fault("INVALID_ARGUMENT", f"The request has {size} bytes and {len(request.messages)} messages.")
        messages = [(m.data, dict(m.attributes), m.ordering_key) for m in request.messages]
        for data, attributes, _ in messages:
            wrong = [k for k, v in attributes.items() if k.startswith("goog") or len(k) > 256 or len(v.encode()) > 1024]
            if wrong or not (data or attributes) or len(attributes) > 100:
                raise Fault("INVALID_ARGUMENT", f"wrong attributes {wrong}, or no data")
        with self._lock:
            return pubsub.PublishResponse(message_ids=self.state.publish(request.topic, messages))

    def _list_topic_subscriptions(self, request: Any, context: Any) -> Any:
        with self._lock:
            if request.topic not in self.state.topics:
                raise Fault("NOT_FOUND", f"Resource not found (resource={request.topic.rpartition('/')[2]}).")
            names = [each.name for each in self.state.subscriptions.values() if each.topic == request.topic]
        return pubsub.ListTopicSubscriptionsResponse(subscriptions=names[: request.page_size or None])

    def _delete_topic(self, request: Any, context: Any) -> Any:
        with self._lock:
            self.state.topics.discard(request.topic)
            for subscription in self.state.subscriptions.values():
                if subscription.topic == request.topic:
                    subscription.topic = DELETED_TOPIC
        return empty_pb2.Empty()

    # -- Subscriber

    def _get_subscription(self, request: Any, context: Any) -> Any:
        self._check_project(request.subscription)
        with self._lock:
            found = self.state.subscription(request.subscription)
        described = pubsub.Subscription(
            name=found.name,
            topic=found.topic,
            ack_deadline_seconds=found.ack_deadline_seconds,
            enable_message_ordering=found.ordered,
            enable_exactly_once_delivery=found.exactly_once,
            push_config=pubsub.PushConfig(push_endpoint=found.push_endpoint),
        )
        if found.dead_letter_topic:
            described.dead_letter_policy = pubsub.DeadLetterPolicy(
                dead_letter_topic=found.dead_letter_topic, max_delivery_attempts=found.max_delivery_attempts
            )
        if found.ttl_seconds:
            described.expiration_policy = pubsub.ExpirationPolicy(ttl=timedelta(seconds=found.ttl_seconds))
        return described

    def _get_iam_policy(self, request: Any, _: Any) -> policy_pb2.Policy:
        if request.resource not in {*self.state.topics, *self.state.subscriptions}:
            raise Fault("NOT_FOUND", f"Resource not found (resource={request.resource.rpartition('/')[2]}).")
        roles = self.policies.get(request.resource, {})
        bindings = [policy_pb2.Binding(role=role, members=members) for role, members in roles.items()]
        return policy_pb2.Policy(bindings=bindings)

    def _pull(self, request: Any, context: Any) -> Any:
        self._check_project(request.subscription)
        ends_at = time.monotonic() + LONGEST_PULL_SECONDS
        while True:
            with self._lock:
                # A message delivered to a caller that is gone would come back only when its deadline is over.
                claimed = self.state.pull(request.subscription, request.max_messages) if context.is_active() else []
                counts = bool(self.state.subscription(request.subscription).dead_letter_topic)
                received = [_received(stored, counts=counts) for stored in claimed]
            if received or request.return_immediately or time.monotonic() > ends_at or not context.is_active():
                return pubsub.PullResponse(received_messages=received)
            time.sleep(LOOK_SECONDS)

    def _acknowledge(self, request: Any, context: Any) -> Any:
        _check_size(pubsub.AcknowledgeRequest.pb(request).ByteSize())
        with self._lock:
            self.state.acknowledge(request.subscription, list(request.ack_ids))
        return empty_pb2.Empty()

    def _modify_ack_deadline(self, request: Any, context: Any) -> Any:
        _check_size(pubsub.ModifyAckDeadlineRequest.pb(request).ByteSize())
        with self._lock:
            self.state.modify(request.subscription, list(request.ack_ids), request.ack_deadline_seconds)
        return empty_pb2.Empty()

    def _seek(self, request: Any, context: Any) -> Any:
        with self._lock:
            self.state.seek(request.subscription, request.time.timestamp())
        return pubsub.SeekResponse()

    # -- Cloud Tasks

    def _create_task(self, request: Any, context: Any) -> Any:
        if request.parent not in self.task_queues:
            raise Fault("NOT_FOUND", "Queue does not exist.")
        task = request.task
        task.name = f"{request.parent}/tasks/{len(self.tasks) + 1}"
        if tasks.Task.pb(task).ByteSize() > 1_000_000:
            raise Fault("INVALID_ARGUMENT", "Task size too large")
        due_at = task.schedule_time.timestamp()
        if due_at > self.state.now() + 30 * 86_400:
            raise Fault("INVALID_ARGUMENT", "The Task.scheduleTime is too far in the future.")
        with self._lock:
            self.tasks.append(task)
            self.state.at(due_at, lambda: self._dispatch(task.http_request))
        return task

    def _dispatch(self, request: Any) -> None:
        """Publish the messages that a task of Cloud Tasks posts, as Pub/Sub's REST method does."""
        topic = request.url.removeprefix("https://pubsub.googleapis.com/v1/").removesuffix(":publish")
        messages = json.loads(request.body)["messages"]
        self.state.publish(
            topic, [(b64decode(m["data"]), m.get("attributes", {}), m.get("orderingKey", "")) for m in messages]
        )

    def _check_project(self, name: str) -> None:
        project = name.split("/")[1]
        if project != self.project:
            raise Fault(
                "NOT_FOUND",
                f"Requested project not found or user does not have access to it (project={project}). Make sure to "
                "specify the unique project identifier and not the Google Cloud Console display name.",
            )


def _received(stored: Any, *, counts: bool) -> pubsub.ReceivedMessage:
    message = pubsub.PubsubMessage(
        data=stored.data,
        attributes=stored.attributes,
        message_id=stored.message_id,
        publish_time=datetime.fromtimestamp(stored.published_at, UTC),
        ordering_key=stored.ordering_key,
    )
    return pubsub.ReceivedMessage(
        ack_id=stored.ack_id, message=message, delivery_attempt=stored.attempts if counts else 0
    )


def _check_size(size: int) -> None:
    if size > LARGEST_ACKNOWLEDGEMENT_BYTES:
        raise Fault("INVALID_ARGUMENT", f"Request payload size exceeds the limit: {size} bytes.")


def _abort(context: Any, fault: Fault) -> None:
    status = status_pb2.Status(code=grpc.StatusCode[fault.code].value[0], message=str(fault))
    if fault.details:
        info = error_details_pb2.ErrorInfo(reason="INVALID", domain="pubsub.googleapis.com", metadata=fault.details)
        packed = any_pb2.Any()
        packed.Pack(info)
        status.details.append(packed)
    context.abort_with_status(rpc_status.to_status(status))


def _handlers(server: PubSubServer) -> list[Any]:
    services: dict[str, dict[str, Any]] = {
        "google.pubsub.v1.Publisher": {
            "Publish": pubsub.PublishRequest,
            "ListTopicSubscriptions": pubsub.ListTopicSubscriptionsRequest,
            "DeleteTopic": pubsub.DeleteTopicRequest,
        },
        "google.pubsub.v1.Subscriber": {
            "GetSubscription": pubsub.GetSubscriptionRequest,
            "Pull": pubsub.PullRequest,
            "Acknowledge": pubsub.AcknowledgeRequest,
            "ModifyAckDeadline": pubsub.ModifyAckDeadlineRequest,
            "Seek": pubsub.SeekRequest,
        },
        "google.cloud.tasks.v2.CloudTasks": {"CreateTask": tasks.CreateTaskRequest},
    }
    services["google.iam.v1.IAMPolicy"] = {"GetIamPolicy": _PolicyRequest}
    return [service_handler(server.answer, name, requests) for name, requests in services.items()]


class _PolicyRequest:
    """A request of IAM, whose messages are plain ones, in the form of the other APIs."""

    deserialize = iam_policy_pb2.GetIamPolicyRequest.FromString


def service_handler(answer: Callable[[str, Any, Any], Any], service: str, requests: Mapping[str, Any]) -> Any:
    """Make the handler of a gRPC service.

    Args:
        answer: is called with a method's name, the request and the call's context, and returns the response.
        service: the full name of the service.
        requests: method -> the class of its requests.
    """
    methods = {
        method: grpc.unary_unary_rpc_method_handler(
            partial(answer, method), request_deserializer=kind.deserialize, response_serializer=_serialize
        )
        for method, kind in requests.items()
    }
    return grpc.method_handlers_generic_handler(service, methods)


def _serialize(response: Any) -> bytes:
    serialized: bytes = (
        response.SerializeToString() if isinstance(response, Message) else type(response).serialize(response)
    )
    return serialized
