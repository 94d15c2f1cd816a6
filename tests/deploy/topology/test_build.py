"""Tests of ``build``: the runtime of each queue, and the limits that follow from the options of its tasks."""

from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.deploy.topology.model import Pollers, Topology
from taskq_cloud.errors import ImproperlyConfigured


def declare(app: TaskQ, name: str, **options: Any) -> None:
    app.task(name=name, bind=False, **options)(lambda: None)


def make(tasks: dict[str, dict[str, Any]], **settings: Any) -> Topology:
    app = TaskQ("shop", **{"broker": "sqs://eu-west-1/shop-", "results": "dynamodb://shop-results", **settings})
    for name, options in tasks.items():
        declare(app, name, **options)
    return app.topology()


def refused(tasks: dict[str, dict[str, Any]], **settings: Any) -> str:
    with pytest.raises(ImproperlyConfigured) as caught:
        make(tasks, **settings)
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "runtime"),
    [
        ({"time_limit": 30}, "lambda"),
        ({"time_limit": 1797}, "lambda"),
        ({"time_limit": 1798}, "container"),
        ({}, "container"),
        ({"time_limit": 30, "memory_mb": 10_240}, "lambda"),
        ({"time_limit": 30, "memory_mb": 10_241}, "container"),
        ({"time_limit": 30, "runtime": "container"}, "container"),
        ({"time_limit": 30, "runtime": "lambda"}, "lambda"),
    ],
)
def test_task_gets_runtime_that_it_fits(options: dict[str, Any], runtime: str) -> None:
    topology = make({"a": options}, task_default_queue="work")
    assert topology.queue_named("work").runtime == runtime
    assert topology.queue_named("work").tasks[0].runtime == runtime
    assert [each.queue for each in topology.functions] == (["work"] if runtime == "lambda" else [])
    assert [each.queues for each in topology.services] == ([("work",)] if runtime == "container" else [])


def test_task_without_time_limit_uses_the_setting() -> None:
    topology = make({"a": {}}, task_time_limit=20)
    assert topology.queue_named("celery").runtime == "lambda"
    assert topology.queue_named("celery").tasks[0].time_limit_seconds == 20


def test_auto_tasks_share_the_container_that_one_task_needs() -> None:
    tasks = make({"short": {"time_limit": 5}, "long": {"time_limit": 5000}}).queue_named("celery").tasks
    assert [(each.name, each.runtime) for each in tasks] == [("long", "container"), ("short", "container")]
    assert tasks[1].reason == "it shares its queue with long"


def test_two_runtimes_on_one_queue_are_refused_with_a_remedy() -> None:
    error = refused({"fast": {"time_limit": 5, "runtime": "lambda"}, "slow": {"time_limit": 5, "runtime": "container"}})
    for said in (
        "'celery'",
        "fast has runtime='lambda'",
        "slow needs a container",
        "its own queue",
        "task_routes",
    ):
        assert said in error


@pytest.mark.parametrize("options", [{"time_limit": 5000}, {}], ids=["long", "unlimited"])
def test_lambda_runtime_is_refused_for_task_that_does_not_fit(options: dict[str, Any]) -> None:
    assert "can't run in a Lambda function as runtime='lambda' asks" in refused({"a": {"runtime": "lambda", **options}})


@pytest.mark.parametrize(
    ("limit", "batch", "timeout"),
    [(1, 10, 13), (12, 10, 123), (30, 4, 123), (60, 2, 123), (90, 1, 93), (500, 1, 503), (1797, 1, 1800)],
)
def test_function_timeout_lasts_for_whole_batch(limit: float, batch: int, timeout: int) -> None:
    topology = make({"a": {"time_limit": limit}, "b": {"time_limit": 0.5}})
    (function,) = topology.functions
    assert (function.batch_size, function.timeout_seconds) == (batch, timeout)
    assert topology.queue_named("celery").visibility_timeout_seconds == 6 * timeout


@pytest.mark.parametrize(("limit", "runtime"), [(897, "lambda"), (898, "container")])
def test_longest_timeout_of_functions_can_be_lowered(limit: float, runtime: str) -> None:
    topology = make({"a": {"time_limit": limit}}, deployment={"longest_function_seconds": 900})
    assert topology.queue_named("celery").runtime == runtime


def test_batch_fits_into_longest_timeout() -> None:
    options = {"longest_function_seconds": 60, "function": {"batch_size": 10}}
    (own,) = make({"a": {"time_limit": 20}}, deployment=options).functions
    (usual,) = make({"a": {"time_limit": 20}}, deployment={"longest_function_seconds": 60}).functions
    assert [(each.batch_size, each.timeout_seconds) for each in (own, usual)] == [(10, 60), (2, 43)]


