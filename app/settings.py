"""Every knob of evalq, its unit and its default. The only reader of the environment (prefix EVALQ_)."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from app.domain.keys import Role
from app.errors import InvalidSettingError
from app.log_lines import LogFormat

_PRIORITY = Field(ge=0, le=100)

Folders = Annotated[tuple[Path, ...], NoDecode]


class Settings(BaseSettings):
    """What an operator can set; docs/configuration.md is checked against these fields."""

    model_config = SettingsConfigDict(env_prefix="EVALQ_", frozen=True, extra="ignore")

    database_url: str = Field("postgresql:///evalq", description="Postgres, as a libpq URL.")
    redis_url: str = Field("redis://127.0.0.1:6379/0", description="Redis or Valkey, the Celery broker.")
    host: str = Field("127.0.0.1", description="Address the API listens on.")
    port: int = Field(8000, description="Port the API listens on.")
    allow_unauthenticated: bool = Field(
        default=False, description="Let the API listen beyond loopback without keys (behind your own gate)."
    )
    bootstrap_key: SecretStr = Field(
        SecretStr(""),
        description="An operator's key (`evq_` and 43 letters or digits); the API keeps its hash when it starts.",
    )
    host_names: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Names the API answers to while there are no keys, besides localhost and addresses; `*` for any.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Origins whose pages may call the API from a browser, as `https://host:port`, by commas.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Addresses or networks of proxies whose `X-Forwarded-For` and `-Proto` are believed, by commas.",
    )
    requests_per_minute: int = Field(
        1200, ge=0, description="Requests of one API key in a minute; 0 for no limit."
    )
    team_jobs: int = Field(
        1000, ge=0, description="Jobs of one team that have not ended, at most; 0 for no limit."
    )
    key_streams: int = Field(
        500, ge=0, description="Streams one API key may hold open at one API process; 0 for no limit."
    )
    streams: int = Field(
        2000, ge=0, description="Streams one API process holds open at most; 0 for no limit."
    )
    data_dir: Path = Field(
        Path("~/.local/share/evalq").expanduser(),
        description="Where this host keeps logs and embedded servers.",
    )
    cache_dir: Path = Field(
        Path("~/.cache/evalq").expanduser(),
        validation_alias="EVALQ_CACHE",
        description="Backend environments and converted models.",
    )
    ask_hub: bool = Field(
        default=True, description="Ask the hub for a model's size and shape when a job is posted."
    )
    hub_endpoint: str = Field(
        "https://huggingface.co", validation_alias="HF_ENDPOINT", description="The hub, or a mirror of it."
    )
    hub_offline: bool = Field(
        default=False, validation_alias="HF_HUB_OFFLINE", description="Never ask the hub for anything."
    )
    hub_token: SecretStr = Field(
        SecretStr(""), validation_alias="HF_TOKEN", description="Whom the hub is asked as; else as anybody."
    )
    hub_home: Path = Field(
        Path("~/.cache/huggingface").expanduser(),
        validation_alias="HF_HOME",
        description="Where the hub's own tools keep what they fetched.",
    )
    task_paths: Folders = Field((), description="Folders of operator tasks, separated by a colon.")
    model_paths: Folders = Field((), description="Folders of local models, separated by a colon.")
    any_model_path: bool = Field(
        default=False,
        description="Accept any readable model folder (set by `evalq up` on loopback without keys).",
    )
    allow_unsafe_code: bool = Field(
        default=False, description="Permit tasks that run model output, and trust_remote_code."
    )
    echo_engine: bool = Field(
        default=False,
        description="Offer the engine that answers without a model, for tests of the service itself.",
    )
    env_allowed: Annotated[tuple[str, ...], NoDecode] = Field(
        (
            "NCCL_DEBUG",
            "NCCL_IB_DISABLE",
            "NCCL_P2P_DISABLE",
            "NCCL_SOCKET_IFNAME",
            "PYTORCH_CUDA_ALLOC_CONF",
            "VLLM_LOGGING_LEVEL",
        ),
        description="Names a job may set in `env`, separated by commas.",
    )
    child_env: Annotated[tuple[str, ...], NoDecode] = Field(
        ("HF_TOKEN", "HF_HOME", "HF_HUB_OFFLINE", "HF_ENDPOINT", "OMP_NUM_THREADS"),
        description="Names passed on from a worker's environment to its children, separated by commas.",
    )
    lease_seconds: float = Field(60.0, description="How long a lease lives without a renewal.")
    gone_seconds: float = Field(
        900.0,
        description="A group whose worker is silent for longer does not count where jobs are planned.",
    )
    resend_seconds: float = Field(15.0, description="When an unclaimed job or replica is announced again.")
    idle_seconds: float = Field(600.0, description="How long a replica without work stays warm.")
    spare_engines: bool = Field(
        default=True,
        description="Whether a gpu worker keeps a spare of each backend, which has imported what takes long.",
    )
    hold_seconds: float = Field(
        20.0, description="Shortest work of a loaded engine before others may have its devices."
    )
    early_start: bool = Field(
        True,
        description="Engines load on idle devices that nobody waits for while their jobs are still prepared.",
    )
    share_half_life_days: float = Field(
        1.0, gt=0, le=3650, description="After so many days a device second counts half against its owner."
    )
    share_weights: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        {},
        description='Shares of teams beside others, as JSON (`{"research": 2}`); 1 for a team that is not named.',
    )
    share_entry_seconds: float = Field(
        10.0,
        ge=0,
        le=86400,
        description="Device seconds that each job in line counts beside what it still takes.",
    )
    team_quotas: dict[str, Annotated[int, Field(ge=0, le=1_000_000)]] = Field(
        {},
        description='Devices of a team whenever it needs them, as JSON (`{"research": 4}`); others borrow them.',
    )
    priority_bounds: dict[Role, tuple[Annotated[int, _PRIORITY], Annotated[int, _PRIORITY]]] = Field(
        {},
        description='Least and most priority of jobs by role, as JSON (`{"submitter": [0, 80]}`); else 0 to 100.',
    )
    stall_seconds: float = Field(
        1800.0, description="A busy engine or harness that says nothing for this long is stalled."
    )
    schedule_seconds: float = Field(0.5, description="Pause between two turns of the scheduler.")
    poll_seconds: float = Field(0.2, description="Pause between two looks of a worker at the database.")
    max_batch_size: int = Field(64, description="Upper bound of an automatic batch size.")
    coordinator_jobs: int = Field(8, description="Jobs one coordinator worker runs at once.")
    parked_gib: float = Field(
        16.0,
        ge=0,
        le=1 << 20,
        description="Requests that jobs may store in the database to wait for engines without a coordinator's place;"
        " 0: each keeps its place.",
    )
    harness_memory_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Most of its host's or container's memory that one job's harness may hold; 0 for no bound.",
    )
    engine_memory_share: float = Field(
        0.95, ge=0, le=1, description="The same for one engine, which may hold its model there."
    )
    child_processes: int = Field(
        4096, ge=0, description="Most processes of one harness or engine; 0 for no bound."
    )
    child_files: int = Field(
        65536, ge=0, description="Most files a process of a harness or engine opens at once; 0 for no bound."
    )
    keep_jobs_days: float = Field(
        0.0,
        ge=0,
        description="Days an ended job is kept with its events, samples and logs; 0 keeps it for ever.",
    )
    keep_responses_days: float = Field(
        0.0, ge=0, description="Days a stored answer is kept for jobs to come; 0 keeps it for ever."
    )
    keep_logs_days: float = Field(
        30.0, ge=0, description="Days logs are kept, in the database and on each host; 0 keeps them for ever."
    )
    keep_usage_days: float = Field(
        0.0, ge=0, description="Days device seconds are kept, by the hour; 0 keeps them for ever."
    )
    otlp_endpoint: str = Field(
        "",
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="A collector of OpenTelemetry, as `http://host:4318`; empty: no spans are made.",
    )
    otlp_traces_endpoint: str = Field(
        "",
        validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        description="The same for spans alone, as `http://host:4318/v1/traces`.",
    )
    log_format: LogFormat = Field(
        "text", description="How processes write their logs: `text`, or `json` with one object a line."
    )
    log_mib: float = Field(16.0, gt=0, description="Most that is kept of one log; the oldest lines go first.")
    database_pool: int = Field(
        10,
        description="Database connections a process keeps; as many more at need. A coordinator keeps one per job.",
    )
    worker_role: str = Field("", description="Set by `evalq worker`: coordinator or gpu.")
    worker_group: str = Field("", description="Set by `evalq worker`: name of the GPU group.")
    worker_devices: str = Field("", description="Set by `evalq worker`: `cpu:2`, GPU indices `0,1`, `all`.")

    @field_validator("task_paths", "model_paths", mode="before")
    @classmethod
    def _split_folders(cls, value: object) -> object:
        return tuple(part for part in value.split(":") if part) if isinstance(value, str) else value

    @field_validator("task_paths", "model_paths")
    @classmethod
    def _resolve_folders(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(path.expanduser().resolve() for path in value)

    @field_validator("data_dir", "cache_dir", "hub_home")
    @classmethod
    def _make_absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()  # children run in folders of their own

    @field_validator("hub_endpoint", mode="before")
    @classmethod
    def _default_endpoint(cls, value: object) -> object:
        default = cls.model_fields["hub_endpoint"].default
        return (value.strip().rstrip("/") or default) if isinstance(value, str) else value

    @field_validator("hub_offline", mode="before")
    @classmethod
    def _as_the_hubs_tools(cls, value: object) -> object:
        return value.upper() in {"1", "ON", "YES", "TRUE"} if isinstance(value, str) else value

    @field_validator(
        "env_allowed", "child_env", "host_names", "trusted_proxies", "cors_origins", mode="before"
    )
    @classmethod
    def _split_names(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("trusted_proxies")
    @classmethod
    def _check_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for place in value:
            ip_network(place)  # uvicorn takes what is none for a name, and trusts nobody by it
        return value

    @field_validator("priority_bounds")
    @classmethod
    def _check_bounds(cls, value: dict[Role, tuple[int, int]]) -> dict[Role, tuple[int, int]]:
        for role, (least, most) in value.items():
            if least > most:
                raise ValueError(f"the least of {role} is {least}, above the most, which is {most}")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not re.fullmatch(r"https?://[^/*?#@\s]+", origin, re.IGNORECASE):
                raise ValueError(
                    f"{origin} is no origin: write https://host or https://host:port, without a path"
                )
        return tuple(origin.lower() for origin in value)

    @property
    def log_bytes(self) -> int:
        """Most that is kept of one log."""
        return int(self.log_mib * (1 << 20))

    @property
    def stall(self) -> timedelta:
        """After a silence of this length what is busy has stalled."""
        return timedelta(seconds=self.stall_seconds)

    @property
    def lease(self) -> timedelta:
        """Time to live of a lease."""
        return timedelta(seconds=self.lease_seconds)

    @property
    def sqlalchemy_url(self) -> str:
        """The database URL with the driver named."""
        scheme, rest = self.database_url.split("://", 1)
        return f"postgresql+psycopg://{rest}" if scheme in {"postgres", "postgresql"} else self.database_url


@lru_cache(maxsize=1)
def current() -> Settings:
    """The settings of this process, read once; InvalidSettingError names all that cannot be."""
    try:
        return Settings()
    except ValidationError as error:
        faults = [f"{_variable(each['loc'])}: {each['msg']}" for each in error.errors()]
        raise InvalidSettingError("; ".join(faults)) from None
    except SettingsError as error:
        raise InvalidSettingError(f"a setting is no JSON: {error}") from None


def _variable(place: tuple[int | str, ...]) -> str:
    name, *within = (str(part) for part in place)
    variable = f"EVALQ_{name.upper()}" if name in Settings.model_fields else name
    return ".".join([variable, *within])
