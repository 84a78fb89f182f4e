"""``pipeline sandbox``: a local server that speaks the API as the recordings show it."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import get_args

import click

from pipeline.sandbox.shape import SHAPES, Cursor, Order, Shape, Vanished


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes any.")
@click.option(
    "--completions",
    type=click.IntRange(min=0),
    default=5000,
    show_default=True,
    help="How many to store, spread over a month.",
)
@click.option("--seed", default=0, show_default=True, help="The same seed stores the same completions.")
@click.option(
    "--load",
    "load_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Serve the completions of a JSONL file (rows, or recorded pages) instead.",
)
@click.option(
    "--shape",
    type=click.Choice(list(SHAPES)),
    default="openai",
    show_default=True,
    help="Whose server to be; the next four say otherwise where they are given.",
)
@click.option(
    "--cursor", type=click.Choice(get_args(Cursor)), help="What after means: beyond that second, or that row."
)
@click.option("--default-order", type=click.Choice(get_args(Order)), help="The order where none is asked.")
@click.option("--max-limit", type=click.IntRange(min=1), help="The largest limit that is taken.")
@click.option("--vanished", type=click.Choice(get_args(Vanished)), help="Answer to a lost after.")
@click.option("--key", help="Ask for this key; any key will do without it.")
@click.option("--admin-key", help="Ask for this key where usage and costs are told; any other will do without it.")
@click.option("--latency", type=click.IntRange(min=0), default=0, show_default=True, help="Milliseconds of an answer.")
@click.option("--fault", "faults", multiple=True, metavar="WHEN:KIND[:VALUE]", help="Such as 3:503 or 10%:reset.")
def sandbox(  # noqa: PLR0913, PLR0917 - one parameter per option
    host: str,
    port: int,
    completions: int,
    seed: int,
    load_file: Path | None,
    shape: str,
    key: str | None,
    admin_key: str | None,
    faults: tuple[str, ...],
    latency: int,
    **switches: str | int | None,
) -> int:
    """Serve stored completions on this machine until Ctrl-C; needs the extra pipeline[sandbox].

    \b
    pipeline sandbox --port 8080 --fault 10%:503
    OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=any pipeline run --data FOLDER
    """
    from pipeline.demo import require_sandbox  # noqa: PLC0415 - --help stays light

    require_sandbox()
    from pipeline.errors import UsageError  # noqa: PLC0415
    from pipeline.sandbox import generate, recordings, server  # noqa: PLC0415
    from pipeline.sandbox.faults import Fault  # noqa: PLC0415
    from pipeline.sandbox.store import Store  # noqa: PLC0415

    given = {name: value for name, value in switches.items() if value is not None}
    store = Store(shape=Shape.named(shape, **given), seed=seed)
    if load_file:
        recordings.load(store, load_file)
    else:
        generate.month(store, completions=completions, seed=seed)
    faulty = [Fault.parse(text) for text in faults]
    serving = server.Server(store, faults=faulty, key=key, admin_key=admin_key, host=host, port=port)
    serving.app.latency = latency / 1000
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell started us in the background, and ignores them
        signal.signal(number, signal.default_int_handler)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            server.serve(
                serving, lambda one: click.echo(f"{len(store):,} completions at {one.base_url} - stop with Ctrl-C")
            )
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}, port {port}: {error.strerror}", hint="name another one with --host or --port"
        ) from error
    return 0