def test_provisioned_pollers_take_the_place_of_a_maximum_concurrency() -> None:
    options = {"function": {"provisioned_pollers": {"maximum": 50}}}
    (function,) = make({"a": {"time_limit": 20}}, deployment=options).functions
    assert function.maximum_concurrency is None
    assert function.provisioned_pollers == Pollers(minimum=2, maximum=50)


def test_batching_window_is_added_to_visibility_timeout() -> None:
    topology = make(
        {"a": {"time_limit": 10}}, deployment={"function": {"batch_size": 50, "batching_window_seconds": 20}}
    )
    (function,) = topology.functions
    assert (function.batch_size, function.timeout_seconds) == (50, 503)
    assert topology.queue_named("celery").visibility_timeout_seconds == 6 * 503 + 20


@pytest.mark.parametrize(("limit", "visibility"), [(30, 90), (3600, 3600), (86_400, 43_200)])
def test_visibility_timeout_of_container_queue_covers_longest_task(limit: float, visibility: int) -> None:
    topology = make({"a": {"time_limit": limit, "runtime": "container"}}, visibility_timeout=90)
    assert topology.queue_named("celery").visibility_timeout_seconds == visibility


@pytest.mark.parametrize(("receives", "count"), [(1, 5), (5, 5), (8, 8)])
def test_max_receive_count_is_at_least_the_limit_of_the_worker(receives: int, count: int) -> None:
    queue = make({"a": {}}, task_max_receives=receives).queue_named("celery")
    assert queue.max_receive_count == count
    assert queue.dead_letter_queue.name == "shop-celery-dead"
    assert queue.dead_letter_queue.message_retention_seconds > queue.message_retention_seconds


def test_fifo_queue_has_fifo_dead_letter_queue_and_own_function() -> None:
    topology = make({"a": {"queue": "mail.fifo", "time_limit": 5}, "b": {"queue": "mail", "time_limit": 5}})
    queue = topology.queue_named("mail.fifo")
    assert (queue.name, queue.fifo, queue.dead_letter_queue.name) == ("shop-mail.fifo", True, "shop-mail-dead.fifo")
    assert len({each.name for each in topology.functions}) == 3
    assert len({each.name for each in topology.roles}) == len(topology.roles)


def test_queue_without_tasks_follows_the_other_queues() -> None:
    assert make({"a": {"queue": "work", "time_limit": 5}}).queue_named("celery").runtime == "lambda"
    assert make({"a": {"queue": "work"}}).queue_named("celery").runtime == "container"


def test_function_has_memory_of_its_largest_task() -> None:
    tasks = {"a": {"time_limit": 5, "memory_mb": 900}, "b": {"time_limit": 5, "memory_mb": 1500}}
    assert make(tasks).functions[0].memory_mb == 1500
    assert make(tasks, deployment={"functions": {"celery": {"memory_mb": 3008}}}).functions[0].memory_mb == 3008


def test_options_of_one_function_override_common_options() -> None:
    deployment = {
        "function": {"memory_mb": 256, "maximum_concurrency": 7},
        "functions": {"b": {"memory_mb": 2048, "environment": {"KEY": "value"}}},
    }
    tasks = {"one": {"queue": "a", "time_limit": 5}, "two": {"queue": "b", "time_limit": 5}}
    first, second = make(tasks, task_default_queue="a", deployment=deployment).functions
    assert (first.memory_mb, first.maximum_concurrency) == (256, 7)
    assert (second.memory_mb, second.maximum_concurrency, second.environment["KEY"]) == (2048, 7, "value")
    assert "KEY" not in first.environment


def test_unnamed_queues_go_to_service_without_queues() -> None:
    tasks = {name: {"queue": name} for name in ("a", "b", "c")}
    services = {"heavy": {"queues": ["b"], "memory_mb": 8192}}
    topology = make(tasks, task_default_queue="a", deployment={"services": services})
    assert {each.name: each.queues for each in topology.services} == {"shop-heavy": ("b",), "shop-worker": ("a", "c")}
    assert topology.services[1].command == ("taskq", "worker", "-Q", "a,c")


