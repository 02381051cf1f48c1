"""Azure OpenAI resources: their host names, their keys, who may use them, and what is deployed in them."""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from fakes.openai.access import KeyInfo
from fakes.openai.catalogue import Catalogue, Model, catalogue

ENTRA = "entra:"
"""What the key of a credential begins with that is no API key but a token; the object id follows."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model under a name of the customer's. `model`: one of the catalogue; `version`: as the portal shows it."""

    name: str
    model: str
    version: str = ""

    def __post_init__(self) -> None:
        if self.model not in catalogue().models:
            known = ", ".join(sorted(catalogue().models))
            raise ValueError(f"deployment {self.name!r}: there is no model {self.model!r}; it is one of {known}")


@dataclass(slots=True, eq=False)
class Resource:
    """One resource. Everything but its name and region may be changed at any time.

    `keys`: its API keys, all of them good; `deployments`: what is deployed. `network_open`: whether its network rules
    let the client in. `principals`: the object ids that have the data action of realtime sessions; `tenant`: the only
    tenant whose tokens it takes, empty for any.
    """

    name: str
    region: str = "eastus2"
    keys: Sequence[str] = ()
    deployments: Sequence[Deployment] = ()
    network_open: bool = True
    principals: Collection[str] = frozenset()
    tenant: str = ""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host name of it."""
        return tuple(f"{self.name}.{suffix}" for suffix in suffixes())

    def deployment(self, name: str) -> Deployment | None:
        """What is deployed under that name."""
        return next((found for found in self.deployments if found.name == name), None)

    def model(self, name: str, day: date) -> Model | None:
        """The model that is deployed under that name, if it was offered on that day."""
        found = self.deployment(name)
        if found is None:
            return None
        # A deployment lives on when the vendor's own endpoint has given up the model.
        model = replace(catalogue().models[found.model], removed=None, deployment=name)
        return model if model.offered(day) else None

    def catalogue(self) -> Catalogue:
        """The vendor's catalogue as this resource has it: with the eras of Azure, and its deployments as models."""
        deployed = {
            found.name: replace(catalogue().models[found.model], removed=None, deployment=found.name)
            for found in self.deployments
        }
        return replace(azure_catalogue(), models={**catalogue().models, **deployed})


class ResourceKeys(Mapping[str, KeyInfo]):
    """Who may use a resource right now, as `Access` wants it: its keys, and principals by `entra:` and object id."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._info = KeyInfo(organization=resource.name, project=resource.name)

    def __getitem__(self, key: str) -> KeyInfo:
        if key in self._names():
            return self._info
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> list[str]:
        return [*(key for key in self._resource.keys if key), *(ENTRA + oid for oid in self._resource.principals)]


class ResourceError(Exception):
    """A request has come to a host name that is no resource's."""


class Resources:
    """All resources of one service, by host name."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        if not resources:
            raise ValueError("AzureService needs at least one Resource(name, keys=..., deployments=...)")
        names = [resource.name for resource in resources]
        if len(set(names)) != len(names):
            raise ValueError(f"two resources have one name: {', '.join(sorted(names))}")
        self.all = tuple(resources)
        self._hosts = {host: resource for resource in resources for host in resource.hosts}
        self._regional = {regional(resource.region): resource.region for resource in resources}

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host name, also those of regions."""
        return (*self._hosts, *self._regional)

    def is_named(self, host: str) -> bool:
        """Whether that host is the name of a resource, and neither a region's nor an address."""
        return _bare(host) in self._hosts

    def region(self, host: str) -> str | None:
        """The region whose host that is, if it is one's."""
        return self._regional.get(_bare(host))

    def find(self, host: str) -> Resource:
        """The resource with that host. An address is the first resource's, because it has no name. Raises
        `ResourceError` for the name of none."""
        bare = _bare(host)
        found = self._hosts.get(bare)
        if found is not None:
            return found
        if bare in ("", "localhost") or _is_address(bare):
            return self.all[0]
        raise ResourceError(bare)


def regional(region: str) -> str:
    """The host of the preview's WebRTC in a region."""
    return str(data()["regional_host"]).format(region=region)


def _bare(host: str) -> str:
    """A `Host` header without its port."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].rstrip(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@cache
def data() -> dict[str, Any]:
    """What `azure.toml` says."""
    return tomllib.loads(Path(__file__).with_name("azure.toml").read_text(encoding="utf-8"))


def suffixes() -> tuple[str, ...]:
    """What the host names of resources end with."""
    return tuple(data()["host_suffixes"])


@cache
def azure_catalogue() -> Catalogue:
    """The vendor's catalogue with the eras of Azure."""
    eras = data()["eras"]
    # That the preview has ended is decided by its api-versions; the dialect itself is never told to go away.
    return replace(catalogue(), beta_from=eras["preview_from"], ga_from=eras["v1_from"], beta_disabled_from=date.max)
