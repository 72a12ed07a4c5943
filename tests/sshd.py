"""``python tests/sshd.py HOME``: an SSH server on this machine alone that runs what it is told.

It lets in who has the key that it puts into ``HOME/.ssh``, next to the settings by which a client finds
it, and says ``ready``.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any


async def execute(asked: Any) -> None:
    process = await asyncio.create_subprocess_shell(
        f"exec {asked.command}", stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    await asked.redirect(process.stdin, process.stdout, process.stderr)
    ends = asyncio.ensure_future(process.wait()), asyncio.ensure_future(asked.wait_closed())
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if process.returncode is None:  # who asked for it hung up
        process.terminate()
    else:
        asked.exit(process.returncode)


async def serve(folder: Path) -> None:
    import asyncssh  # here, so that this file can be imported where it is not installed

    folder.mkdir(mode=0o700)
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(folder / "id_ed25519")
    key.write_public_key(folder / "authorized")
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[key],
        authorized_client_keys=str(folder / "authorized"),
        process_factory=execute,
        encoding=None,
    )
    port, public = server.get_port(), key.export_public_key().decode()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
    (folder / "config").write_text(f"Host 127.0.0.1\n  Port {port}\n")
    print("ready", flush=True)
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]) / ".ssh"))
