"""References to payloads: when a message gets one, the form of such messages, and the payloads that are fetched."""

from __future__ import annotations

import base64
import json
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.exceptions import ContentDisallowed

from taskq_cloud import TaskQ
from taskq_cloud.core.messages import protocol
from taskq_cloud.core.messages.codec import Codec, Packed
from taskq_cloud.core.messages.sending import Addressed, Outbox, Transport
from taskq_cloud.core.model import payload_references
from taskq_cloud.core.model.message import Message, Refused, Sent
from taskq_cloud.core.model.payload_references import Payload, PayloadReference
from taskq_cloud.core.payloads.policy import DAY_SECONDS, LARGEST_PAYLOAD_BYTES, Payloads
from taskq_cloud.core.serializers import compress
from taskq_cloud.errors import (
    ClaimError,
    DecodeError,
    ImproperlyConfigured,
    PayloadTooLarge,
    SecurityError,
    Unreachable,
)
from tests.core.payloads.shelf import Shelf, codec_with, drive
from tests.core.security.signed import HMAC, OTHER_HMAC, signing_codec
from tests.core.untyped_kombu import serialization
from tests.serverless.events import NotingBroker

NOW = 1_767_225_600.0  # 2026-01-01
ROOM = 4000


def noise(size: int) -> str:
    """Text that no compression can make smaller than three quarters of its size."""
    return base64.b64encode(random.Random(size).randbytes(size * 3 // 4)).decode()


def a_message(size: int = 100_000, **fields: Any) -> Message:
    return Message(task="shop.pay", id="id-1", args=[noise(size)], **fields)


def pack(codec: Codec, message: Message, now: float = NOW, **options: Any) -> Packed:
    return codec.pack(message, "work", ROOM, now, **options)


def sent(codec: Codec, shelf: Shelf, message: Message, **options: Any) -> Packed:
    """Write a message and store its payload, if it has one."""
    packed = pack(codec, message, **options)
    assert codec.payloads is not None
    assert drive(codec.payloads.put([packed.payload] if packed.payload else [])) in ([None], [])
    return packed


def payload_of(packed: Packed) -> Payload:
    assert packed.payload is not None
    return packed.payload


def reference_of(packed: Packed) -> PayloadReference:
    reference = payload_references.reference_of(json.loads(packed.body))
    assert reference is not None
    return reference


# Messages that get a reference


def test_message_that_fits_is_written_as_without_payloads() -> None:
    shelf = Shelf()
    message = a_message(100, argsrepr="", origin="me")
    packed = pack(codec_with(shelf), message)
    assert packed.body == protocol.encode(message, "work")
    assert packed.payload is None and not packed.attributes


def test_large_message_without_payloads_is_left_for_the_broker_to_refuse() -> None:
    packed = pack(Codec(), a_message())
    assert len(packed.body) > ROOM and packed.payload is None


def test_message_that_fits_when_compressed_is_sent_whole() -> None:
    shelf = Shelf()
    message = Message(task="shop.pay", id="1", args=["a" * 50_000])
    packed = pack(codec_with(shelf), message)
    assert packed.payload is None and len(packed.body) <= ROOM
    assert json.loads(packed.body)["headers"]["compression"] == "application/x-gzip"
    assert protocol.decode(json.loads(packed.body), "m").args == message.args


def test_compression_follows_the_settings() -> None:
    shelf = Shelf()
    message = Message(task="shop.pay", id="1", args=["a" * 50_000])
    packed = pack(codec_with(shelf, compression=None), message)
    assert packed.payload is not None and len(packed.payload.data) > 50_000
    assert "compression" not in json.loads(packed.body)["headers"]
    assert pack(codec_with(shelf, compression="bzip2"), message).payload is None


def test_compressed_message_is_not_compressed_again() -> None:
    packed = pack(codec_with(Shelf()), a_message(), compression="bzip2")
    assert json.loads(packed.body)["headers"]["compression"] == "application/x-bz2"
    assert payload_of(packed).data.startswith(b"BZ")


def test_compression_that_makes_a_payload_larger_is_not_used() -> None:
    shelf = Shelf()
    message = Message(task="shop.pay", id="1", args=[random.Random(1).randbytes(20_000)])
    codec = codec_with(shelf)
    packed = codec.pack(message, "work", ROOM, NOW, serializer="pickle")
    assert len(payload_of(packed).data) < 20_100
    assert "compression" not in json.loads(packed.body)["headers"]


def test_message_over_the_threshold_is_stored_though_the_broker_would_take_it() -> None:
    codec = codec_with(Shelf(), threshold_bytes=2000, compression=None)
    assert pack(codec, a_message(1000)).payload is None
    assert pack(codec, a_message(3000)).payload is not None


def test_message_too_large_for_a_payload_is_refused_by_name() -> None:
    message = Message(task="shop.pay", id="1", args=["a" * LARGEST_PAYLOAD_BYTES])
    with pytest.raises(PayloadTooLarge, match=r"task shop\.pay"):
        pack(codec_with(Shelf()), message)


def test_message_with_large_headers_stays_too_large() -> None:
    message = a_message(argsrepr=noise(ROOM))
    packed = pack(codec_with(Shelf()), message)
    assert packed.payload is None and len(packed.body) > ROOM


# Written and read


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml", "pickle"])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_message_with_a_stored_payload_is_read_as_it_was_written(serializer: str, compression: str | None) -> None:
    shelf = Shelf()
    payloads = Payloads(store=shelf, compression=compression)
    codec = Codec(payloads=payloads, accept_content=[serializer], serializer=serializer)
    message = a_message(kwargs={"ü": "Łódź" * 1000}, retries=2, headers={"own": 1})
    packed = sent(codec, shelf, message)
    assert len(packed.body) <= ROOM
    read = drive(codec.open(packed.body, "m", "work"))
    assert (list(read.args), read.kwargs, read.retries, read.headers) == (
        [*message.args],
        message.kwargs,
        2,
        {"own": 1},
    )
    assert (read.task, read.id) == ("shop.pay", "id-1")
    assert read.payload_reference == reference_of(packed)


def test_reference_has_place_digest_size_and_time() -> None:
    shelf = Shelf()
    packed = sent(codec_with(shelf), shelf, a_message())
    reference = reference_of(packed)
    assert reference.key == f"app/arguments/2026-01-01/id-1-{reference.sha256}"
    assert reference.place == "s3://shelf" and reference.stored_at == NOW
    assert reference.size_bytes == len(payload_of(packed).data)
    assert payload_references.sha256_of(shelf.kept["shelf", reference.key]) == reference.sha256


def test_key_of_any_task_id_is_plain() -> None:
    shelf = Shelf()
    for task_id in ("../../x", "..", "a/b", "ö" * 80, "?#%"):
        packed = sent(codec_with(shelf), shelf, replace(a_message(), id=task_id))
        reference = reference_of(packed)
        assert reference.key.count("/") == 3 and reference.key.isascii() and len(reference.key) < 1024
        assert drive(codec_with(shelf).open(packed.body, "m")).id == task_id


def test_message_with_a_reference_is_refused_by_a_celery_worker() -> None:
    document = json.loads(pack(codec_with(Shelf()), a_message()).body)
    with pytest.raises(ContentDisallowed):
        serialization.loads(
            document["body"], document["content-type"], document["content-encoding"], accept={"application/json"}
        )


def test_reference_header_set_by_a_caller_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="taskq_claim"):
        Codec().write(a_message(headers={"taskq_claim": {}}), "work")


# Sent on


def test_retry_with_equal_arguments_reuses_the_reference() -> None:
    shelf = Shelf()
    codec = codec_with(shelf)
    read = drive(codec.open(sent(codec, shelf, a_message()).body, "m"))
    again = pack(codec, replace(read, retries=1), NOW + 3600)
    assert again.payload is None
    assert reference_of(again) == read.payload_reference
    assert drive(codec.open(again.body, "m")).retries == 1


def test_retry_with_other_arguments_stores_a_new_payload() -> None:
    shelf = Shelf()
    codec = codec_with(shelf)
    read = drive(codec.open(sent(codec, shelf, a_message()).body, "m"))
    again = sent(codec, shelf, replace(read, args=[noise(90_000)]))
    assert again.payload is not None
    assert drive(codec.open(again.body, "m")).args == [noise(90_000)]


@pytest.mark.parametrize(("days", "reused"), [(14.9, True), (15, False), (40, False)])
def test_reference_to_an_old_object_is_replaced(days: float, reused: bool) -> None:
    shelf = Shelf()
    codec = codec_with(shelf)
    read = drive(codec.open(sent(codec, shelf, a_message()).body, "m"))
    again = pack(codec, read, NOW + days * DAY_SECONDS)
    assert (again.payload is None) is reused
    assert read.payload_reference is not None
    assert reused or payload_of(again).key != read.payload_reference.key


def test_reference_to_another_place_is_not_reused() -> None:
    shelf = Shelf()
    codec = codec_with(shelf, sources=["elsewhere"])
    read = drive(codec.open(sent(codec, shelf, a_message()).body, "m"))
    assert read.payload_reference is not None
    moved = replace(read, payload_reference=replace(read.payload_reference, place="s3://elsewhere"))
    assert pack(codec, moved).payload is not None


# Refused


def tampered(packed: Packed, **fields: Any) -> str:
    """The body of a message with changes in its reference."""
    document = json.loads(packed.body)
    document["headers"]["taskq_claim"] |= fields
    return json.dumps(document)


def test_missing_object_fails_its_task() -> None:
    shelf = Shelf()
    codec = codec_with(shelf)
    packed = pack(codec, a_message())
    with pytest.raises(ClaimError, match=f"the payload s3://shelf/{payload_of(packed).key} is missing") as caught:
        drive(codec.open(packed.body, "m"))
    assert caught.value.task_id == "id-1"


@pytest.mark.parametrize("change", [lambda data: data[:-1] + b"!", lambda data: data + b" ", lambda _: b""])
def test_altered_object_is_refused(change: Callable[[bytes], bytes]) -> None:
    shelf = Shelf()
    codec = codec_with(shelf)
    packed = sent(codec, shelf, a_message())
    (key,) = shelf.kept
    shelf.kept[key] = change(shelf.kept[key])
    with pytest.raises(ClaimError, match="altered"):
        drive(codec.open(packed.body, "m"))


@pytest.mark.parametrize(
    ("place", "key"),
    [
        ("s3://other", "app/arguments/x"),
        ("s3://shelf", "secrets/x"),
        ("s3://shelf", "app"),
        ("s3://shelf", "apple/x"),
        ("s3://shelf", "app/../secrets/x"),
        ("s3://shelf", "app/./x"),
        ("s3://shelf", "app/x\n"),
        ("gs://shelf", "app/arguments/x"),
        ("s3://shelf2", "app/x"),
    ],
)
def test_reference_to_a_place_not_allowed_is_not_followed(place: str, key: str) -> None:
    shelf = Shelf()
    codec = codec_with(shelf)
    packed = sent(codec, shelf, a_message())
    with pytest.raises(ClaimError, match="is not fetched") as caught:
        drive(codec.open(tampered(packed, place=place, key=key), "m"))
    assert shelf.gets == []
    assert caught.value.task_id == "id-1"


def test_reference_to_a_place_in_the_settings_is_followed() -> None:
    shelf = Shelf()
    codec = codec_with(shelf, sources=["other", "third/part/"])
    packed = sent(codec, shelf, a_message())
    data = payload_of(packed).data
    shelf.kept |= {("other", "x"): data, ("third", "part/x"): data, ("third", "x"): data}
    for place, key in (("s3://other", "x"), ("s3://third", "part/x")):
        assert drive(codec.open(tampered(packed, place=place, key=key), "m")).id == "id-1"
    with pytest.raises(ClaimError, match="is not fetched"):
        drive(codec.open(tampered(packed, place="s3://third", key="x"), "m"))


def test_object_that_is_too_large_is_not_fetched() -> None:
    shelf = Shelf()
    codec = codec_with(shelf)
    packed = sent(codec, shelf, a_message())
    with pytest.raises(ClaimError, match="at most"):
        drive(codec.open(tampered(packed, size_bytes=LARGEST_PAYLOAD_BYTES + 1), "m"))
    assert shelf.gets == []


@pytest.mark.parametrize(
    "fields",
    [
        {"sha256": "0"},
        {"sha256": None},
        {"place": "shelf"},
        {"place": "s3://a/b"},
        {"key": 7},
        {"size_bytes": -1},
        {"stored_at": "now"},
        {"content_type": 7},
    ],
)
def test_malformed_reference_is_refused(fields: dict[str, Any]) -> None:
    shelf = Shelf()
    codec = codec_with(shelf)
    with pytest.raises(ClaimError, match="malformed"):
        drive(codec.open(tampered(sent(codec, shelf, a_message()), **fields), "m"))


def test_reference_without_payloads_is_refused_with_the_setting() -> None:
    packed = pack(codec_with(Shelf()), a_message())
    with pytest.raises(ClaimError, match="set TASKQ_PAYLOADS"):
        drive(Codec().open(packed.body, "m"))
    with pytest.raises(DecodeError, match="x-taskq-claim"):
        Codec().read(packed.body, "m")


def test_payload_that_is_not_text_is_refused() -> None:
    shelf = Shelf()
    codec = codec_with(shelf)
    packed = sent(codec, shelf, a_message(), compression=None)
    data = b"\xff\xfe"
    document = json.loads(packed.body)
    document["properties"].pop("body_encoding", None)
    document["headers"]["taskq_claim"] |= {"sha256": payload_references.sha256_of(data), "size_bytes": 2}
    shelf.kept["shelf", payload_of(packed).key] = data
    with pytest.raises(DecodeError, match="isn't text") as caught:
        drive(codec.open(json.dumps(document), "m"))
    assert caught.value.task_id == "id-1"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"format": "sqs"}, "payload_format='sqs' isn't one of taskq, sqs-extended"),
        ({"compression": "rar"}, "unknown compression 'rar'"),
    ],
)
def test_wrong_option_of_payloads_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=text):
        codec_with(Shelf(), **options)