@pytest.mark.parametrize(
    ("cpu", "memory", "size"),
    [
        (512, 1024, (512, 1024)),
        (512, 3000, (512, 3072)),
        (512, 12_000, (2048, 12_288)),
        (300, 1000, (512, 1024)),
        (256, 1025, (256, 2048)),
        (4096, 32_768, (8192, 32_768)),
        (8192, 17_408, (8192, 20_480)),
        (16_384, 122_880, (16_384, 122_880)),
    ],
)
def test_service_gets_smallest_fitting_fargate_size(cpu: int, memory: int, size: tuple[int, int]) -> None:
    deployment = {"services": {"worker": {"cpu_units": cpu, "memory_mb": 512}}}
    (service,) = make({"a": {"memory_mb": memory}}, deployment=deployment).services
    assert (service.cpu_units, service.memory_mb) == size


@pytest.mark.parametrize(
    "deployment",
    [
        {"environment": {"AWS_REGION": "eu-west-1", "SHOP": "1"}},
        {"function": {"environment": {"AWS_REGION": "eu-west-1"}}},
        {"functions": {"celery": {"environment": {"AWS_REGION": "eu-west-1"}}}},
    ],
    ids=["of all", "of functions", "of one"],
)
def test_variable_reserved_by_lambda_is_refused(deployment: dict[str, Any]) -> None:
    said = refused({"a": {"time_limit": 5}}, deployment=deployment)
    assert "the function of queue 'celery': Lambda sets AWS_REGION itself" in said


def test_container_accepts_variable_reserved_by_lambda() -> None:
    (service,) = make({"a": {}}, deployment={"environment": {"AWS_REGION": "eu-west-1"}}).services
    assert service.environment["AWS_REGION"] == "eu-west-1"


def test_memory_beyond_fargate_is_refused() -> None:
    assert "no container of 512 CPU units and 131072 MiB" in refused({"a": {"memory_mb": 131_072}})


def test_too_many_queues_of_one_service_are_refused() -> None:
    tasks = {f"t{number}": {"queue": f"q{number}"} for number in range(6)}
    assert "6 queues (q0, q1, q2, q3, q4, q5)" in refused(tasks, task_default_queue="q0")
    spread = {"services": {"worker": {"queues": ["q0"]}, "other": {}}}
    assert len(make(tasks, task_default_queue="q0", deployment=spread).services) == 2
    google = {"broker": "pubsub://shop-prod/shop-", "results": "gs://shop", "task_default_queue": "q0"}
    assert len(make(tasks, **google).services) == 1


def test_stop_timeout_is_longer_than_worker_shutdown() -> None:
    assert make({"a": {}}, worker_shutdown_timeout=115).services[0].stop_timeout_seconds == 120
    assert "at most 115 s" in refused({"a": {}}, worker_shutdown_timeout=116)


def test_bucket_for_results_and_payloads_is_declared_once() -> None:
    topology = make({"a": {}}, results="s3://shop-data/results", payloads="s3://shop-data/live", result_expires=86_400)
    (bucket,) = topology.buckets
    assert bucket.prefixes == ("live/", "results/")
    assert {rule.prefix: rule.expire_days for rule in bucket.lifecycle_rules} == {
        "live/arguments/": 30,
        "live/results/": 2,
        "results/celery-task-meta-": 1,
        "results/taskq-claim-": 16,
        "results/taskq-join": 16,
        "results/taskq-rate-": 16,
    }


def test_results_that_never_expire_have_no_lifecycle_rule() -> None:
    (bucket,) = make({"a": {}}, results="s3://shop-data", result_expires=None).buckets
    assert not [rule for rule in bucket.lifecycle_rules if "celery-task-meta" in rule.prefix]


def test_pubsub_topology_has_topics_and_cloud_run_workers() -> None:
    topology = make({"a": {"queue": "mail.fifo"}}, broker="pubsub://my-project/shop-", results="gs://shop-results")
    assert (topology.provider, topology.project, topology.roles) == ("google", "my-project", ())
    mail = next(each for each in topology.subscriptions if each.queue == "mail.fifo")
    assert (mail.topic, mail.ordered, mail.dead_letter_topic) == ("shop-mail.fifo", True, "shop-mail-dead.fifo")
    assert mail.max_delivery_attempts == 10
    (service,) = topology.services
    assert (service.stop_timeout_seconds, service.environment["TASKQ_WORKER_SHUTDOWN_TIMEOUT"]) == (10, "8")
    assert topology.buckets[0].provider == "google"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"broker": "sqlite:///x.db"}, "set TASKQ_BROKER to sqs://region/prefix"),
        ({"results": "sqlite:///x.db"}, "the results sqlite:///x.db are on one machine"),
        ({"results": "memory://"}, "set TASKQ_RESULTS to dynamodb://table"),
        ({"deployment": {"fucntion": {}}}, "deployment: fucntion: Extra inputs are not permitted"),
        ({"deployment": {"functions": {"nix": {}}}}, "no Lambda function serves a queue 'nix'"),
        ({"deployment": {"services": {"w": {"queues": ["nix"]}}}}, "no container serves a queue 'nix'"),
        ({"deployment": {"services": {"v": {}, "w": {}}}}, "v and w name no queues"),
        (
            {"deployment": {"services": {"w": {"minimum_tasks": 5}}}},
            "minimum_tasks (5) is greater than maximum_tasks (4)",
        ),
        ({"deployment": {"message_retention_days": 14}}, "less than or equal to 13"),
        ({"task_default_queue": "x" * 90}, "Queue.name is"),
        ({"task_default_queue": "a.b", "task_routes": {"a": "a-b"}}, "would both have a queue shop-a-b in SQS"),
    ],
)
def test_invalid_declaration_is_refused_with_a_reason(settings: dict[str, Any], said: str) -> None:
    assert said in refused({"a": {}}, **settings)


