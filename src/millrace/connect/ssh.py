"""Settings of the way through an SSH server, for every connector that has one (`tunnel`)."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from millrace.connect.config import Secret, Settings


class SshSettings(Settings):
    """Who comes to which SSH server. Without an ``ssh_host`` there is none on the way."""

    ssh_host: str | None = Field(None, description="SSH server through which the database is reached.")
    ssh_port: int = Field(22, ge=1, le=65535, description="Port of the SSH server.")
    ssh_user: str | None = Field(None, description="User at the SSH server.")
    ssh_password: Secret | None = Field(None, description="Password of that user.")
    ssh_private_key: Secret | None = Field(None, description="Private key of that user: the text of the file.")
    ssh_passphrase: Secret | None = Field(None, description="What the private key is encrypted with.")
    ssh_agent: bool = Field(False, description="Let the agent of this machine sign in at the SSH server.")
    ssh_host_key: str | None = Field(
        None, description="Public key of the SSH server, as `ssh-keyscan` prints it: another server is refused."
    )

    @model_validator(mode="after")
    def _whole_way(self) -> Self:
        if self.ssh_host is None:
            return self
        if not self.ssh_user:
            raise ValueError("ssh_user is missing: name who signs in at the SSH server")
        if not self.ssh_host_key:
            raise ValueError("ssh_host_key is missing: give what `ssh-keyscan` prints for the SSH server")
        if (self.ssh_password is not None) + (self.ssh_private_key is not None) + self.ssh_agent != 1:
            raise ValueError("give one of ssh_password, ssh_private_key and ssh_agent")
        return self