def test_pointer_format_outside_s3_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="gs://shelf"):
        codec_with(Shelf("gs://shelf"), format="sqs-extended")


# Signed


def signed(shelf: Shelf, *keys: str) -> Codec:
    return replace(signing_codec(*keys, now=NOW), payloads=Payloads(store=shelf))


def test_signature_covers_the_payload_of_a_reference() -> None:
    shelf = Shelf()
    codec = signed(shelf, HMAC)
    packed = sent(codec, shelf, a_message())
    assert drive(codec.open(packed.body, "m")).args == a_message().args
    other = sent(codec, shelf, a_message(90_000))
    swapped = tampered(packed, **json.loads(other.body)["headers"]["taskq_claim"])
    with pytest.raises(SecurityError, match="altered"):
        drive(codec.open(swapped, "m"))


def test_message_with_a_wrong_signature_has_nothing_fetched(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    packed = sent(signed(shelf, OTHER_HMAC), shelf, a_message())
    with pytest.raises(SecurityError, match="unknown here") as caught:
        drive(signed(shelf, HMAC).open(packed.body, "m", "work"))
    assert shelf.gets == [] and caught.value.task_id is None
    assert [vars(record)["action"] for record in caplog.records] == ["message.refused_signature"]


def test_message_with_a_reference_nested_too_deeply_is_refused() -> None:
    shelf = Shelf()
    codec = signed(shelf, HMAC)
    document = json.loads(sent(codec, shelf, a_message()).body)
    depths = range(sys.getrecursionlimit() - 200, sys.getrecursionlimit())
    for depth in depths:
        nested = json.dumps({**document, "x": 0})[:-2] + "[" * depth + "]" * depth + "}"
        with pytest.raises(DecodeError):
            drive(codec.open(nested, "m"))


def test_unsigned_message_with_a_missing_object_fails_no_task() -> None:
    shelf = Shelf()
    lax = replace(signing_codec(HMAC, now=NOW, accept_unsigned=["all"]), payloads=Payloads(store=shelf))
    packed = pack(codec_with(shelf), a_message())
    with pytest.raises(ClaimError, match="is missing") as caught:
        drive(lax.open(packed.body, "m"))
    assert caught.value.task_id is None


def test_reused_reference_of_a_retry_is_signed_anew() -> None:
    shelf = Shelf()
    codec = signed(shelf, HMAC)
    read = drive(codec.open(sent(codec, shelf, a_message()).body, "m"))
    again = pack(codec, replace(read, retries=1))
    assert again.payload is None
    assert drive(codec.open(again.body, "m")).retries == 1


# Pointers of the SQS Extended Client libraries


def pointer(bucket: str = "shelf", key: str = "app/x", name: str = payload_references.POINTER_CLASSES[0]) -> str:
    return json.dumps([name, {"s3BucketName": bucket, "s3Key": key}])


@pytest.mark.parametrize("name", payload_references.POINTER_CLASSES)
def test_pointer_is_followed(name: str) -> None:
    shelf = Shelf()
    codec = codec_with(shelf)
    body = codec.write(a_message(), "work")
    shelf.kept["shelf", "app/x"] = body.encode()
    read = drive(codec.open(pointer(name=name), "m", "work", {"ExtendedPayloadSize": str(len(body))}))
    assert read.args == a_message().args and read.payload_reference is None


def test_pointer_to_any_form_of_message_is_followed() -> None:
    shelf = Shelf()
    codec = codec_with(shelf)
    shelf.kept["shelf", "app/x"] = b'{"task": "shop.pay", "args": [1]}'
    assert drive(codec.open(pointer(), "m")).args == [1]
    shelf.kept["shelf", "app/x"] = base64.b64encode(codec.write(a_message(), "work").encode())
    assert drive(codec.open(pointer(), "m")).id == "id-1"
    shelf.kept["shelf", "app/x"] = pointer().encode()
    with pytest.raises(DecodeError, match="neither a JSON object"):
        drive(codec.open(pointer(), "m"))


def test_pointer_in_a_notification_is_followed() -> None:
    shelf = Shelf()
    codec = codec_with(shelf)
    shelf.kept["shelf", "app/x"] = b'{"task": "shop.pay", "args": [1]}'
    attributes = {"ExtendedPayloadSize": {"Type": "Number", "Value": "33"}}
    notification = {"Type": "Notification", "Message": pointer(), "MessageId": "n", "MessageAttributes": attributes}
    assert drive(codec.open(json.dumps(notification), "m")).args == [1]
    shelf.kept["shelf", "app/x"] += b" "
    with pytest.raises(ClaimError, match="34 bytes instead of 33"):
        drive(codec.open(json.dumps(notification), "m"))


SIGNED: dict[str, Any] = {"message_signing_keys": ["hmac:" + "A" * 44], "payloads": "s3://shelf/app"}


@pytest.mark.parametrize(
    ("settings", "followed"),
    [
        ({"payloads": "s3://shelf/app"}, True),
        (SIGNED, False),
        ({**SIGNED, "payload_format": "sqs-extended"}, True),
        ({**SIGNED, "payload_pointers": True}, True),
    ],
)
def test_signing_application_follows_pointers_only_where_asked_to(settings: dict[str, Any], followed: bool) -> None:
    payloads = TaskQ(broker="memory://", **settings).codec.payloads
    assert payloads is not None and payloads.pointers == followed


def test_pointer_that_is_not_followed_fetches_nothing() -> None:
    shelf = Shelf()
    codec = codec_with(shelf, pointers=False)
    notification = {"Type": "Notification", "Message": pointer(), "MessageId": "n"}
    for body in (pointer(), json.dumps(notification)):
        with pytest.raises(ClaimError, match=r"is not followed.*set payload_pointers=True"):
            drive(codec.open(body, "m"))
    assert shelf.gets == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (pointer(bucket="other"), "may come from s3://shelf/app/ only"),
        (pointer(key="x"), "may come from s3://shelf/app/ only"),
        (pointer(bucket="shelf/app", key="x"), "names no bucket"),
        (pointer(), "is missing"),
        (pointer(name="java.lang.String"), "neither a JSON object"),
        ('["' + payload_references.POINTER_CLASSES[0] + '", {}]', "neither a JSON object"),
        ("[" * 10_000, "neither a JSON object"),
    ],
)
def test_pointer_that_cannot_be_followed_is_refused(body: str, text: str) -> None:
    with pytest.raises(DecodeError, match=text):
        drive(codec_with(Shelf()).open(body, "m"))


