"""The objects that an application consists of, such as ``app.backend`` and ``app.AsyncResult`` (``Parts``).

Each is made when it is first used.
"""

from __future__ import annotations

import os
import sys
import threading
import uuid
from collections.abc import Sequence
from typing import Any

from taskq_cloud.celery import _state
from taskq_cloud.celery.app.annotations import prepare as prepare_annotations
from taskq_cloud.celery.app.connected import Connected
from taskq_cloud.celery.app.serving import Served
from taskq_cloud.celery.exceptions import ImproperlyConfigured
from taskq_cloud.celery.utils import cached_property, instantiate
from taskq_cloud.celery.utils.imports import symbol_by_name
from taskq_cloud.core.flows import Flow


class Parts(Connected, Served):
    """The part of an application that has the others."""

    Pickler = "taskq_cloud.celery.app.utils:AppPickler"
    IS_WINDOWS = sys.platform == "win32"
    IS_macOS = sys.platform == "darwin"
    SYSTEM = {"darwin": "Darwin", "linux": "Linux", "win32": "Windows"}.get(sys.platform, sys.platform)
    conf: Any
    native: Any
    main: str | None
    amqp_cls: Any
    backend_cls: Any
    events_cls: Any
    loader_cls: Any
    log_cls: Any
    control_cls: Any
    task_cls: Any
    fixups: Any
    on_after_fork: Any
    namespace: str | None
    configured: bool
    _conf: Any
    _preconf: Any
    _config_source: Any
    _config_source_silent: bool
    _local: threading.local
    _backend: Any = None

    # -- what results ask of an application

    @property
    def store(self) -> Any:
        """The native result store."""
        return self.native.store

    @property
    def scheduler(self) -> Any:
        """The native store of schedules; None without one."""
        return self.native.scheduler

    def run(self, flow: Flow[Any]) -> Any:
        """Drive a native flow in the calling thread."""
        return self.native.run(flow)

    async def arun(self, flow: Flow[Any]) -> Any:
        """Drive a native flow on the running event loop."""
        return await self.native.arun(flow)

    def transaction(self, connection: Any) -> Any:
        """Send the calls of a block in a database transaction of your own: see ``TaskQ.transaction``."""
        return self.native.transaction(connection)

    def result_expires_at(self) -> float | None:
        """Return when a result that is stored now expires, in seconds since the epoch; None: never."""
        expires: float | None = self.native.result_expires_at()
        return expires

    # -- parts

    @cached_property
    def amqp(self) -> Any:
        """Queues, routes and the form of messages."""
        return instantiate(self.amqp_cls, app=self)

    @cached_property
    def control(self) -> Any:
        """Remote control of workers."""
        return instantiate(self.control_cls, app=self)

    @cached_property
    def events(self) -> Any:
        """Events of workers and tasks."""
        return instantiate(self.events_cls, app=self)

    @cached_property
    def log(self) -> Any:
        """The logging of workers."""
        return instantiate(self.log_cls, app=self)

    @cached_property
    def loader(self) -> Any:
        """The loader, which reads the configuration and imports the modules of a worker."""
        from taskq_cloud.celery.loaders import get_loader_cls  # declaring tasks reads no configuration

        return get_loader_cls(self.loader_cls)(app=self)

    @property
    def backend(self) -> Any:
        """The result backend."""
        if self._backend is None:
            self._backend = self._get_backend()
        return self._backend

    @backend.setter
    def backend(self, value: Any) -> None:
        self._backend = value

    def _get_backend(self) -> Any:
        from taskq_cloud.celery.app import backends  # few callers look at results

        kind, url = backends.by_url(self.backend_cls or self.conf.result_backend, self.loader)
        return kind(app=self, url=url)

    @property
    def current_task(self) -> Any:
        """The task that runs in this context; None outside a task."""
        return _state.get_current_task()

    @property
    def current_worker_task(self) -> Any:
        """The task that a worker runs in this context; None outside a worker."""
        return _state.get_current_worker_task()

    @cached_property
    def AsyncResult(self) -> Any:
        """The class of results of this application's tasks."""
        return self.subclass_with_self("taskq_cloud.celery.result:AsyncResult")

    @cached_property
    def ResultSet(self) -> Any:
        """The class of sets of results of this application's tasks."""
        return self.subclass_with_self("taskq_cloud.celery.result:ResultSet")

    @cached_property
    def GroupResult(self) -> Any:
        """The class of results of this application's groups."""
        return self.subclass_with_self("taskq_cloud.celery.result:GroupResult")

    @cached_property
    def Worker(self) -> Any:
        """The program of a worker."""
        return self.subclass_with_self("taskq_cloud.celery.apps.worker:Worker")

    @cached_property
    def WorkController(self) -> Any:
        """A worker, as an object of a program."""
        return self.subclass_with_self("taskq_cloud.celery.worker:WorkController")

    @cached_property
    def Beat(self, **kwargs: Any) -> Any:
        """The program that sends periodic tasks."""
        return self.subclass_with_self("taskq_cloud.celery.apps.beat:Beat")

    def subclass_with_self(
        self,
        Class: Any,
        name: str | None = None,
        attribute: str = "app",
        reverse: str | None = None,
        keep_reduce: bool = False,
        **kw: Any,
    ) -> Any:
        """Make a subclass of a class that has this application as its class attribute.

        Args:
            Class: the class, or its path.
            name: the subclass's name; None: the class's.
            attribute: the name of the class attribute.
            reverse: the attribute of the application that has the subclass, by which its objects are pickled.
            keep_reduce: leave it to the class how its objects are pickled.
            kw: further class attributes.
        """
        base = symbol_by_name(Class)
        path = reverse or base.__name__
        attributes = {attribute: self, "__module__": base.__module__, "__doc__": base.__doc__, **kw}
        if not keep_reduce:
            attributes["__reduce__"] = lambda made: (_unpickle_appattr, (path, made.__reduce_args__()))
        return type(name or base.__name__, (base,), attributes)

    def select_queues(self, queues: Sequence[str] | None = None) -> Any:
        """Keep only these queues for a worker to serve."""
        return self.amqp.queues.select(queues)

    def _after_fork(self) -> None:
        self.on_after_fork.send(sender=self)

    def bugreport(self) -> str:
        """Describe the machine and the application for a bug report."""
        from taskq_cloud.celery.app.utils import bugreport  # few processes report bugs

        return bugreport(self)

    def setup_security(
        self,
        allowed_serializers: Any = None,
        key: Any = None,
        key_password: Any = None,
        cert: Any = None,
        store: Any = None,
        digest: str = "sha256",
        serializer: str = "json",
    ) -> None:
        """Sign messages with a certificate, and accept only messages that are signed: see docs/serializers.md.

        Args:
            allowed_serializers: the content types that are accepted without a signature.
            key: the file of the private key; None: the setting ``security_key``.
            key_password: the key's password.
            cert: the file of the certificate.
            store: the certificates that are trusted, as a pattern of file names.
            digest: the digest of the signatures.
            serializer: the serializer of the signed content.

        Raises:
            ImproperlyConfigured: the settings don't ask for signed messages, or the key, the certificate or the
                trusted certificates are missing.
        """
        given = {
            "security_key": key,
            "security_key_password": key_password,
            "security_certificate": cert,
            "security_cert_store": store,
            "security_digest": digest,
        }
        conf = self.conf
        if conf.task_serializer != "auth" or list(conf.accept_content or ()) != ["auth"]:
            raise ImproperlyConfigured("signed messages need task_serializer='auth' and accept_content=['auth']")
        conf.update({name: value for name, value in given.items() if value is not None})
        if not (conf.security_key and conf.security_certificate and conf.security_cert_store):
            raise ImproperlyConfigured(
                "signed messages need the settings security_key, security_certificate and security_cert_store"
            )
        conf.update(accept_content=["auth", *(allowed_serializers or ())], event_serializer="auth")
        self.conf["security_serializer"] = serializer

    # -- tasks

    def create_task_cls(self) -> Any:
        """Make the base class of the application's tasks."""
        return self.subclass_with_self(self.task_cls, name="Task", attribute="_app", keep_reduce=True, abstract=True)

    @cached_property
    def Task(self) -> Any:
        """The base class of the application's tasks."""
        return self.create_task_cls()

    @property
    def annotations(self) -> Any:
        """The setting ``task_annotations``, in the form in which tasks look theirs up."""
        return prepare_annotations(self.conf.task_annotations)

    def signature(self, *args: Any, **kwargs: Any) -> Any:
        """Make a signature of this application: see ``taskq_cloud.celery.signature``."""
        kwargs["app"] = self
        return self._canvas.signature(*args, **kwargs)

    @cached_property
    def _canvas(self) -> Any:
        from taskq_cloud.celery import canvas  # few processes make workflows

        return canvas

    # -- identity

    @cached_property
    def oid(self) -> str:
        """An id of the application in this process."""
        return _oid(self, None)

    @property
    def thread_oid(self) -> str:
        """An id of the application in this thread."""
        if not hasattr(self._local, "oid"):
            self._local.oid = _oid(self, threading.get_ident())
        oid: str = self._local.oid
        return oid

    def _rgetattr(self, path: str) -> Any:
        found: Any = self
        for name in path.split("."):
            found = getattr(found, name)
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        from taskq_cloud.celery.app.utils import _unpickle_app_v2  # few processes pickle applications

        return _unpickle_app_v2, (type(self), self.__reduce_keys__())

    def __reduce_keys__(self) -> dict[str, Any]:
        """The keyword arguments of which the application is made when it is unpickled."""
        return {
            "main": self.main,
            "changes": self._conf.changes if self.configured else self._preconf,
            "loader": self.loader_cls,
            "backend": self.backend_cls,
            "amqp": self.amqp_cls,
            "events": self.events_cls,
            "log": self.log_cls,
            "control": self.control_cls,
            "fixups": self.fixups,
            "config_source": self._config_source,
            "config_source_silent": self._config_source_silent,
            "task_cls": self.task_cls,
            "namespace": self.namespace,
        }


def _oid(app: Any, thread: int | None) -> str:
    return str(uuid.uuid3(uuid.NAMESPACE_OID, f"{uuid.getnode():x}-{os.getpid():x}-{thread or 0:x}-{id(app):x}"))


def _unpickle_appattr(reverse_name: str, args: Sequence[Any]) -> Any:
    """Make an object of a class that the current application has as an attribute."""
    return _state.get_current_app()._rgetattr(reverse_name)(*args)
