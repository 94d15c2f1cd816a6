"""The demo: the shop on a broker and a result store of one's choice, on this machine, served by two runtimes.

``make demo`` runs it. In reading order: ``__main__`` the demo from start to end, ``workload`` what is called and what
it must come to, ``infrastructure`` and ``processes`` what it runs on, ``watching`` what has become of it, ``progress``
and ``report`` what is shown.
"""
