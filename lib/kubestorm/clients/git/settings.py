"""How git servers are reached: `build.source` of the pack's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Optional, Tuple

from kubestorm.core.sections import read_section, section_values, setting

SECTION = "build.source"
PROTOCOLS = ("https", "ssh", "http", "file")


@dataclass(frozen=True)
class PollSettings:
    """How branches are polled where no webhook reports pushes."""

    interval_seconds: float = 60.0
    """Between two polls of one branch. 0 turns polling off; webhooks and commands still work."""
    jitter: float = 0.2
    """Share of the interval by which a poll may come earlier or later, to spread the load."""
    max_backoff_seconds: float = 900.0
    """The interval doubles with each failure, up to this."""


@dataclass(frozen=True)
class GitSettings:
    """Which git servers may be used, and how."""

    protocols: Tuple[str, ...] = setting(("https", "ssh"), one_of=PROTOCOLS)
    """Of https, ssh, http and file. `http` is unencrypted, `file` reads this machine's disk."""
    hosts: Tuple[str, ...] = ("*",)
    """Shell patterns of the git servers that an ImageBuild may name."""
    credentials_paths: Tuple[str, ...] = ("builds/{cluster}/{namespace}/*",)
    """Shell patterns of the Vault paths that an ImageBuild may name for its source."""
    ca_file: Optional[str] = None
    """PEM file with the CA of the git servers."""
    known_hosts_file: Optional[str] = None
    """OpenSSH known_hosts file, for secrets without a field `known_hosts`."""
    timeout_seconds: float = 300.0
    """For one fetch."""
    ask_timeout_seconds: float = 20.0
    """For reading which commit a branch is at: a step has to return within seconds."""
    keep_days: float = 14.0
    """How long an unused fetched repository is kept on a host."""
    poll: PollSettings = PollSettings()
    """How branches are polled where no webhook reports pushes."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> GitSettings:
        """Raises DefinitionError naming the key that is wrong."""
        section = section_values(config.get("build"), "build")
        return read_section(cls, section.get("source"), SECTION)
