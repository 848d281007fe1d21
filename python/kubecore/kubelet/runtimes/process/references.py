"""Image names as Docker and containerd read them: `mysql` is docker.io/library/mysql:latest."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DEFAULT_DOMAIN = "docker.io"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_DOMAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?|\[[0-9a-fA-F:]+\](?::[0-9]+)?")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}")


class InvalidReference(ValueError):
    """Not the name of an image."""


@dataclass(frozen=True)
class Reference:
    """`repository` with its domain. `tag` is "" only beside a digest."""

    repository: str
    tag: str
    digest: str = ""

    def __str__(self) -> str:
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(name: str) -> Reference:
    rest, _, digest = name.partition("@")
    if digest and not _DIGEST.fullmatch(digest):
        raise InvalidReference(f'couldn\'t parse image name "{name}": invalid reference format')
    domain, slash, remainder = rest.partition("/")
    if not slash or not ("." in domain or ":" in domain or domain == "localhost"):
        domain, remainder = _DEFAULT_DOMAIN, rest
    repository, colon, tag = remainder.partition(":")
    if domain == "index.docker.io":
        domain = _DEFAULT_DOMAIN
    if domain == _DEFAULT_DOMAIN and "/" not in repository:
        repository = f"library/{repository}"
    valid = _REPOSITORY.fullmatch(repository) and _DOMAIN.fullmatch(domain) and (not colon or _TAG.fullmatch(tag))
    if not valid:
        raise InvalidReference(f'couldn\'t parse image name "{name}": invalid reference format')
    return Reference(f"{domain}/{repository}", tag or ("" if digest else "latest"), digest)
