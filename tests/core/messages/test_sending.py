"""Messages to several queues, one of which can't be used."""

import pytest

from taskq_cloud import TaskQ, group
from taskq_cloud.errors import QueueNotFound, SendError


@pytest.fixture
def app(aws_environment):
    app = TaskQ("shop", broker="sqs://eu-west-1/", results="memory://")
    app.task(name="add")(lambda number: number)
    yield app
    app.close()


def test_what_was_sent_and_what_was_not_is_told_apart(app, make_queue):
    work = make_queue("work")
    members = [app.signature("add", [number]).set(queue=queue) for number, queue in enumerate([work, "gone", work])]
    with pytest.raises(SendError) as caught:
        group(members).delay()
    assert {place: type(error) for place, error in caught.value.failures.items()} == {1: QueueNotFound}
    assert app.run(app.broker.depth(work)).total == 2


def test_where_there_is_one_queue_its_own_error_is_raised(app):
    with pytest.raises(QueueNotFound, match="gone"):
        group(app.signature("add", [number]).set(queue="gone") for number in range(2)).delay()
