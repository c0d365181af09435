"""Engine backends: which exist, what is known of each, and the pinned environment each of them runs in."""

from app.backends.backend import Backend
from app.backends.environments import (
    EnvironmentState,
    environment_path,
    environments,
    installed,
    installed_at,
    is_installed,
    python_of,
)
from app.backends.health import look_at
from app.backends.install import download, install, remove
from app.backends.pip import Source
from app.backends.registry import BACKENDS, backend_key, backend_of_model, discover, known_model_names

__all__ = [
    "BACKENDS",
    "Backend",
    "EnvironmentState",
    "Source",
    "backend_key",
    "backend_of_model",
    "download",
    "environment_path",
    "environments",
    "install",
    "installed",
    "installed_at",
    "is_installed",
    "known_model_names",
    "look_at",
    "python_of",
    "remove",
]

discover()  # some of the modules it imports need the registry themselves