@pytest.mark.parametrize("attribute", [{"ExtendedPayloadSize": "7"}, {"SQSLargePayloadSize": "7"}])
def test_pointer_with_a_wrong_size_is_refused(attribute: dict[str, str]) -> None:
    shelf = Shelf()
    shelf.kept["shelf", "app/x"] = b'{"task": "shop.pay"}'
    with pytest.raises(ClaimError, match="instead of 7"):
        drive(codec_with(shelf).open(pointer(), "m", None, attribute))


@pytest.mark.parametrize(
    "attribute", sorted(payload_references.POINTER_ATTRIBUTES - {payload_references.POINTER_SHA256})
)
def test_pointer_with_an_endless_size_is_refused(attribute: str) -> None:
    with pytest.raises(ClaimError):
        drive(codec_with(Shelf()).open(pointer(), "m", None, {attribute: "1" * 5000}))


def test_pointer_is_written_in_the_extended_format() -> None:
    shelf = Shelf()
    codec = codec_with(shelf, format="sqs-extended", compression=None)
    message = a_message()
    packed = sent(codec, shelf, message)
    name, where = json.loads(packed.body)
    assert name == "software.amazon.payloadoffloading.PayloadS3Pointer"
    stored = shelf.kept[where["s3BucketName"], where["s3Key"]]
    assert json.loads(json.loads(stored)["body"])[0] == message.args
    assert packed.attributes["ExtendedPayloadSize"] == str(len(stored))
    assert drive(codec.open(packed.body, "m", None, packed.attributes)).args == message.args
    altered = {**packed.attributes, "taskq_payload_sha256": "0" * 64}
    with pytest.raises(ClaimError, match="digest"):
        drive(codec.open(packed.body, "m", None, altered))


