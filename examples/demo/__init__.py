"""The demo: the shop, run on this machine on a broker and a result store of your choice.

``make demo`` runs it. The modules, in reading order: ``__main__`` is the demo from start to end; ``workload`` holds the
calls and their expected outcomes; ``infrastructure`` and ``workers`` start what the shop runs on; ``monitor`` observes
the outcomes; ``progress`` and ``report`` print them.
"""
