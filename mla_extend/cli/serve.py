"""The command `serve`."""

import sys
from contextlib import suppress
from typing import Annotated

import typer

from mla_extend.cli.console import ERR, OUT, print_json, progress
from mla_extend.cli.index import IndexFolder, tell_of
from mla_extend.cli.options import BaseSource, Device, Json, RegistryFolder


def serve(
    folder: IndexFolder = None,
    host: Annotated[
        str,
        typer.Option(
            "--host", metavar="NAME", help="Address to listen on. Anything but loopback admits other machines."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one.")] = 8000,
    base: BaseSource = None,
    registry: RegistryFolder = None,
    device: Device = "auto",
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    json: Json = False,
) -> None:
    """Serve an image index: a search page for all languages, and a JSON API."""
    with progress() as bars:
        bars.start("Loading")
        from mla_extend.serve.server import open_service  # noqa: PLC0415 - imports torch

        service = open_service(folder, host=host, port=port, base=base, registry=registry, device=device, progress=bars)
        bars.finish()
    count, languages = service.searcher.index.count, service.searcher.model.languages
    if json:
        print_json({"url": service.url, "images": count, "languages": languages})
        sys.stdout.flush()  # who started it waits for the address
    else:
        OUT.print(f"{count:,} images in {len(languages)} languages: {service.url}", highlight=False, soft_wrap=True)
        OUT.print("Stop with Ctrl-C.", highlight=False)
    tell_of(service.searcher.index)
    if open_page:
        import webbrowser  # noqa: PLC0415 - seldom asked for

        webbrowser.open(service.url)
    # A shell that starts it in the background has it ignore Ctrl-C's signal: the server then just returns.
    with suppress(KeyboardInterrupt):
        service.run()
    ERR.print("Stopped.", highlight=False)