def test_signature_covers_the_payload_of_a_pointer() -> None:
    shelf = Shelf()
    codec = replace(signing_codec(HMAC, now=NOW), payloads=Payloads(store=shelf, format="sqs-extended"))
    packed = sent(codec, shelf, a_message())
    assert drive(codec.open(packed.body, "m", None, packed.attributes)).args == a_message().args
    shelf.kept["shelf", payload_of(packed).key] = protocol.encode(a_message(), "work").encode()
    with pytest.raises(SecurityError, match="not signed"):
        drive(codec.open(packed.body, "m"))


# Sent in a batch


def addressed(codec: Codec, message: Message, **attributes: str) -> Addressed:
    broker: Any = SimpleNamespace(capabilities=replace(NotingBroker.capabilities, largest_message_bytes=ROOM))
    return Outbox(codec, broker).address(message, "work", NOW, Transport(attributes=attributes))


def test_payloads_are_stored_before_their_messages_are_sent() -> None:
    shelf = Shelf()
    broker: Any = NotingBroker()
    codec = codec_with(shelf)
    large = [addressed(codec, replace(a_message(), id=str(number))) for number in range(3)]
    small = addressed(codec, a_message(10))
    answers = drive(Outbox(codec, broker).send([large[0], small, *large[1:]]))
    assert [type(answer) for answer in answers] == [Sent] * 4
    assert len(shelf.puts) == 3 and len(broker.sent) == 4


