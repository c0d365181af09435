"""Engine backends: which exist, what is known of each, and the pinned environment each of them runs in."""

from app.backends.backend import Backend
from app.backends.environments import environment_path, installed, is_installed, python_of
from app.backends.install import install
from app.backends.registry import BACKENDS, backend_key, backend_of_model, discover, known_model_names

__all__ = [
    "BACKENDS",
    "Backend",
    "backend_key",
    "backend_of_model",
    "environment_path",
    "install",
    "installed",
    "is_installed",
    "known_model_names",
    "python_of",
]

discover()  # some of the modules it imports need the registry themselves
