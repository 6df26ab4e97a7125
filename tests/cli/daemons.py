# SPDX-License-Identifier: Apache-2.0
"""More sshd on the second machine of two_hosts, each with its own idea of a shell."""

from two_hosts import B

SHELL = 'exec sh -c "$SSH_ORIGINAL_COMMAND"\n'


def start(h, name, port, shell, settings, prepare="true"):
    """An sshd on machine B that runs `shell` for whoever comes; prepare: sh, in its own mounts, first."""
    script = h.folder / f"shell_{name}"
    script.write_text("#!/bin/sh\n" + shell)
    script.chmod(0o755)
    told = {k: v.format(h=h) for k, v in settings.items()}
    h.start_sshd(B, name, port, prepare, ForceCommand=script, **told)
    h.add_client(name, Port=port)
