"""Tests of ``policy_documents``: whether the policy of a topic or a key lets a service act for a resource."""

from __future__ import annotations

from typing import Any

import pytest

from taskq_cloud.deploy import policy_documents

SERVICE, TOPIC = "cloudwatch.amazonaws.com", "arn:aws:sns:eu-west-1:123456789012:shop-alarms"
CONTEXT = {"aws:sourceaccount": "123456789012", "aws:sourcearn": "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:shop"}
ALLOW = {"Effect": "Allow", "Principal": {"Service": SERVICE}, "Action": "sns:Publish", "Resource": TOPIC}
OWN = {"StringEquals": {"AWS:SourceAccount": "123456789012"}}
OTHERS = {"StringNotEquals": {"aws:SourceAccount": ["123456789012"]}}


@pytest.mark.parametrize(
    ("statements", "allowed"),
    [
        ([], False),
        ([ALLOW], True),
        ([{**ALLOW, "Principal": {"Service": ["events.amazonaws.com", SERVICE]}}], True),
        ([{**ALLOW, "Principal": {"Service": "events.amazonaws.com"}}], False),
        ([{**ALLOW, "Principal": "*", "Condition": OWN}], True),
        ([{**ALLOW, "Action": ["sns:Subscribe"]}], False),
        ([{**ALLOW, "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:cloudwatch:*:123456789012:alarm:*"}}}], True),
        (
            [{**ALLOW, "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:cloudwatch:*:123456789012:alarm:web-*"}}}],
            False,
        ),
        ([{**ALLOW, "Condition": {"StringEquals": {"aws:SourceAccount": "999999999999"}}}], False),
        ([{**ALLOW, "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}], False),
        ([ALLOW, {**ALLOW, "Effect": "Deny", "Principal": "*", "Condition": OTHERS}], True),
        ([ALLOW, {**ALLOW, "Effect": "Deny", "Principal": "*", "Condition": OWN}], False),
    ],
    ids=[
        "nothing",
        "the service",
        "one of several services",
        "another service",
        "everyone of the account",
        "another action",
        "for every alarm of the account",
        "for other alarms",
        "for another account",
        "on a condition that may not hold",
        "denied for other accounts",
        "denied",
    ],
)
def test_service_is_allowed_by_statements_that_apply(statements: list[dict[str, Any]], allowed: bool) -> None:
    policy = {"Statement": statements}
    assert policy_documents.allows_service(policy, SERVICE, "sns:Publish", TOPIC, CONTEXT) is allowed
