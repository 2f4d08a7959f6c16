"""``penstock cert``: certificates for development."""

from pathlib import Path
from typing import Any

import click

from ..core.x509 import certificates_of_pem
from .commands import PenstockCommand

EPILOG = """\
Clients trust ca.pem; later runs keep it. ca-key.pem signs certificates: do not copy it anywhere.
In production, certificates come from an authority that your clients trust anyway.

Exit status: 0 written; 2 usage error, or penstock[cert] is not installed; 5 a file cannot be read or written.
"""


def command() -> click.Command:
    """Make the command."""
    return PenstockCommand(
        "cert",
        params=[
            click.Argument(["kind"], type=click.Choice(["dev"]), metavar="dev"),
            click.Argument(["names"], nargs=-1, metavar="[NAME]..."),
            click.Option(
                ["--dir", "directory"],
                type=click.Path(path_type=Path, file_okay=False),
                default=Path("certs"),
                show_default=True,
                help="Directory for the files.",
            ),
            click.Option(["--client", "client"], metavar="NAME", help="Make a client's certificate instead."),
            click.Option(
                ["--days"],
                type=click.IntRange(1, 825),
                default=90,
                show_default=True,
                help="Days that the certificate is valid.",
            ),
        ],
        callback=_cert,
        help="Make an authority and a certificate for development.\n\n"
        "The certificate is for each NAME, and by default for localhost, 127.0.0.1 and ::1.",
        epilog=EPILOG,
    )


def _cert(*, kind: str, names: tuple[str, ...], directory: Path, client: str | None, days: int, **_others: Any) -> int:
    from ..server.dev_tls import LOCAL_NAMES, DevAuthority

    authority = DevAuthority(directory)
    if client is None:
        path = authority.issue("server", names or LOCAL_NAMES, days=days)
        use = f"penstock serve echo --bind tls://127.0.0.1:9443 --tls-cert {path}"
    else:
        path = authority.issue(f"client-{client}", (client, *names), days=days)
        use = f"penstock send tls://127.0.0.1:9443 hello --ca {authority.ca} --cert {path}"
    leaf = certificates_of_pem(path.read_bytes())[0]
    click.echo(f"{authority.ca}  {'new' if authority.is_new else 'as it was'}: what clients trust (--ca)")
    click.echo(f"{path}  {', '.join(leaf.names)} until {leaf.not_after:%Y-%m-%d}, with its key")
    click.echo(f"try: {use}")
    return 0