def test_queues_with_one_function_name_are_refused() -> None:
    error = refused({"a": {"time_limit": 5, "queue": "a.fifo"}, "b": {"time_limit": 5, "queue": "a-fifo"}})
    assert "queues 'a-fifo' and 'a.fifo' would both have a Lambda function shop-a-fifo" in error


def test_predefined_queue_keeps_name_from_its_url() -> None:
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/their-queue"
    topology = make({"a": {"time_limit": 5}}, broker_transport_options={"predefined_queues": {"celery": {"url": url}}})
    (queue,) = topology.queues
    assert (queue.name, queue.dead_letter_queue.name) == ("their-queue", "shop-celery-dead")
    (send,) = [each for each in topology.role_named("shop-producer").statements if each.sid == "SendTasks"]
    assert send.resources == ("arn:{partition}:sqs:{region}:{account}:their-queue",)


@pytest.mark.parametrize(
    ("queue", "function", "said"),
    [
        ("work", {"batch_size": 11}, "needs batching_window_seconds of at least 1"),
        (
            "work.fifo",
            {"batch_size": 11, "batching_window_seconds": 1},
            "a FIFO queue allows a batch_size of at most 10",
        ),
        ("work.fifo", {"batching_window_seconds": 1}, "no batching window"),
        ("work", {"maximum_concurrency": 1}, "greater than or equal to 2"),
        ("work", {"provisioned_pollers": {"minimum": 1}}, "greater than or equal to 2"),
        ("work", {"provisioned_pollers": {"minimum": 9, "maximum": 8}}, "minimum (9) is greater than maximum (8)"),
    ],
)
def test_mapping_options_that_lambda_refuses_are_refused(queue: str, function: dict[str, Any], said: str) -> None:
    error = refused({"a": {"time_limit": 5}}, task_default_queue=queue, deployment={"function": function})
    assert said in error


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"runtime": "fargate"}, "runtime must be one of auto, container, lambda, not 'fargate'"),
        ({"memory_mb": 0}, "above zero"),
    ],
)
def test_invalid_task_option_is_refused_with_a_reason(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=said):
        declare(TaskQ("shop"), "a", **options)


RENAMED: dict[str, dict[str, Any]] = {"charge": {"queue": "payments", "time_limit": 120}, "tidy": {"time_limit": 20}}


def test_retired_queue_is_served_like_the_queue_that_took_over() -> None:
    topology = make(RENAMED, deployment={"retired_queues": {"orders": "payments"}})
    assert [each.queue for each in topology.queues] == ["celery", "orders", "payments"]
    old, new = topology.queue_named("orders"), topology.queue_named("payments")
    assert (old.tasks, old.visibility_timeout_seconds) == (new.tasks, new.visibility_timeout_seconds)
    timeouts = {each.queue: (each.timeout_seconds, each.batch_size) for each in topology.functions}
    assert timeouts["orders"] == timeouts["payments"] == (123, 1)


def test_retired_queue_that_tasks_still_go_to_is_refused() -> None:
    text = refused(RENAMED, deployment={"retired_queues": {"payments": "celery"}})
    assert text == (
        "deployment: retired_queues: tasks still go to queue 'payments': route them to 'celery', or remove it here"
    )


def test_retired_queue_without_a_queue_that_took_over_is_refused() -> None:
    text = refused(RENAMED, deployment={"retired_queues": {"orders": "payment"}})
    assert text == (
        "deployment: retired_queues: no task goes to queue 'payment', which is to take over from 'orders'; tasks go to"
        " these queues: celery, payments"
    )
