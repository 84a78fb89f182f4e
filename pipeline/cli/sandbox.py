"""``pipeline sandbox``: a local server that speaks the API as the recordings show it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8080, show_default=True)
@click.option("--completions", default=5000, show_default=True, help="How many to store, spread over a month.")
@click.option("--seed", default=0, show_default=True, help="The same seed stores the same completions.")
@click.option(
    "--load",
    "load_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Serve the completions of a JSONL file (rows, or recorded pages) instead.",
)
@click.option("--cursor", type=click.Choice(["second", "exact"]), default="second", show_default=True)
@click.option("--default-order", type=click.Choice(["asc", "desc"]), default="desc", show_default=True)
@click.option("--max-limit", default=100, show_default=True)
@click.option(
    "--vanished", type=click.Choice(["404", "400", "empty", "page1"]), default="404", help="Answer to a lost after."
)
@click.option("--key", help="Ask for this key; any key will do without it.")
@click.option("--fault", "faults", multiple=True, metavar="WHEN:KIND[:VALUE]", help="Such as 3:503 or 10%:reset.")
def sandbox(  # noqa: PLR0913, PLR0917 - one parameter per option
    host: str,
    port: int,
    completions: int,
    seed: int,
    load_file: Path | None,
    cursor: str,
    default_order: str,
    max_limit: int,
    vanished: str,
    key: str | None,
    faults: tuple[str, ...],
) -> int:
    """Serve stored completions on this machine until Ctrl-C; needs the extra pipeline[sandbox].

    \b
    pipeline sandbox --port 8080 --fault 10%:503
    OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=any pipeline run --data FOLDER
    """
    from pipeline.demo import require_sandbox  # noqa: PLC0415 - --help stays light

    require_sandbox()
    from pipeline.sandbox import generate, recordings, server  # noqa: PLC0415
    from pipeline.sandbox.faults import Fault  # noqa: PLC0415
    from pipeline.sandbox.shape import Shape  # noqa: PLC0415
    from pipeline.sandbox.store import Store  # noqa: PLC0415

    shape = Shape(cursor=cursor, default_order=default_order, max_limit=max_limit, vanished=vanished)  # type: ignore[arg-type]
    store = Store(shape=shape, seed=seed)
    if load_file:
        recordings.load(store, load_file)
    else:
        generate.month(store, completions=completions, seed=seed)
    serving = server.Server(store, faults=[Fault.parse(text) for text in faults], key=key, host=host, port=port)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve(
            serving, lambda one: click.echo(f"{len(store):,} completions at {one.base_url} - stop with Ctrl-C")
        )
    return 0