def test_message_whose_payload_is_refused_is_not_sent() -> None:
    shelf = Shelf()
    broker: Any = NotingBroker()
    codec = codec_with(shelf)
    shelf.failure = Unreachable("no answer")
    refused, sent_ = drive(Outbox(codec, broker).send([addressed(codec, a_message()), addressed(codec, a_message(10))]))
    assert refused == Refused(shelf.failure) and isinstance(sent_, Sent)
    assert len(broker.sent) == 1


def test_attributes_of_a_received_pointer_are_not_sent_on() -> None:
    shelf = Shelf()
    given = {"own": "1", "ExtendedPayloadSize": "9", "SQSLargePayloadSize": "9", "taskq_payload_sha256": "x"}
    assert addressed(codec_with(shelf), a_message(), **given).outgoing.attributes == {"own": "1"}
    extended = addressed(codec_with(shelf, format="sqs-extended"), a_message(), **given).outgoing.attributes
    assert extended.keys() == {"own", "ExtendedPayloadSize", "taskq_payload_sha256"} and extended["own"] == "1"


def test_attributes_count_towards_the_size_of_a_message() -> None:
    codec = codec_with(Shelf(), compression=None)
    room = ROOM - len(codec.write(a_message(1000), "work"))
    assert addressed(codec, a_message(1000), a="x" * (room - 8)).payload is None
    assert addressed(codec, a_message(1000), a="x" * room).payload is not None


def test_reference_is_printed_as_its_place_and_key() -> None:
    assert str(PayloadReference(place="s3://b", key="k/1")) == "s3://b/k/1"


def test_payload_that_expands_too_far_is_refused() -> None:
    shelf = Shelf()
    codec = codec_with(shelf)
    packed = sent(codec, shelf, a_message())
    bomb, content_type = compress(b"[" + b" " * (LARGEST_PAYLOAD_BYTES + 1), "gzip")
    document = json.loads(packed.body)
    assert document["headers"]["compression"] == content_type
    document["headers"]["taskq_claim"] |= {"sha256": payload_references.sha256_of(bomb), "size_bytes": len(bomb)}
    shelf.kept["shelf", payload_of(packed).key] = bomb
    with pytest.raises(DecodeError, match="more than"):
        drive(codec.open(json.dumps(document), "m"))
