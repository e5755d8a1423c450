"""The command `serve`."""

from contextlib import suppress
from typing import Annotated

import typer

from mla_extend.cli.console import ERR, OUT, progress
from mla_extend.cli.index import DEFAULT, IndexFolder, tell_of
from mla_extend.cli.options import BaseSource, Device, RegistryFolder


def serve(
    folder: IndexFolder = DEFAULT,
    host: Annotated[
        str,
        typer.Option("--host", metavar="NAME", help="Where to listen. Other than the loopback lets other machines in."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one.")] = 8000,
    base: BaseSource = None,
    registry: RegistryFolder = None,
    device: Device = "auto",
    open_page: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
) -> None:
    """Serve an image index: a page to search it in any language, and the same as JSON."""
    with progress() as bars:
        bars.start("Loading")
        from mla_extend.serve.server import open_service  # noqa: PLC0415 - imports torch

        service = open_service(folder, host=host, port=port, base=base, registry=registry, device=device, progress=bars)
        bars.finish()
    OUT.print(
        f"{service.searcher.index.count:,} images in {len(service.searcher.model.languages)} languages: {service.url}",
        highlight=False,
        soft_wrap=True,
    )
    tell_of(service.searcher.index)
    OUT.print("Stop with Ctrl-C.", highlight=False)
    if open_page:
        import webbrowser  # noqa: PLC0415 - seldom asked for

        webbrowser.open(service.url)
    # A shell that starts it in the background has it ignore Ctrl-C's signal: the server then just returns.
    with suppress(KeyboardInterrupt):
        service.run()
    ERR.print("Stopped.", highlight=False)
