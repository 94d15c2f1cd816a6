"""The lean driver of AWS calls: the operations that tasks need, signed here and sent over kept-alive connections.

An SDK spends some ten times as much on a request as the request needs. This driver makes only the operations whose
shapes it knows (``sqs``, ``dynamodb``, ``s3``), and it only knows plain requests: Signature Version 4 to a regional
endpoint, or to a given one, without a proxy. It makes nothing of its own of credentials, regions, endpoints and
certificates: ``environment`` takes them from the variables if these are all that is set, and ``sdk_settings`` asks the
SDK otherwise. ``clients.aws`` gives every other call to the SDK.

From a call to its answer: ``json_protocol`` or ``s3_protocol`` writes the request (``shapes``) and signs it
(``signing``); ``sockets`` exchanges it for an answer in the calling thread, ``loop`` on an event loop, and both read
the answer by ``answers``; the protocol turns it into the dict that the SDK would return, or into a ``CallError``.
"""
