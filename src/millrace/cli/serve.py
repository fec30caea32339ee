"""`millrace serve`: the service, in one process with its workers beside it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from millrace.cli.face import Face, command
from millrace.cli.text import bold, count, warn
from millrace.errors import ConfigError, EnvironmentProblem

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.running.executor import Executor


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    command(
        app,
        "serve",
        examples=[
            "millrace serve",
            "millrace serve --host 0.0.0.0 --port 8080 --workers 8",
            "millrace serve --executor ray",
        ],
    )(serve)


def serve(
    face: Face,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Port to listen at; 0: a free one.")
    ] = 8484,
    workers: Annotated[
        int | None, typer.Option(min=0, max=256, metavar="N", help="Worker processes; left out: one for each core.")
    ] = None,
    executor: Annotated[
        Literal["processes", "ray"],
        typer.Option(help="Where workers run: processes of this machine, or the nodes of a Ray cluster."),
    ] = "processes",
    ray_address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Head of the Ray cluster; left out: one of this machine alone."),
    ] = None,
    patience: Annotated[
        int, typer.Option(min=1, metavar="SECONDS", help="How long workers may take to end when the service does.")
    ] = 60,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Address or network of a proxy in front, which tells where requests come from and whether by TLS; "
            "may be given several times.",
        ),
    ] = None,
    log_format: Annotated[
        Literal["text", "json"],
        typer.Option(envvar="MILLRACE_LOG_FORMAT", help="Lines of the log, on stderr: for people, or JSON objects."),
    ] = "text",
) -> None:
    """Run the service: the API, the scheduler and the workers, until Ctrl-C or SIGTERM.

    Workers then end at their next commits. Several servers may share a PostgreSQL control database (with
    MILLRACE_DATABASE_URL, MILLRACE_KEY and a bucket as MILLRACE_STAGE): one of them schedules at a time. While there
    is no user yet, it prints what makes the first administrator: good once, for a day.
    """
    from millrace.control.observing import logs
    from millrace.control.people import invitations
    from millrace.control.running import service

    if ray_address is not None and executor != "ray":
        raise ConfigError(
            "an address of a Ray cluster is of no use to processes",
            hint="Say --executor ray too.",
            path="--ray-address",
            code="usage",
        )
    stopping = threading.Event()
    for wish in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wish, lambda *_: stopping.set())
    with face.open(create=True) as home:
        # Workers write like the server.
        os.environ[logs.VARIABLE] = log_format
        logs.install(log_format)
        proxies = _checked(trusted_proxy or ())
        placed = _executor(home, executor, workers, ray_address)
        with _listening(home, host, port, proxies) as where:
            face.remark(f"Millrace serves at {bold(where)} with {count(placed.workers, 'worker')}. Ctrl-C ends it.")
            from millrace.rest import screens  # beside the web application, which is imported by now

            if not screens.built():
                warn(screens.UNBUILT)
            if token := invitations.first_link(home):
                face.remark(_first(where, token))
            service.run(home, placed, stopping, patience_s=float(patience))


def _executor(home: Home, chosen: Literal["processes", "ray"], workers: int | None, address: str | None) -> Executor:
    if chosen == "ray":
        # Imported here: Ray is an extra, and takes seconds.
        from millrace.control.running.ray_executor import RayWorkers

        return RayWorkers(home, workers, address)
    from millrace.control.running.executor import Processes

    return Processes(home.path, (os.cpu_count() or 1) if workers is None else workers)


def _first(where: str, token: str) -> str:
    """How the first administrator comes in. What follows # stays with the browser and gets into no log."""
    address = f"{where}/api/millrace/v1/first-administrator"
    body = f'{{"token": "{token}", "email": "you@example.com", "password": "..."}}'
    return (
        "There is no user yet. This link makes the first administrator, once, within 24 hours:\n"
        f"  {bold(f'{where}/welcome#{token}')}\n"
        f"or, without a browser:\n  curl {address} --json '{body}'"
    )


def _checked(proxies: Sequence[str]) -> list[str]:
    """The addresses and networks. Raises ConfigError for what is neither."""
    import ipaddress

    for text in proxies:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ConfigError(
                f"{text!r} is neither an address nor a network",
                hint="Write it like 10.0.0.1 or 10.0.0.0/8.",
                path="--trusted-proxy",
                code="usage",
            ) from None
    return list(proxies)


@contextmanager
def _listening(home: Home, host: str, port: int, proxies: list[str]) -> Generator[str]:
    """The web application answers while the block runs; its address. Raises EnvironmentProblem when it cannot."""
    # Imported here: no other command needs the web framework.
    import socket

    import uvicorn

    from millrace.rest.app import application
    from millrace.rest.listening import config

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio turns Nagle's algorithm off: else each answer waits 40 ms.
    heard = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    heard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        heard.bind((host, port))
        # Whoever reads where it serves may connect at once.
        heard.listen(2048)
    except OSError as cause:
        heard.close()
        raise EnvironmentProblem(
            f"{host}:{port} cannot be listened at: {cause.strerror}",
            hint="Choose another with --host and --port.",
            path="--port",
            code="address_taken",
        ) from cause
    server = uvicorn.Server(config(application(home), host, port, proxies=proxies))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [heard]}, name="web", daemon=True)
    thread.start()
    try:
        shown = heard.getsockname()
        yield f"http://{f'[{shown[0]}]' if family == socket.AF_INET6 else shown[0]}:{shown[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        heard.close()
