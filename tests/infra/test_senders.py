"""A bucket, a topic and a rule may send to a queue that the real provider has made, and their events arrive there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulators import aws as stacks
from taskq_cloud.testing.waiting import until
from tests.infra.terraform import INFRA, changes, copy_of, with_providers

ACCOUNT = "000000000000"
QUEUE = f"arn:aws:sqs:{stacks.REGION}:{ACCOUNT}:shop-uploads"
TIMEOUT_SECONDS = 30

EVENTS = """
provider "aws" {
  region                      = "%(region)s"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  s3_use_path_style           = true
}

module "queue" {
  source = "./modules/queue"

  name                       = "shop-uploads"
  dead_letter_queue_name     = "shop-uploads-dead"
  visibility_timeout_seconds = 180
  tls_only                   = false # the stack's senders have no TLS
  redrive_allow_policy       = false
  senders = {
    photos  = { service = "s3.amazonaws.com", source_arn = aws_s3_bucket.photos.arn }
    sales   = { service = "sns.amazonaws.com", source_arn = aws_sns_topic.sales.arn }
    orders  = { service = "events.amazonaws.com", source_arn = aws_cloudwatch_event_rule.orders.arn }
    partner = { principal_arns = ["arn:aws:iam::210987654321:role/web"] }
  }
}

resource "aws_s3_bucket" "photos" {
  bucket        = "shop-photos"
  force_destroy = true
}

resource "aws_s3_bucket_notification" "photos" {
  bucket = aws_s3_bucket.photos.id

  queue {
    queue_arn = module.queue.arn
    events    = ["s3:ObjectCreated:*"]
  }
}

resource "aws_sns_topic" "sales" {
  name = "sales"
}

resource "aws_sns_topic_subscription" "sales" {
  topic_arn = aws_sns_topic.sales.arn
  protocol  = "sqs"
  endpoint  = module.queue.arn
}

resource "aws_cloudwatch_event_rule" "orders" {
  name          = "orders"
  event_pattern = jsonencode({ source = ["shop"] })
}

resource "aws_cloudwatch_event_target" "orders" {
  rule = aws_cloudwatch_event_rule.orders.name
  arn  = module.queue.arn
}
"""


def allow(sid: str, action: str, principal: dict[str, str], **condition: dict[str, str]) -> dict[str, Any]:
    statement = {"Sid": sid, "Effect": "Allow", "Action": action, "Principal": principal, "Resource": QUEUE}
    return {**statement, "Condition": condition} if condition else statement


POLICY = [
    allow(
        "Sender-orders",
        "sqs:SendMessage",
        {"Service": "events.amazonaws.com"},
        ArnEquals={"aws:SourceArn": f"arn:aws:events:{stacks.REGION}:{ACCOUNT}:rule/orders"},
    ),
    allow("Sender-partner", "sqs:SendMessage", {"AWS": "arn:aws:iam::210987654321:role/web"}),
    allow(
        "Sender-photos",
        "sqs:SendMessage",
        {"Service": "s3.amazonaws.com"},
        ArnEquals={"aws:SourceArn": "arn:aws:s3:::shop-photos"},
        StringEquals={"aws:SourceAccount": ACCOUNT},
    ),
    allow(
        "Sender-sales",
        "sqs:SendMessage",
        {"Service": "sns.amazonaws.com"},
        ArnEquals={"aws:SourceArn": f"arn:aws:sns:{stacks.REGION}:{ACCOUNT}:sales"},
    ),
]


@pytest.mark.slow
def test_events_of_allowed_senders_arrive_and_policy_allows_nothing_else(
    applied_stack: stacks.Stack,
    tmp_path: Path,
    make_aws_client: Callable[[str, str], Any],
) -> None:
    root = copy_of(INFRA, tmp_path)
    (root / "main.tf").write_text(EVENTS % {"region": stacks.REGION})
    terraform = with_providers("real", tmp_path / "data")
    terraform.init(root)
    terraform.apply(root)
    assert changes(terraform.plan(root)) == {}

    sqs = make_aws_client("sqs", applied_stack.endpoint_url)
    url = sqs.get_queue_url(QueueName="shop-uploads")["QueueUrl"]
    policy = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
    assert sorted(json.loads(policy)["Statement"], key=lambda each: str(each["Sid"])) == POLICY

    make_aws_client("s3", applied_stack.endpoint_url).put_object(Bucket="shop-photos", Key="a.png", Body=b"a")
    topic = f"arn:aws:sns:{stacks.REGION}:{ACCOUNT}:sales"
    make_aws_client("sns", applied_stack.endpoint_url).publish(TopicArn=topic, Message="sold")
    event = {"Source": "shop", "DetailType": "Order", "Detail": "{}"}
    make_aws_client("events", applied_stack.endpoint_url).put_events(Entries=[event])
    found: set[str] = set()

    def arrived() -> bool:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", ()):
            body = json.loads(message["Body"])
            found.add(body.get("source") or body.get("TopicArn") or body.get("Records", [{}])[0].get("eventSource"))
        return found >= {"shop", topic, "aws:s3"}

    until(arrived, "the events of the bucket, the topic and the rule", TIMEOUT_SECONDS)
