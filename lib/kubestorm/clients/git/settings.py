"""How git servers are reached: `build.source` of the pack's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Optional, Tuple

from kubestorm.core.sections import read_section, section_values, setting

SECTION = "build.source"
PROTOCOLS = ("https", "ssh", "http", "file")


@dataclass(frozen=True)
class PollSettings:
    """How branches are followed where nobody calls us."""

    interval_seconds: float = 60.0
    """Between two looks at one branch. 0 turns polling off; push webhooks and commands go on."""
    jitter: float = 0.2
    """Share of the interval by which a look may come earlier or later, so that sources are not
    asked all at once.
    """
    max_backoff_seconds: float = 900.0
    """A source that does not answer is asked ever less often, up to this."""


@dataclass(frozen=True)
class GitSettings:
    """Which git servers may be talked to, and how."""

    protocols: Tuple[str, ...] = setting(("https", "ssh"), one_of=PROTOCOLS)
    """Of https, ssh, http and file. `http` sends source in the clear, `file` reads this machine's
    disk.
    """
    hosts: Tuple[str, ...] = ("*",)
    """Shell patterns of the git servers that an ImageBuild may name."""
    credentials_paths: Tuple[str, ...] = ("builds/{cluster}/{namespace}/*",)
    """Shell patterns of Vault paths that an ImageBuild may name for its source; anything else is
    refused.
    """
    ca_file: Optional[str] = None
    """PEM file with the git server's own authority."""
    known_hosts_file: Optional[str] = None
    """OpenSSH known_hosts with the keys of the git servers, where the secret has no `known_hosts`
    of its own.
    """
    timeout_seconds: float = 300.0
    """For one fetch."""
    ask_timeout_seconds: float = 20.0
    """For the question which commit a branch is at: a step has to return within seconds."""
    keep_days: float = 14.0
    """How long a fetched repository that nobody builds from is kept on the host."""
    poll: PollSettings = PollSettings()
    """How branches are followed where nobody calls us."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> GitSettings:
        """Raises DefinitionError naming the key that is wrong."""
        section = section_values(config.get("build"), "build")
        return read_section(cls, section.get("source"), SECTION)
